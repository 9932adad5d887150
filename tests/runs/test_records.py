"""The two readers of a run find the same files; what the strict one raises the lenient one notes."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Literal

import pytest
from tests.report.conftest import Store

import transfix
from transfix.adapters import files as adapter_files
from transfix.adapters.methods import METHODS
from transfix.errors import TransfixError
from transfix.runs import records
from transfix.runs.store import Run, files

SOURCE = Path(transfix.__file__).parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Store(tmp_path / "runs").run("lora-gemma-3-270m-cccccccccccc", "lora", languages=["deu_Latn", "swh_Latn"])


def test_both_find_the_same_predictions(path: Path) -> None:
    folder = path / "predictions"
    for name in (".deu_Latn.parquet.1-aa.tmp", ".hidden.parquet", "_hidden.parquet", "notes.txt"):
        (folder / "xnli" / name).write_text("x")
    (folder / "xnli" / "directory.parquet").mkdir()
    (folder / ".xnli").mkdir()
    (folder / ".xnli" / "deu_Latn.parquet").write_text("x")
    (folder / "file.parquet").write_text("x")
    found = records.read(path)
    assert found.notes == ()
    there = [(task, code) for task, codes in found.predictions.items() for code in codes]
    assert there == Run(path).predicted() == [("xnli", "deu_Latn"), ("xnli", "swh_Latn")]
    names = ["spec.yaml", "environment.json", "training.json"]
    names += [f"predictions/xnli/{code}.parquet" for _, code in there]
    names.append("calibration/xnli.json")
    assert records.sources(path) == [path / name for name in names]


@pytest.mark.parametrize(
    ("methods", "untrained"),
    [
        (["base"], True),
        (["unlearned"], True),  # by what the method says of itself, not by its name
        (["lora"], False),
        (["unlearned", "lora"], False),
        (["not_installed"], False),
    ],
)
def test_nothing_is_trained_where_no_part_learns(
    methods: list[str], untrained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unlearned(METHODS["base"]):  # type: ignore[misc]
        method: Literal["unlearned"] = "unlearned"

    monkeypatch.setitem(METHODS, "unlearned", Unlearned)
    run = records.RunRecord("a", Path("a"), {"adapter": [{"method": name} for name in methods]})
    assert run.is_base is untrained


@pytest.mark.parametrize("name", ["environment.json", "training.json"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[1]", "it holds no mapping"),
        (b"\xff", "'utf-8' codec can't decode"),
    ],
)
def test_damaged_json(path: Path, name: str, content: bytes, reason: str) -> None:
    (path / name).write_bytes(content)
    with pytest.raises(TransfixError) as caught:
        Run(path).read_json(name)
    assert str(caught.value).startswith(f"{path / name} is damaged: {reason}")
    (note,) = records.read(path).notes
    assert note.startswith(f"run {path.name}: {name} cannot be read ({reason}")


def test_damaged_predictions(path: Path) -> None:
    file = path / "predictions" / "xnli" / "deu_Latn.parquet"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TransfixError) as caught:
        Run(path).predictions("xnli", "deu_Latn")
    reason = str(caught.value).removeprefix(f"{file} is damaged: ").split(". Delete it")[0]
    (note,) = records.read(path).notes
    assert note == (
        f"run {path.name}: predictions of xnli in deu_Latn cannot be read ({reason}); "
        "delete predictions/xnli/deu_Latn.parquet and evaluate again"
    )


def test_predictions_of_another_program_say_nothing_of_what_was_asked(path: Path) -> None:
    store = Store(path.parent)
    store.predictions(path / "predictions" / "xnli" / "deu_Latn.parquet", store.answers(0.5, 1), meta=None)
    assert records.read(path).predictions["xnli"]["deu_Latn"].meta == {}
    with pytest.raises(TransfixError, match="does not say what was asked"):
        Run(path).predictions_meta("xnli", "deu_Latn")


def test_the_record_of_an_adapter_has_one_name() -> None:
    assert files.ADAPTER_RECORD == adapter_files.RECORD


def test_nothing_else_knows_the_names_of_files_or_replaces_them() -> None:
    """`models.files` and `adapters` know an adapter's record, which may lie anywhere."""
    names = {files.SPEC, files.ENVIRONMENT, files.TRAINING, files.METRICS, files.CHECKPOINTS, ".parquet"}
    calls = {f"os.{name}" for name in ("fsync", "rename", "replace")} | {"tempfile.mkstemp", "fcntl.flock", "filelock"}
    known, replaced = set(), set()
    for source in SOURCE.rglob("*.py"):
        where = source.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and node.value in names:
                known.add(where)
            if isinstance(node, ast.Attribute | ast.ImportFrom):
                called = ast.unparse(node) if isinstance(node, ast.Attribute) else node.module
                replaced |= {where} if called in calls else set()
    assert known == {"runs/store/files.py", "data/answered.py", "data/columnar.py"}, (
        "users' tables may be parquet files"
    )
    # an adapter's tensors wait, whole, beside their place until their record is there
    assert replaced == {"storage/atomic.py", "storage/lock.py", "adapters/files.py"}
