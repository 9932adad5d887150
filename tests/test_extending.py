"""docs/extending.md, followed to the letter: what stands there works as it stands."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
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


SETTINGS, LAYER = (block("python", f"kv_scaling/{file}") for file in ("__init__.py", "layer.py"))
COMMON = """
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from transfix import SoftPrompt, attach, load_adapter, use

place, there = Path(sys.argv[1]), Path(sys.argv[2])
model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
ids = torch.arange(3, 11).expand(3, -1)

def logits(rows):
    with torch.no_grad(), use(model, rows):
        return model(ids).logits
"""


def edited(text: str, *changes: tuple[str, str]) -> str:
    """A text with changes that the page tells in words; each finds its place once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def python(*arguments: object, source: Path = ROOT / "src") -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_method_in_a_script(tiny_model: Path, tmp_path: Path) -> None:
    """And a subclass of a built-in one; each attached, used row by row, saved, and loaded in a new process."""
    settings = edited(
        SETTINGS,
        ("import Layers, LayerShape, Part\n", "import Layers, LayerShape, Part, register\n"),
        ("class KeyValueScaling(", "@register\nclass KeyValueScaling("),
        ('"kv_scaling.layer:KeyValueScalingMethod"', 'f"{__name__}:KeyValueScalingMethod"'),
    )
    layer = edited(LAYER, ("from kv_scaling import KeyValueScaling\n", ""))
    own = """
@register
class OwnPrompt(SoftPrompt):
    label: ClassVar = "Own prompt"
    method: Literal["own_prompt"] = "own_prompt"

if sys.argv[3] == "save":
    for name, part in {"scaled": KeyValueScaling(), "prompted": OwnPrompt(tokens=3)}.items():
        adapter = attach(model, part, name=name)
        with torch.no_grad():
            for tensor in adapter.parameters():
                tensor += torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1))
        adapter.save(there / name)
else:
    for name in ("prompted", "scaled"):
        load_adapter(model, there / name)
torch.save([logits(["scaled", None, "prompted"]), logits([None])], there / f"{sys.argv[3]}.pt")
"""
    (tmp_path / "script.py").write_text(settings + layer + COMMON + own, encoding="utf-8")
    for what in ("save", "load"):
        python(tmp_path / "script.py", tiny_model, tmp_path, what)
    import torch

    saved, base = torch.load(tmp_path / "save.pt")
    loaded, _ = torch.load(tmp_path / "load.pt")
    assert torch.equal(saved, loaded)
    torch.testing.assert_close(saved[1], base[1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(saved[0], base[0], atol=1e-2)
    assert not torch.allclose(saved[2], base[2], atol=1e-2)
    parts = [json.loads((tmp_path / name / "adapter.json").read_text())["parts"] for name in ("scaled", "prompted")]
    assert [[part["method"] for part in entries] for entries in parts] == [["kv_scaling"], ["own_prompt"]]


def test_the_method_in_transfix(tiny_model: Path, tmp_path: Path) -> None:
    """A folder, and two edits of the registry."""
    package, inside = tmp_path / "transfix", "transfix.adapters.methods.kv_scaling"
    left_out = shutil.ignore_patterns("snapshot", "__pycache__")
    shutil.copytree(ROOT / "src" / "transfix", package, ignore=left_out)
    folder = package / "adapters" / "methods" / "kv_scaling"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Scaling of keys and values."""\n')
    settings = edited(
        SETTINGS, ("from transfix.adapters.methods import", "from transfix.adapters.methods.part import")
    ).replace('"kv_scaling.layer:', f'"{inside}.layer:')
    (folder / "config.py").write_text(settings, encoding="utf-8")
    (folder / "layer.py").write_text(edited(LAYER, ("from kv_scaling import", f"from {inside}.config import")))
    registry = package / "adapters" / "methods" / "registry.py"
    changed = edited(
        registry.read_text(encoding="utf-8"),
        (
            "from transfix.adapters.methods.part",
            f"from {inside}.config import KeyValueScaling\nfrom transfix.adapters.methods.part",
        ),
        ("FullFineTuning):\n", "FullFineTuning, KeyValueScaling):\n"),
    )
    registry.write_text(changed, encoding="utf-8")
    code = """
from typer.testing import CliRunner
from transfix.adapters.methods import METHODS
from transfix.cli.app import app

Scaling = METHODS["kv_scaling"]
assert list(METHODS)[-1] == "kv_scaling"
done = CliRunner().invoke(app, ["inspect", str(place), "--json"])
assert done.exit_code == 0, done.output
attach(model, Scaling(layers=2), name="a").save(there / "a")
load_adapter(model, there / "a", name="b")
assert torch.equal(logits(["a"]), logits([None])), "its start values are the base model"
print(done.stdout)
"""
    (tmp_path / "use.py").write_text(COMMON + code, encoding="utf-8")
    found = json.loads(python(tmp_path / "use.py", tiny_model, tmp_path, source=tmp_path))
    assert [(method["name"], method["trainable"]) for method in found["methods"]][-1] == ("kv_scaling L=4", 256)


def test_code_on_the_page_says_its_types() -> None:
    """What is copied passes the checks that transfix's own code passes."""
    functions = [
        (node.name, node.returns, [argument.annotation for argument in node.args.args if argument.arg != "self"])
        for language, text in BLOCKS
        if language == "python"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(functions) >= 6
    assert [name for name, returned, given in functions if returned is None or None in given] == []


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
