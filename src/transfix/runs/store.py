"""The record of every run: a directory named by the content of its specification, in which every file is whole.

    runs/llama_adapter-gemma-3-270m-0123456789ab/
        spec.yaml  environment.json  training.json  metrics.json
        adapter/  checkpoints/  predictions/TASK/LANGUAGE.parquet

A step whose file is there is finished and never redone. Writing takes the run's lock (see `atomic`), so two processes
may be given the same work: the second waits, then finds it done.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfix.errors import ProblemsError, TransfixError
from transfix.runs import metrics_file
from transfix.runs.environment import describe, version
from transfix.runs.specification import RunSpec
from transfix.storage import atomic

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("id", "language", "prompt_hash", "answer", "gold", "score", "truncated", "option_scores")
METADATA_KEY = b"transfix"
DEFAULT_ROOT = Path("runs")


class Run:
    """One run directory.

    Args:
        path: an existing directory.
        spec: what it was opened with; None reads `spec.yaml` when it is first asked for.
    """

    def __init__(self, path: Path, spec: RunSpec | None = None) -> None:
        self.path = path
        self._spec = spec

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def name(self) -> str:
        """The name of the directory."""
        return self.path.name

    @property
    def spec(self) -> RunSpec:
        """The resolved specification.

        Raises:
            TransfixError: `spec.yaml` is missing, broken, or not what the directory's name says.
        """
        if self._spec is None:
            self._spec = self._read_spec()
        return self._spec

    @property
    def adapter_dir(self) -> Path:
        """Where the trained adapter is, once it is whole."""
        return self.path / "adapter"

    @property
    def blank(self) -> bool:
        """Whether nothing was trained or measured in it yet."""
        return not any(path.exists() for path in (self.adapter_dir, self.checkpoints_dir, self.path / "predictions"))

    @property
    def checkpoints_dir(self) -> Path:
        """Where the trainer keeps its checkpoints. What is in there may be torn: the trainer checks it."""
        return self.path / "checkpoints"

    @property
    def environment(self) -> dict[str, Any]:
        """What the run was started on (`environment.json`); empty if the file is not there."""
        return self.read_json("environment.json") or {}

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The results by task, from `metrics.json`; None before it is written."""
        found = self.read_json("metrics.json")
        return None if found is None else metrics_file.results(found, self.path / "metrics.json")

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Writes `metrics.json`: the results by task."""
        self.write_json("metrics.json", metrics_file.content(metrics))

    def lock(self, wait: bool = True) -> AbstractContextManager[None]:
        """Holds the run for this process: `with run.lock(): ...`. Re-entrant.

        What killed processes left half-written is removed when the lock is taken.

        Args:
            wait: wait for another process to finish, after a warning that says which; else raise.

        Raises:
            LockedError: another process holds the run and `wait` is false.
        """
        return atomic.lock(self.path, wait=wait)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a JSON file of the run.

        Raises:
            ValueError: a number in it is not finite.
        """
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        with self.lock():
            atomic.write_file(self.path / name, text + "\n")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Reads a JSON file of the run; None if it is not there.

        Raises:
            TransfixError: it is not JSON, or cannot be read.
        """
        path = self.path / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _damaged(path, error, "run the same command again") from error
        if not isinstance(content, dict):
            raise _damaged(path, "it holds no mapping", "run the same command again")
        return content

    def write_adapter(self, save: Callable[[Path], object]) -> None:
        """Writes `adapter/` as a whole: `save` is given an empty directory to write into."""
        with self.lock():
            atomic.write_directory(self.adapter_dir, save)

    def predictions_path(self, task: str, language: str) -> Path:
        """Where the predictions of one task and language are, or will be."""
        for part in (task, language):
            if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", part):
                raise ValueError(f"{part!r} cannot be the name of a file")
        return self.path / "predictions" / task / f"{language}.parquet"

    def predicted(self) -> list[tuple[str, str]]:
        """(task, language) of all predictions that are there, sorted."""
        files = (self.path / "predictions").glob("*/*.parquet")
        return sorted((file.parent.name, file.stem) for file in files if not file.name.startswith("."))

    def write_predictions(self, task: str, language: str, frame: pd.DataFrame, meta: Mapping[str, Any]) -> None:
        """Writes the predictions of one task and language.

        Args:
            task: the task's name.
            language: FLORES-style code.
            frame: a row an example, with at least `COLUMNS`: id, language, prompt_hash, answer (the class chosen),
                gold, score (1.0 or 0.0), truncated, option_scores (log-probabilities, in the order of `classes`).
            meta: what was asked, and how: task, split, template, verbaliser, classes, data, model ...

        Raises:
            ValueError: a column is missing, or ids repeat.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.predictions_path(task, language)
        if absent := [name for name in COLUMNS if name not in frame.columns]:
            raise ValueError(f"predictions of {task} in {language} lack {', '.join(absent)}")
        if frame["id"].duplicated().any():
            raise ValueError(f"predictions of {task} in {language} have an id twice")
        texts = ("id", "language", "prompt_hash", "answer", "gold")
        types: dict[str, Any] = {name: pa.string() for name in texts}
        types |= {"score": pa.float64(), "truncated": pa.bool_(), "option_scores": pa.list_(pa.float64())}
        extra = [name for name in frame.columns if name not in COLUMNS]
        arrays = [pa.array(frame[name], type=types.get(name), from_pandas=True) for name in (*COLUMNS, *extra)]
        table = pa.Table.from_arrays(arrays, names=[*COLUMNS, *extra])
        record = json.dumps(meta, ensure_ascii=False, allow_nan=False).encode()
        table = table.replace_schema_metadata({METADATA_KEY: record})
        with self.lock():
            atomic.make_directory(path.parent)
            atomic.write_file(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))

    def predictions(self, task: str, language: str) -> pd.DataFrame | None:
        """The predictions of one task and language, or None if they have not been made.

        Raises:
            TransfixError: the file is damaged.
        """
        table = self._read_predictions(task, language, None)
        return None if table is None else table.to_pandas()

    def predictions_meta(self, task: str, language: str) -> dict[str, Any] | None:
        """What was asked and how, as `write_predictions` was told; None if there are no predictions.

        Raises:
            TransfixError: the file is damaged.
        """
        table = self._read_predictions(task, language, [])
        if table is None:
            return None
        try:
            meta: dict[str, Any] = json.loads(table.schema.metadata[METADATA_KEY])
        except (KeyError, TypeError, ValueError) as error:
            path = self.predictions_path(task, language)
            raise _damaged(path, "it does not say what was asked", _evaluate_again(path)) from error
        return meta

    def _read_predictions(self, task: str, language: str, columns: list[str] | None) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.predictions_path(task, language)
        if not path.exists():
            return None
        try:
            with pq.ParquetFile(path) as file:
                if absent := [name for name in COLUMNS if name not in file.schema_arrow.names]:
                    raise ValueError(f"it has no column {', '.join(absent)}")
                return file.read(columns=columns)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _damaged(path, error, _evaluate_again(path)) from error

    def _read_spec(self) -> RunSpec:
        path = self.path / "spec.yaml"
        try:
            spec = RunSpec.load(path)
        except TransfixError as error:
            if isinstance(error, ProblemsError) and all("does not exist" in problem.what for problem in error.problems):
                what = "The run is whole: put the file back, or go to the directory that the run was started in."
            else:
                what = "Delete the damaged file and start the run again from the specification it was made with."
            raise TransfixError(f"{error}\n{what}") from error
        # another version may know more settings and so come to another hash; the same version must come to the same
        same_version = self.environment.get("versions", {}).get("transfix") == version("transfix")
        if same_version and not self.name.endswith(spec.identity()):
            raise TransfixError(
                f"{path} is not what its run was made with: it comes to {spec.name}. A run's specification cannot be "
                "edited: write the change into your own file and start a new run (evaluate, device and offload may change)."
            )
        return spec

    @classmethod
    def find(cls, text: str | Path, root: str | Path = DEFAULT_ROOT) -> Run:
        """The run that a user means: a directory, a run's name, or the beginning of its name or of its hash.

        Raises:
            TransfixError: there is none, or more than one.
        """
        path = Path(text)
        if path.is_dir():
            if (path / "spec.yaml").is_file():
                return cls(path.resolve() if path.name in ("", "..") else path)
            inside = [run.name for run in RunStore(path).runs()]
            hint = f" It holds runs; name one of them: {', '.join(inside[:10])}." if inside else ""
            raise TransfixError(f"{path} is not a run: it has no spec.yaml.{hint}")
        if path.exists():
            raise TransfixError(f"{path} is a file; a run is a directory with a spec.yaml.")
        runs = RunStore(root).runs()
        wanted = str(text).rstrip("/")
        exact = [run for run in runs if run.name == wanted]
        found = exact or [run for run in runs if run.name.startswith(wanted) or run.name[-12:].startswith(wanted)]
        if wanted and len(found) > 1 and not exact:  # starts that failed have nothing in them that could be meant
            found = [run for run in found if not run.blank] or found
        if wanted and len(found) == 1:
            return found[0]
        if not runs:
            raise TransfixError(f"no run {wanted!r}: there is no such directory, and {root}/ holds no runs.")
        names = [run.name for run in found or runs]
        if found:
            raise TransfixError(
                f"{wanted!r} may mean {len(found)} runs; write more of the name:\n  " + "\n  ".join(names)
            )
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.4) or names[:10]
        raise TransfixError(f"no run {wanted!r} in {root}/. There are, among others:\n  " + "\n  ".join(near))


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
            stored = Run(run.path).spec if (run.path / "spec.yaml").exists() else None
            if stored != spec:
                atomic.write_file(run.path / "spec.yaml", spec.to_yaml())
            if not (run.path / "environment.json").exists():
                run.write_json("environment.json", describe(spec.device, spec.dtype))
        return run

    def find(self, text: str | Path) -> Run:
        """See `Run.find`."""
        return Run.find(text, self.root)

    def runs(self) -> list[Run]:
        """All runs, sorted by name. Directories without a `spec.yaml` are none."""
        if not self.root.is_dir():
            return []
        return [Run(path) for path in sorted(self.root.iterdir()) if path.is_dir() and (path / "spec.yaml").is_file()]


def _evaluate_again(path: Path) -> str:
    return f"run `transfix evaluate {path.parents[2]}` again"


def _damaged(path: Path, why: object, then: str) -> TransfixError:
    reason = str(why).splitlines()[0] if str(why) else type(why).__name__
    return TransfixError(f"{path} is damaged: {reason}. Delete it, then {then}.")
