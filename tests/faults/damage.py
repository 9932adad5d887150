"""Damage to every file that is kept: of a run, of a checkpoint, of a study, of the converted model; and what is read then."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults import forks, scenes
from tests.faults.disturbed import Fault, differences
from tests.faults.forks import Ended
from tests.faults.scenes import Scene, Stage
from tests.faults.verdicts import BADLY, HARMLESS, LOST, REFUSED, SILENT, Verdict, badly
from tests.storage.damages import damaged

FLIPS = 12
"""Bits of a file that are flipped, each for itself."""


@dataclass(frozen=True)
class Kept:
    """What is damaged: the files of a place, and the commands that read them.

    Attributes:
        where: of what the files are.
        scene: the place, and what its commands say of files that are whole.
        files: which of them, relative to the place, as patterns.
        before: changes the place before the commands, so that they need the files.
        commands: in order, each for itself.
    """

    where: str
    scene: Scene
    files: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    before: Callable[[Path], object] = lambda _: None


def faults(kept: Kept) -> Iterator[Fault]:
    """Every damage to every one of the files."""
    for pattern in kept.files:
        for path in sorted(kept.scene.start.glob(pattern)):
            if path.is_file():
                name = str(path.relative_to(kept.scene.start))
                others = [other for other in path.parent.iterdir() if other.is_file() and other != path]
                for what, content in _damages(path, others):
                    short = f"{'/'.join(Path(name).parts[-2:])}, {what}"
                    yield Fault("damage", kept.where, short, partial(_inject, kept, name, content))


def _damages(path: Path, others: Sequence[Path]) -> Iterator[tuple[str, bytes | None]]:
    content = path.read_bytes()
    if content:
        yield from damaged(content, FLIPS)
    yield "more at its end", content + content[:64] + b"\0"
    yield "zeros at its end", content + bytes(512)
    yield "gone", None
    for other in sorted(others)[:1]:
        yield f"what {other.name} holds", other.read_bytes()


def _inject(kept: Kept, name: str, content: bytes | None, place: Path) -> Verdict:
    scene = kept.scene
    scene.place(place)
    kept.before(place)
    file = place / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    said: list[str] = []
    for command in kept.commands:
        ended = scenes.call(place, [command])
        if why := badly(ended):
            return Verdict(BADLY, f"{command[0]}: {why}")
        if ended.status:
            said.append(ended.output)
        elif "damaged" in ended.output and _names(ended.output, file):
            said.append(ended.output)  # and made again, or done without
        elif command[-1] == "--csv" and scene.said is not None and not scenes.says(ended.output, scene.said):
            if content is None and "!" in ended.output:
                said.append(ended.output)  # what is gone is named as missing
            else:
                return Verdict(SILENT, f"{' '.join(command)}: other numbers, and status 0: {ended.output[:300]}")
    if not said:
        changed = [path for path in differences(scene, place) if path != name]
        if changed and content is not None:
            return Verdict(SILENT, f"other results, and no word: {', '.join(changed)}")
        return Verdict(HARMLESS)
    if content is not None and not any(_names(text, file) for text in said):
        return Verdict(BADLY, f"{file.name} is not named: {said[0][-300:]}")
    return Verdict(REFUSED)


def _names(text: str, file: Path) -> bool:
    """Whether a message names a file, or the directory it is in."""
    flat = "".join(text.split())
    return "".join(file.name.split()) in flat or "".join(str(Path(*file.parts[-2:-1])).split()) in flat


def all_kept(made: Stage) -> Iterator[Kept]:
    """Everything that a store, a study and a checkpoint keep."""
    csv, measure, train = ("report", "RUN", "--csv"), ("evaluate", "RUN"), ("train", scenes.SPECIFICATION)
    report = made["report"]
    yield Kept(
        "a measured run", report, ("runs/*/*", "runs/*/predictions/*/*", "runs/*/calibration/*"), (csv, measure, train)
    )
    yield Kept("its adapter", report, ("runs/*/adapter/*",), (train, measure), _unmeasured)
    predict = made["predict, calibrated"]
    yield Kept("means of the user's rows", predict, ("runs/*/label_means.json",), (scenes.PREDICT,))
    halfway = made["train, from a checkpoint"]
    yield Kept("a checkpoint", halfway, ("runs/*/checkpoints/*/*",), (train,))
    status = ("study", "status", "study", "--json")
    files = ("study/*", "study/work/*/*")
    yield Kept("a study", made["report of a study"], files, (("report", "study", "--csv"), status))


def _unmeasured(place: Path) -> None:
    for path in place.glob("runs/*/predictions/*/*.parquet"):
        path.unlink()


# ---- the converted model


class Cache:
    """The converted form of a tiny packaged model, and what reads it."""

    def __init__(self, home: Path) -> None:
        from tests.models import gguf_files

        from transfix.models.registry import PackagedModel

        self.home = home
        content = gguf_files.write(home / "whole.gguf", "gemma3").read_bytes()
        package = home / "site" / "tiny_packaged_model"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "piece").write_bytes(content)
        sys.path.insert(0, str(home / "site"))
        self.model = PackagedModel(
            name="tiny",
            title="Tiny Gemma",
            package="tiny==1.0",
            install="pip install tiny",
            parts=(("tiny_packaged_model", "piece"),),
            sha256=hashlib.sha256(content).hexdigest(),
            licence="Some Terms",
            licence_url="https://example.org/terms",
        )
        self.start = home / "converted"
        self.start.mkdir()
        ended = self.read(self.start)
        assert ended.status == 0, ended.output
        self.digest = ended.output.strip().splitlines()[-1]

    def read(self, place: Path) -> Ended:
        """Loads the model in a child, with `place` as cache, and prints a digest of its weights."""

        def work() -> None:
            import os

            import torch
            from safetensors.torch import load_file

            from transfix.models import registry

            os.environ["TRANSFIX_CACHE"] = str(place)
            directory = registry.weights(self.model, torch.bfloat16)
            found = hashlib.sha256()
            for name, tensor in sorted(load_file(directory / "model.safetensors").items()):
                found.update(name.encode() + tensor.float().numpy().tobytes())
            whole = registry.ensure(self.model)
            for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
                found.update((whole / name).read_bytes())
            print(found.hexdigest())

        return forks.forked(work, place)

    def faults(self) -> Iterator[Fault]:
        """Every damage to every file of it."""
        for path in sorted(self.start.rglob("*")):
            if path.is_file() and path.name != ".lock":
                others = [other for other in path.parent.iterdir() if other.is_file() and other != path]
                for what, content in _damages(path, others):
                    name = str(path.relative_to(self.start))
                    short = f"{'/'.join(Path(name).parts[-2:])}, {what}"
                    yield Fault("damage", "the converted model", short, partial(self._inject, name, content))

    def _inject(self, name: str, content: bytes | None, place: Path) -> Verdict:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.start, place)
        if content is None:
            (place / name).unlink()
        else:
            (place / name).write_bytes(content)
        ended = self.read(place)
        if ended.status:
            return Verdict(BADLY, ended.output[-400:])
        lines = ended.output.strip().splitlines()
        if lines[-1] != self.digest:
            return Verdict(SILENT, f"another model: {ended.output[-400:]}")
        again = self.read(place)
        if again.output.strip() != self.digest:
            return Verdict(LOST, f"not made again: {again.output[-400:]}")
        return Verdict(REFUSED if len(lines) > 1 else HARMLESS)
