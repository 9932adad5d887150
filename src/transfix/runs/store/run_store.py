"""A directory of runs: each is made once, and found again by its specification or its name."""

from __future__ import annotations

from pathlib import Path

from transfix.runs.environment import describe
from transfix.runs.specification import RunSpec
from transfix.runs.store import files
from transfix.runs.store.files import DEFAULT_ROOT
from transfix.runs.store.run import Run
from transfix.storage import atomic, checksums


class RunStore:
    """A directory of runs.

    Args:
        root: need not exist yet.
    """

    def __init__(self, root: str | Path = DEFAULT_ROOT) -> None:
        self.root = Path(root)

    def open(self, spec: RunSpec) -> Run:
        """The run of a specification; created, with `spec.yaml` and `environment.json`, if it is not there.

        What the run is to be evaluated on, the device and `offload` are not part of its identity: new ones replace the
        stored ones.

        Raises:
            ValueError: the data type is still `auto`: it is part of the run's identity (see `RunSpec.resolved`).
            TransfixError: the directory cannot be written to, or its `spec.yaml` is damaged.
        """
        if spec.dtype == "auto":
            raise ValueError("resolve the specification's dtype before opening its run")
        run = Run(self.root / spec.name, spec)
        atomic.make_directory(run.path)
        with run.lock():
            stored = Run(run.path).spec if files.is_run(run.path) else None
            if stored != spec:
                atomic.write_file(run.path / files.SPEC, checksums.sealed_text(spec.to_yaml()))
            if not (run.path / files.ENVIRONMENT).exists():
                run.write_json(files.ENVIRONMENT, describe(spec.device, spec.dtype))
        return run

    def find(self, text: str | Path) -> Run:
        """See `Run.find`."""
        return Run.find(text, self.root)

    def runs(self) -> list[Run]:
        """All runs, sorted by name. Directories without a `spec.yaml` are none."""
        return [Run(path) for path in files.run_directories(self.root)]
