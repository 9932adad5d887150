"""What the README and the docs say of the tree is so."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "transfix"


def named(path: Path) -> set[str]:
    """What a file defines at its top, and `Class.method` of its classes."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        if isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_the_life_of_a_run_names_what_there_is() -> None:
    page = (ROOT / "docs" / "life-of-a-run.md").read_text(encoding="utf-8")
    file, seen = None, 0
    for line in page.partition("```text\n")[2].partition("```")[0].splitlines():
        if found := re.match(r" +([a-z_/]+\.py)? +([A-Za-z_.]+(?:, [A-Za-z_.]+)*)(?:  |$)", line):
            file = SOURCE / found[1] if found[1] else file
            assert file is not None
            missing = set(found[2].split(", ")) - named(file)
            assert not missing, f"{line.strip()}: {file} has no {missing}"
            seen += 1
        else:
            assert not line or line.startswith("transfix "), line
    assert seen > 50


def test_a_method_is_as_long_as_the_readme_says() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    said = re.search(r"A method of your own is (\d+) lines in a package of your own", text)
    files = (ROOT / "tests" / "added_method" / "package" / "kv_scaling").glob("*.py")
    assert said is not None
    assert int(said[1]) == sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def test_the_page_of_trust_says_what_was_measured() -> None:
    page = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "benchmarks" / "results" / "trust.json").read_text(encoding="utf-8"))["judgements"]
    whole, few, _, elsewhere = found
    tables = [(whole, "calibrated"), (whole, "raw"), (few, "calibrated"), (elsewhere, "calibrated")]
    seen = re.findall(r"^\| \*\*(.+?)\*\* \| (.+) \|$", page, re.MULTILINE)
    assert len(seen) == 4 * len(tables)
    for place, (kind, cells) in enumerate(seen):
        setting, form = tables[place // 4]
        facts = found[setting][f"{kind} (the default), {form}"]
        said = [float(cell.replace("−", "-").rstrip(" %")) for cell in cells.split(" | ")]
        measured = [facts[key] for key in ("mean_absolute_error", "bias", "rank_correlation")]
        assert said[:3] == pytest.approx(measured, abs=0.051), (kind, setting)
        assert said[3:] == pytest.approx([100 * facts["coverage"], facts["half_width"]], abs=0.51), (kind, setting)


def test_the_tree_of_the_readme_is_the_tree() -> None:
    """A phrase for every folder, and for every file of `adapters/`; nothing that is not there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("```text\nsrc/transfix/\n")[2].partition("```")[0]
    said: set[Path] = set()
    folders = [SOURCE]
    for line in text.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names, _, phrase = line.strip().partition("  ")
        assert phrase.strip() or "·" in names, line
        del folders[depth:]
        for name in names.split(" · "):
            path = folders[-1] / name
            assert path.exists(), line
            said.add(path)
        folders.append(folders[-1] / names)
    every = {path for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    own = SOURCE / "adapters"
    every |= {
        path for place in (own, own / "methods") for path in place.iterdir() if path.suffix == ".py" or path.is_dir()
    }
    hidden = {path for path in every if path.name.startswith("__")}
    assert every - hidden - said == set()
