"""One run directory, read strictly: whatever is damaged is named, with what to do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfix.config import places
from transfix.config.suggestions import nearest
from transfix.errors import ProblemsError, TransfixError
from transfix.runs.environment import version
from transfix.runs.specification import RunSpec
from transfix.runs.store import files, label_means, metrics_json, predictions
from transfix.runs.store.files import DEFAULT_ROOT, UnreadableError
from transfix.runs.store.label_means import LabelMeans
from transfix.storage import atomic, checksums, lock

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

_SPEC_AGAIN = "Delete the damaged file and start the run again from the specification it was made with."
_AGAIN = {
    files.TRAINING: "run the same command again: what it said of the training is lost (to have it anew, delete `adapter` "
    "beside it too, and train again)"
}
"""What to do when a damaged JSON file is deleted, where there is more to say than that the same command makes it again."""


def other_than_begun(name: str, spec: RunSpec, environment: Mapping[str, Any]) -> str | None:
    """How a specification is another one than a run was begun with, in words; None if it is that one.

    Another version may know more settings and so come to another hash; the same version must come to the same.

    Args:
        name: of the run's directory.
        spec: what its `spec.yaml` says.
        environment: what its `environment.json` says.
    """
    if _same_version(environment) and not name.endswith(spec.identity()):
        return f"it comes to {spec.name}"
    return None if "seed" in spec.model_fields_set else torn(environment)


def torn(environment: Mapping[str, Any]) -> str | None:
    """What a specification without a seed is: broken off, where this version wrote it, with every default, the seed last."""
    return "its end, with the seed, is missing" if _same_version(environment) else None


def _same_version(environment: Mapping[str, Any]) -> bool:
    versions = environment.get("versions")
    return isinstance(versions, dict) and versions.get("transfix") == version("transfix")


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
        return self.path / files.ADAPTER

    @property
    def has_adapter(self) -> bool:
        """Whether the adapter is trained and whole."""
        return files.has_adapter(self.path)

    @property
    def blank(self) -> bool:
        """Whether nothing was trained or measured in it yet."""
        begun = (self.adapter_dir, self.checkpoints_dir, self.path / files.PREDICTIONS)
        return not any(path.exists() for path in begun)

    @property
    def checkpoints_dir(self) -> Path:
        """Where the trainer keeps its checkpoints. What is in there may be torn: the trainer checks it."""
        return self.path / files.CHECKPOINTS

    @property
    def logs_dir(self) -> Path:
        """Where curves of the training go, for programs that draw them."""
        return self.path / files.LOGS

    @property
    def environment(self) -> dict[str, Any]:
        """What the run was started on (`environment.json`); empty if the file is not there."""
        return self.read_json(files.ENVIRONMENT) or {}

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Writes `environment.json`."""
        self.write_json(files.ENVIRONMENT, facts)

    @property
    def training(self) -> dict[str, Any] | None:
        """Facts of the training (`training.json`), or None before it has ended."""
        return self.read_json(files.TRAINING)

    def write_training(self, facts: Mapping[str, Any]) -> None:
        """Writes `training.json`."""
        self.write_json(files.TRAINING, facts)

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The results by task, from `metrics.json`; None before it is written."""
        found = self.read_json(files.METRICS)
        return None if found is None else metrics_json.results(found, self.path / files.METRICS)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Writes `metrics.json`: the results by task."""
        self.write_json(files.METRICS, metrics_json.content(metrics))

    def lock(self, wait: bool = True) -> AbstractContextManager[None]:
        """Holds the run for this process: `with run.lock(): ...`. Re-entrant.

        What killed processes left half-written is removed when the lock is taken.

        Args:
            wait: wait for another process to finish, after a warning that says which; else raise.

        Raises:
            LockedError: another process holds the run and `wait` is false.
        """
        return lock.hold(self.path, wait=wait)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a JSON file of the run.

        Raises:
            ValueError: a number in it is not finite.
        """
        text = json.dumps(checksums.sealed(content), indent=2, ensure_ascii=False, allow_nan=False)
        with self.lock():
            atomic.write_file(self.path / name, text + "\n")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Reads a JSON file of the run; None if it is not there.

        Raises:
            TransfixError: it is not JSON, or cannot be read.
        """
        try:
            return files.read_json(self.path / name)
        except UnreadableError as error:
            raise _damaged(error, _AGAIN.get(name, "run the same command again")) from error

    @property
    def adapter_digest(self) -> str | None:
        """The digest of the trained adapter's numbers; empty for a run that trains none, None before it is trained.

        Raises:
            TransfixError: `adapter.json` is damaged.
        """
        if not self.spec.trained:
            return ""
        try:
            record = files.read_adapter(self.path)
        except UnreadableError as error:
            raise TransfixError(f"{error.path} is damaged: {error.reason}. {self.train_anew}") from error
        if record is None:
            return None
        digest = record.get("digest")  # adapters of before had none
        return str(digest) if digest else checksums.of_file(self.adapter_dir / files.ADAPTER_TENSORS)

    @property
    def train_anew(self) -> str:
        """What to do about an adapter that is damaged."""
        return (
            f"Delete {self.adapter_dir}, then train it anew: "
            f"`transfix train {self.path}/spec.yaml --runs {self.path.parent}`."
        )

    def require_trained(self) -> None:
        """Raises TransfixError if the run has yet to be trained."""
        if self.spec.trained and not self.has_adapter:
            raise TransfixError(
                f"{self.path} is not trained yet: run `transfix train {self.path}/spec.yaml --runs {self.path.parent}`."
            )

    def write_adapter(self, save: Callable[[Path], object]) -> None:
        """Writes `adapter/` as a whole: `save` is given an empty directory to write into."""
        with self.lock():
            atomic.write_directory(self.adapter_dir, save)

    def remove_checkpoints(self) -> None:
        """Removes the trainer's checkpoints, if there are any."""
        atomic.remove_directory(self.checkpoints_dir)

    def predictions_path(self, task: str, language: str) -> Path:
        """Where the predictions of one task and language are, or will be."""
        return files.predictions_path(self.path, task, language)

    def label_means(self, task: str) -> LabelMeans | None:
        """What is kept of the run's preference for labels; None where nothing is.

        Raises:
            TransfixError: the file is damaged.
        """
        try:
            return label_means.read(self.path, task)
        except UnreadableError as error:
            raise _damaged(error, f"run `transfix evaluate {self.path}` again") from error

    def own_label_means(self) -> LabelMeans | None:
        """The run's preference for labels on rows of the user's; None where it was not measured.

        Raises:
            TransfixError: the file is damaged.
        """
        try:
            return label_means.read_file(label_means.own_path_of(self.path))
        except UnreadableError as error:
            again = (
                f"run `transfix calibrate {self.path} --input ...` again, with rows of English and of every language"
            )
            raise _damaged(error, again) from error

    def write_own_label_means(self, means: LabelMeans) -> None:
        """Writes `label_means.json`."""
        self._write_label_means(label_means.own_path_of(self.path), means)

    def write_label_means(self, task: str, means: LabelMeans) -> None:
        """Writes `calibration/TASK.json`."""
        self._write_label_means(label_means.path_of(self.path, task), means)

    def _write_label_means(self, path: Path, means: LabelMeans) -> None:
        with self.lock():
            atomic.make_directory(path.parent)
            content = checksums.sealed(means.content())
            atomic.write_file(path, json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")

    def predicted(self) -> list[tuple[str, str]]:
        """(task, language) of all predictions that are there, sorted."""
        return sorted((task, language) for task, language, _ in files.prediction_files(self.path))

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
        path = self.predictions_path(task, language)
        with self.lock():
            predictions.write(path, frame, meta)

    def predictions(self, task: str, language: str) -> pd.DataFrame | None:
        """The predictions of one task and language, or None if they have not been made.

        Raises:
            TransfixError: the file is damaged.
        """
        path = self.predictions_path(task, language)
        if not path.exists():
            return None
        try:
            return predictions.read(path, predictions.COLUMNS).to_pandas()
        except UnreadableError as error:
            raise _damaged(error, _evaluate_again(path)) from error

    def predictions_meta(self, task: str, language: str) -> dict[str, Any] | None:
        """What was asked and how, as `write_predictions` was told; None if there are no predictions.

        Raises:
            TransfixError: the file is damaged.
        """
        path = self.predictions_path(task, language)
        if not path.exists():
            return None
        try:
            said = predictions.meta(path, predictions.read(path, predictions.COLUMNS, lambda name: False))
            if said is None:
                raise UnreadableError(path, "it does not say what was asked")
        except UnreadableError as error:
            raise _damaged(error, _evaluate_again(path)) from error
        return said

    def _read_spec(self) -> RunSpec:
        path = self.path / files.SPEC
        try:
            spec = RunSpec.load(path)
        except TransfixError as error:
            if isinstance(error, ProblemsError) and all(problem.missing_file for problem in error.problems):
                what = "The run is whole: put the file back, or go to the directory that the run was started in."
            else:
                what = _SPEC_AGAIN
            raise TransfixError(f"{error}\n{what}") from error
        if why := other_than_begun(self.name, spec, self.environment):
            raise TransfixError(
                f"{path} is not what its run was made with: {why}. A run's specification cannot be "
                "edited: write the change into your own file and start a new run (evaluate, device and offload may change). "
                f"If nobody has edited it, it is damaged. {_SPEC_AGAIN}"
            )
        try:
            files.require_spec_as_written(self.path)
        except UnreadableError as error:
            raise TransfixError(
                f"{path} is damaged: {error.reason}. {_SPEC_AGAIN} If you have edited it yourself, take out its last line."
            ) from error
        return spec

    @classmethod
    def find(cls, text: str | Path, root: str | Path = DEFAULT_ROOT) -> Run:
        """The run that a user means: a directory, a run's name, or the beginning of its name or of its hash.

        Raises:
            TransfixError: there is none, or more than one.
        """
        path = Path(text)
        kind = places.kind(path)
        if kind == "directory":
            if files.is_run(path):
                return cls(path.resolve() if path.name in ("", "..") else path)
            inside = [directory.name for directory in files.run_directories(path)]
            hint = f" It holds runs; name one of them: {', '.join(inside[:10])}." if inside else ""
            raise TransfixError(f"{path} is not a run: it has no spec.yaml.{hint}")
        if kind != "missing":
            raise TransfixError(f"{path} is a file; a run is a directory with a spec.yaml.")
        runs = [cls(directory) for directory in files.run_directories(Path(root))]
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
        near = nearest(wanted, names, at_most=3, likeness=0.4) or names[:10]
        raise TransfixError(f"no run {wanted!r} in {root}/. There are, among others:\n  " + "\n  ".join(near))


def _evaluate_again(path: Path) -> str:
    return f"run `transfix evaluate {path.parents[2]}` again"


def _damaged(error: UnreadableError, then: str) -> TransfixError:
    return TransfixError(f"{error.path} is damaged: {error.reason}. Delete it, then {then}.")
