"""The script that compares two checkouts: it finds what differs, and calls layouts that say the same the same."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
RUN = "runs/prefix-tiny-0123456789ab"
METRICS: dict[str, Any] = {
    "xnli": {"languages": {"deu_Latn": {"n": 3, "accuracy": 0.5}}, "metric": "accuracy"},
    "xquad": {
        "languages": {"deu_Latn": {"n": 3, "accuracy": 0.25}},
        "metrics": {"exact": {"deu_Latn": {"accuracy": 0.0}}},
        "corpus": {"deu_Latn": {"bleu": 0.0, "bleu_signature": "a", "chrf": 42.3, "chrf_signature": "b"}},
    },
}
BLEU: dict[str, Any] = {"languages": {"deu_Latn": {"score": 0.0, "signature": "a"}}}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("compare_checkouts")


@pytest.fixture
def differing(script: Any) -> Any:
    return importlib.import_module("checkout_differences")


def write_predictions(path: Path, scores: list[float], asked: str = "xnli") -> None:
    table = pa.table({"id": [str(number) for number in range(len(scores))], "score": scores})
    pq.write_table(table.replace_schema_metadata({b"transfix": json.dumps({"task": asked}).encode()}), path)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two directories with the same run."""
    before = tmp_path / "before"
    for folder in ("adapter", "predictions/xnli", "logs"):
        (before / RUN / folder).mkdir(parents=True)
    (before / RUN / "spec.yaml").write_text("model: tiny\nseed: 0\n")
    (before / RUN / "environment.json").write_text('{"started": "2026"}')
    (before / RUN / "training.json").write_text('{"steps": 8, "seconds": 1.5, "examples_per_second": 2.5}')
    (before / RUN / "metrics.json").write_text(json.dumps(METRICS))
    (before / RUN / "adapter" / "adapter.json").write_text('{\n  "format": 1\n}')
    (before / RUN / "adapter" / "adapter.safetensors").write_bytes(b"\x00\x01\x02")
    write_predictions(before / RUN / "predictions" / "xnli" / "deu_Latn.parquet", [1.0, 0.0])
    shutil.copytree(before, tmp_path / "after")
    return before, tmp_path / "after"


@pytest.fixture
def differences(script: Any, sides: tuple[Path, Path]) -> Callable[[], list[str]]:
    """What the script finds between the two."""

    def found() -> list[str]:
        findings = script.Findings()
        script.compare(*sides, findings)
        return [text for _, text in findings.differences]

    return found


def test_the_same(script: Any, sides: tuple[Path, Path]) -> None:
    findings = script.Findings()
    script.compare(*sides, findings)
    assert not findings.differences
    kinds = {"names of runs": 1, "spec.yaml": 1, "training.json": 1, "metrics.json": 1, "adapters": 2, "predictions": 1}
    assert findings.made == kinds


def test_time_and_machine_are_not_compared(sides: tuple[Path, Path], differences: Callable[[], list[str]]) -> None:
    run = sides[1] / RUN
    (run / "environment.json").write_text('{"started": "2027"}')
    (run / "logs" / "events").write_text("x")
    (run / ".lock").touch()
    (run / "predictions" / "xnli" / ".deu_Latn.counts").touch()
    (run / "training.json").write_text('{"steps": 8, "seconds": 9.5, "examples_per_second": 0.5}')
    assert differences() == []


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("spec.yaml", b"model: tiny\nseed: 1\n", "'seed: 0' was, 'seed: 1' is"),
        ("adapter/adapter.safetensors", b"\x00\x01\x03", "other bytes"),
        ("adapter/adapter.json", b'{\n  "format": 2\n}', "'  \"format\": 1' was"),
        ("training.json", b'{"steps": 9}', "steps: 8 was, 9 is"),
        ("training.json", b'{"steps": 8, "epochs": 1}', "epochs on one side only"),
        ("checkpoints/step-2", b"", "is there after only"),
    ],
)
def test_another_file(
    sides: tuple[Path, Path], differences: Callable[[], list[str]], file: str, content: bytes, message: str
) -> None:
    path = sides[1] / RUN / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    (found,) = differences()
    assert found.startswith(f"{RUN}/{file}: ")
    assert message in found


def test_another_name(sides: tuple[Path, Path], differences: Callable[[], list[str]]) -> None:
    (sides[1] / RUN).rename(sides[1] / "runs/prefix-tiny-ba9876543210")
    assert sorted(differences()) == [
        f"{RUN}: is there before only",
        "runs/prefix-tiny-ba9876543210: is there after only",
    ]


def test_other_predictions(sides: tuple[Path, Path], differences: Callable[[], list[str]]) -> None:
    file = f"{RUN}/predictions/xnli/deu_Latn.parquet"
    write_predictions(sides[1] / file, [1.0, 1.0])
    assert differences() == [f"{file}: columns score"]
    write_predictions(sides[1] / file, [1.0, 0.0], "mnli")
    assert differences() == [f"{file}: what was asked: task: 'xnli' was, 'mnli' is"]
    (sides[1] / file).unlink()
    assert differences() == [f"{file}: is there before only"]


