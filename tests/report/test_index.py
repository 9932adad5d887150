"""`transfix runs`: the table of all that was measured below a folder, and that what it remembers is never old."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from transfix import report
from transfix.cli.app import app
from transfix.report import index as table
from transfix.report.index import CACHE, index


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["runs", *map(str, arguments)])


@pytest.fixture
def filled(store: Any) -> Path:
    folder: Path = store.three_methods()
    store.run(
        "deeper/hybrid", [{"method": "prefix", "tokens": 5}, {"method": "lora", "rank": 2}], languages=["deu_Latn"]
    )
    return folder


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of this moment are remembered, except where a test says how long they must have settled."""
    monkeypatch.setattr(table, "SETTLED", -3600.0)


def test_rows_are_those_of_the_report(filled: Path) -> None:
    found = index(filled)
    assert len(found.rows) == 3 * 15 + 1
    (xnli,) = report.collect(filled).tasks
    method = next(m for m in xnli.methods if m.label.startswith("LLaMA"))
    row = next(r for r in found.rows if r["method"] == "llama_adapter" and r["lang"] == "swh_Latn")
    entry = method.language("swh_Latn")
    assert entry is not None
    assert (row["score"], [row["low"], row["high"]], row["n"]) == (entry["score"], entry["interval"], entry["n"])
    expected = {
        "run": "llama_adapter-gemma-3-270m-bbbbbbbbbbbb",
        "model": "gemma-3-270m",
        "title": "LLaMA-Adapter",
        "seed": 0,
        "task": "xnli",
        "trained_parameters": 115_272,
        "seconds": 214.6,
        "state": "complete",
        "device": "cpu",
        "transfix": "0.1.0",
        "adapter.tokens": 10,
        "adapter.layers": "all",
        "train.rows": 3000,
        "train.languages": "eng_Latn",
        "asked.split": "test",
    }
    assert {key: row[key] for key in expected} == expected
    hybrid = next(r for r in found.rows if r["folder"] == "deeper/hybrid")
    assert (hybrid["method"], hybrid["adapter.tokens"], hybrid["adapter.lora.rank"]) == ("prefix+lora", 5, 2)
    assert hybrid["state"] == "evaluating"
    assert any("has not finished xnli: 14 languages to go" in note for note in found.notes)
    base = next(r for r in found.rows if r["method"] == "base")
    assert base["trained_parameters"] == 0


def test_second_call_reads_no_predictions(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = index(filled)
    reads: list[Path] = []
    monkeypatch.setattr(table, "read", lambda path: reads.append(path))
    assert index(filled) == first
    assert reads == []


def test_any_change_is_seen(filled: Path, store: Any) -> None:
    index(filled)
    run = filled / "lora-gemma-3-270m-cccccccccccc"

    def rows() -> dict[str, Any]:
        return {r["lang"]: r for r in index(filled).rows if r["run"] == run.name}

    file = run / "predictions" / "xnli" / "deu_Latn.parquet"
    store.predictions(file, store.answers(0.9, 8))
    assert rows()["deu_Latn"]["score"] > 0.8
    same = file.stat()
    store.predictions(file, store.answers(0.1, 8))
    os.utime(file, ns=(same.st_atime_ns, same.st_mtime_ns))  # as `cp --preserve` would: the time says nothing
    assert rows()["deu_Latn"]["score"] < 0.2
    file.unlink()
    assert "deu_Latn" not in rows()
    assert rows()["swh_Latn"]["state"] == "evaluating"
    training = json.loads((run / "training.json").read_text())
    (run / "training.json").write_text(json.dumps(training | {"seconds": 1.5}))
    assert rows()["swh_Latn"]["seconds"] == 1.5
    (run / "spec.yaml").write_text((run / "spec.yaml").read_text().replace("rank: 8", "rank: 9"))
    assert rows()["swh_Latn"]["adapter.rank"] == 9


def test_files_of_this_moment_are_not_remembered(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file written twice within a tick of the disk's clock, to the same size, would look unchanged."""
    monkeypatch.setattr(table, "SETTLED", 3600.0)
    index(filled)
    assert not (filled / CACHE).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 0}', None])
def test_what_is_remembered_may_be_damaged(filled: Path, content: str | None) -> None:
    first = index(filled)
    written = json.loads((filled / CACHE).read_text())
    if content is None:
        for facts in written["runs"].values():
            del facts["spec"]
        content = json.dumps(written)
    (filled / CACHE).write_text(content)
    assert index(filled) == first
    (filled / CACHE).unlink()
    assert index(filled) == first


def test_a_folder_that_cannot_be_written_to(filled: Path) -> None:
    first = index(filled)
    (filled / CACHE).unlink()
    (filled / CACHE).mkdir()  # writing fails for root too
    assert index(filled) == first


def test_torn_and_foreign_folders_are_noted_on_stderr(filled: Path) -> None:
    torn = filled / "lora-gemma-3-270m-cccccccccccc" / "predictions" / "xnli" / "deu_Latn.parquet"
    torn.write_bytes(torn.read_bytes()[:100])
    (filled / "base-gemma-3-270m-aaaaaaaaaaaa" / "spec.yaml").write_text("[")
    (filled / "leftover" / "predictions").mkdir(parents=True)
    for _ in range(2):  # computed, and remembered
        result = call(filled, "--json")
        assert result.exit_code == 2, "as a report's"
        assert f"{torn}: delete it, then run `transfix evaluate {torn.parents[2]}`" in result.stderr
        assert len(json.loads(result.stdout)) == 45
        for words in ("deu_Latn cannot be read", "spec.yaml cannot be read", "leftover is left out"):
            assert result.stderr.count(words) == 1
    assert call(filled, "--csv").exit_code == call(filled).exit_code == 2
    broken = [row for row in json.loads(result.stdout) if row["run"].startswith("base")]
    assert {row["method"] for row in broken} == {None}


def test_json_csv_and_table(filled: Path) -> None:
    where = "task == 'xnli' and lang == 'swh_Latn'"
    rows = json.loads(call(filled, "--where", where, "--sort", "-score", "--json").stdout)
    assert [row["method"] for row in rows] == ["lora", "llama_adapter", "base"]
    text = call(filled, "--where", where, "--sort", "score", "--columns", "method, score,adapter.rank", "--csv").stdout
    lines = list(csv.reader(io.StringIO(text)))
    assert lines[0] == ["method", "score", "adapter.rank"]
    assert [(line[0], float(line[1]), line[2]) for line in lines[1:]] == [
        (row["method"], row["score"], str(row.get("adapter.rank") or "")) for row in reversed(rows)
    ]
    result = call(filled, "--where", where)
    assert "3 of 46 rows" in result.stdout
    assert f"{100 * rows[0]['score']:.1f}" in result.stdout
    assert call(filled, "--where", "lang == 'none'", "--json").stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--json", "--csv"], "only one of them"),
        (["--where", "languag == 'x'"], "did you mean"),
        (["--sort", "scor"], "did you mean score"),
        (["--columns", "run,tsk"], "no column 'tsk'"),
        (["--where", "__import__('os')"], "is not allowed"),
    ],
)
def test_mistakes_end_with_a_message(filled: Path, arguments: list[str], message: str) -> None:
    result = call(filled, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_nothing_there(tmp_path: Path) -> None:
    result = call(tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


def test_fast_the_second_time(filled: Path) -> None:
    index(filled)
    start = time.perf_counter()
    index(filled)
    assert time.perf_counter() - start < 1
