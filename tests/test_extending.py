"""docs/extending.md, followed to the letter: what stands there works as it stands."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from transfix import languages
from transfix.languages import lookup, table

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def block(kind: str, first: str) -> str:
    """The code on the page whose first line names the file `first`, that line left out."""
    (found,) = [text for language, text in BLOCKS if language == kind and text.startswith(f"# {first}")]
    return found.partition("\n")[2]


@pytest.mark.parametrize("file", ["__init__.py", "layer.py"])
def test_the_method_is_the_one_that_is_tested(file: str) -> None:
    package = ROOT / "tests" / "added_method" / "package"
    assert block("python", f"kv_scaling/{file}") == (package / "kv_scaling" / file).read_text(encoding="utf-8")
    (point,) = [text for language, text in BLOCKS if language == "toml"]
    section, line = point.splitlines()
    name, _, value = line.partition(" = ")
    found = (package / "kv_scaling-0.1.dist-info" / "entry_points.txt").read_text(encoding="utf-8").splitlines()
    assert section == '[project.entry-points."transfix.methods"]'
    assert found == ["[transfix.methods]", f"{name} = {json.loads(value)}"]


def test_the_task_is_checked(tmp_path: Path) -> None:
    from transfix.cli import app

    (tmp_path / "task.yaml").write_text(block("yaml", "tickets/task.yaml"), encoding="utf-8")
    rows = "text,topic\n{},billing\n{},delivery\n"
    for name, texts in {
        "train": ("Charged twice", "Where is it?"),
        "test-en": ("Too much", "Not here yet"),
        "test-de": ("Zu viel", "Nicht da"),
    }.items():
        (tmp_path / f"{name}.csv").write_text(rows.format(*texts), encoding="utf-8")
    done = CliRunner().invoke(app, ["task", "check", str(tmp_path / "task.yaml"), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["task"], found["problems"]) == ("tickets", [])
    assert [(part["purpose"], part["code"], part["rows"]) for part in found["parts"]] == [
        ("train", "eng_Latn", 2),
        ("test", "eng_Latn", 2),
        ("test", "deu_Latn", 2),
    ]
    assert found["parts"][2]["prompts"][0] == ["Zu viel\nTopic:", " billing"]


@pytest.fixture
def _one_more_row(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    read = Path.read_text

    def with_the_row(path: Path, *args: str, **settings: str) -> str:
        text = read(path, *args, **settings)
        return text + block("text", "languages.tsv") if path.name == "languages.tsv" else text

    caches = (table.languages, lookup.index)
    monkeypatch.setattr(Path, "read_text", with_the_row)
    for cache in caches:
        cache.cache_clear()
    yield
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("_one_more_row")
def test_the_language_is_known_by_every_name() -> None:
    found = languages.get("toki pona")
    assert (found.code, found.family, found.direction) == ("tok_Latn", "Constructed language", "ltr")
    assert languages.get("tok") is languages.get("tok-Latn") is languages.get("toki") is found
    assert found in languages.all()


def test_the_command_is_listed_and_answers(tmp_path: Path) -> None:
    file = tmp_path / "hello.py"
    file.write_text(block("python", "src/transfix/cli/hello.py"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("hello", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = typer.Typer()
    app.command()(module.hello)
    app.command()(lambda: None)  # with two commands their names are needed, as in transfix
    assert CliRunner().invoke(app, ["hello", "sw"]).stdout == "Kiswahili\n"
    refused = CliRunner().invoke(app, ["hello", "klingonese"])
    assert refused.exit_code == 2
    assert "unknown language" in refused.output
    listing = (ROOT / "src" / "transfix" / "cli" / "app.py").read_text(encoding="utf-8")
    assert re.search(r"for command in \(.*?\n\):\n    app\.command\(\)\(command\)", listing, flags=re.DOTALL)


def test_the_metric_is_what_it_says() -> None:
    """`tests/report/test_further.py` follows one from its registration to the page."""
    spaces: dict[str, Any] = {}
    exec(block("python", "src/transfix/statistics/metrics/balanced_accuracy.py"), spaces)
    metric = spaces["BALANCED_ACCURACY"]
    columns = {"gold": list("aaab"), "answer": list("aacb")}
    counts = metric.count(columns, {"classes": ["a", "b", "c"]}).values
    assert metric.of_sums(counts.sum(axis=0)) == pytest.approx((2 / 3 + 1) / 2)  # no row is of class c
    several = np.stack([counts[[0, 1]].sum(axis=0), counts[[2, 3]].sum(axis=0)])
    assert metric.of_sums(several).tolist() == pytest.approx([1.0, 0.5])