def test_checksums_are_not_compared(sides: tuple[Path, Path], differences: Callable[[], list[str]]) -> None:
    run = sides[1] / RUN
    file = run / "predictions" / "xnli" / "deu_Latn.parquet"
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"transfix.checksum": b"1"}), file)
    for name in ("training.json", "metrics.json", "adapter/adapter.json"):
        (run / name).write_text(json.dumps({**json.loads((run / name).read_text()), "checksum": "1:00"}, indent=1))
    (run / "spec.yaml").write_text((run / "spec.yaml").read_text() + "# checksum: 1:00\n")
    for side, plan in zip(sides, ('[{"run": "a"}]', '{"runs": [{"run": "a"}], "checksum": "1:00"}'), strict=True):
        (side / "studies" / "grid").mkdir(parents=True)
        (side / "studies" / "grid" / "plan.json").write_text(plan)
    assert differences() == []
    (run / "spec.yaml").write_text("model: tiny\nseed: 1\n# checksum: 1:00\n")
    assert differences() == [f"{RUN}/spec.yaml: 'seed: 0' was, 'seed: 1' is"]


def test_metrics_in_a_newer_layout(sides: tuple[Path, Path], differences: Callable[[], list[str]]) -> None:
    path = sides[1] / RUN / "metrics.json"

    def write(score: float = 0.25, exact: float = 0.0, chrf: float = 0.423) -> None:
        exacts = {"deu_Latn": {"score": exact, "interval": [0.0, 0.0]}}
        corpus = {"languages": {"deu_Latn": {"score": chrf, "signature": "b", "n": 3}}, "macro": {}}
        metrics = {"exact": exacts, "corpus_chrf": corpus, "corpus_bleu": BLEU, "f1": {}}
        xquad = {"languages": {"deu_Latn": {"n": 3, "score": score}}, "metrics": metrics}
        xnli = {"languages": {"deu_Latn": {"n": 3, "score": 0.5}}, "metric": "accuracy", "metrics": {"accuracy": {}}}
        path.write_text(json.dumps({"format": 2, "results": {"xnli": xnli, "xquad": xquad}}))

    write()
    assert differences() == []
    write(score=0.26)
    assert differences() == [f"{RUN}/metrics.json: xquad.languages.deu_Latn.score: 0.25 was, 0.26 is"]
    write(exact=1.0)
    assert differences() == [f"{RUN}/metrics.json: xquad.metrics.exact.deu_Latn.score: 0.0 was, 1.0 is"]
    write(chrf=0.424)
    (found,) = differences()
    assert found.endswith("xquad.metrics.corpus_chrf.languages.deu_Latn.score: 0.423 was, 0.424 is")
    path.write_text(json.dumps({**METRICS, "xquad": {"languages": METRICS["xquad"]["languages"]}}))
    assert differences() == [f"{RUN}/metrics.json: xquad: metrics on one side only"]


def test_a_table_may_say_more(differing: Any) -> None:
    before = "German 33.3\nSwahili 66.7\n"
    assert differing.unsaid(before, before, csv=False) is None
    assert differing.unsaid(before, "German 33.3\nmacro-F1\nSwahili 66.7\nend\n", csv=False) is None
    assert "'Swahili 66.7' is not there" in differing.unsaid(before, "German 33.3\nSwahili 66.8\n", csv=False)
    assert "or not in its place" in differing.unsaid(before, "Swahili 66.7\nGerman 33.3\n", csv=False)


def test_a_table_of_cells_may_have_more_columns(differing: Any) -> None:
    before = "task,score\nxnli,0.5\nmgsm,0.25\n"
    assert differing.unsaid(before, "task,f1,score\nxnli,,0.5\nmgsm,0.1,0.25\n", csv=True) is None
    assert (
        differing.unsaid(before, "task,score\nxnli,0.5\nmgsm,0.26\n", csv=True) == "row 2, score: '0.25' was, '0.26' is"
    )
    assert differing.unsaid(before, "task\nxnli\nmgsm\n", csv=True) == "row 1, score: '0.5' was, None is"
    assert differing.unsaid(before, "task,score\nxnli,0.5\n", csv=True) == "2 rows were, 1 are"


def test_what_is_written_again_is_noticed(
    script: Any, sides: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is asked again, an adapter that is trained again, a table that says something else."""
    side = script.Side.__new__(script.Side)
    side.directory = sides[1]
    said = {"evaluate x": "a\nb"}

    def transfix(*arguments: str) -> str:
        if arguments[0] == "evaluate":
            write_predictions(sides[1] / RUN / "predictions" / "xnli" / "deu_Latn.parquet", [1.0, 0.0])
        return "a\nc"

    monkeypatch.setattr(side, "transfix", transfix)
    findings = script.Findings()
    side.go_on(script.Told(printed=said), findings)
    assert [text for _, text in findings.differences] == [
        "transfix evaluate x: 'b' is not there, or not in its place",
        f"{RUN}/predictions/xnli/deu_Latn.parquet: was written again",
    ]
    assert findings.made["kept"] == 4


def test_commands_in_one_interpreter() -> None:
    lines = "".join(json.dumps(arguments) + "\n" for arguments in (["--version"], ["train", "no.yaml"], ["--version"]))
    command = [sys.executable, str(SCRIPTS / "call_commands.py")]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    where, *answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert Path(where).name == "__init__.py"
    assert [answer["status"] for answer in answers] == [0, 2, 0]
    assert answers[0]["out"] == answers[2]["out"]
    assert answers[0]["out"].startswith("transfix ")
    assert "no.yaml" in answers[1]["err"]
