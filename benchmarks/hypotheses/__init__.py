"""What was tried to make prefixes better, each as one row: `python -m benchmarks.hypotheses`."""
