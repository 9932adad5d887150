"""What transfix costs, measured beside the tools it would replace: one script a claim.

    python -m benchmarks.training      examples a second and peak memory of training, against PEFT in Trainer and LitGPT
    python -m benchmarks.evaluation    rows a second of evaluation, against lm-evaluation-harness
    python -m benchmarks.generation    generated tokens a second, against lm-evaluation-harness
    python -m benchmarks.memory        peak memory of training, against PEFT in Trainer
    python -m benchmarks.startup       `import transfix` and `transfix --help`
    python -m benchmarks.scaling       cost over rows and tokens, and what keeping the frozen lower layers saves
    python -m benchmarks.packing       what it is worth to lay weights out once for generation
    python -m benchmarks.threads       how long threads should wait before they sleep
    python -m benchmarks.step          where the time of a training step goes
    python -m benchmarks.checkouts     training and evaluation of two checkouts of transfix: is the second as fast?
    python -m benchmarks.shapes        scoring and generation at the size of an 8B model, on a GPU

Each runs both sides in turn, every time in a new process (packing and step: in one), on the same rows, model, dtype and rows
a step; prints medians and ratios; checks that both sides compute the same thing; and writes `benchmarks/results/NAME.json`
with versions and device.
"""
