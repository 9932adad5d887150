"""The record of every run: a directory named by the content of its specification, in which every file is whole.

    runs/llama_adapter-gemma-3-270m-0123456789ab/
        spec.yaml  environment.json  training.json  metrics.json
        adapter/  checkpoints/  logs/  predictions/TASK/LANGUAGE.parquet  calibration/TASK.json  label_means.json

A step whose file is there is finished and never redone. Writing takes the run's lock (see `storage.lock`), so two
processes may be given the same work: the second waits, then finds it done.

Nothing else knows these names. `Run` is strict and raises at what is damaged; `runs.records` reads the same files with the
same functions (`files`, `predictions`) and notes it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
