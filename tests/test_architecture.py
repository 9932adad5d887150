"""How the house is built: no circles, imports that run downwards, files one can read, one place that knows the methods."""

from __future__ import annotations

import ast
import graphlib
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import grimp
import pytest

import transfix
from transfix.adapters.methods.registry import METHODS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "transfix"
LONGEST = 400
"""Lines of a file."""


def test_it_is_this_checkout_that_is_looked_at() -> None:
    assert Path(transfix.__file__).parent == SOURCE


# ---- circles


def circles(imports: Mapping[str, Set[str]]) -> list[list[str]]:
    """Circles of modules that import each other, until none is left: of each its last import is taken out."""
    left = {module: set(imported) for module, imported in imports.items()}
    found: list[list[str]] = []
    while True:
        try:
            graphlib.TopologicalSorter(left).prepare()
        except graphlib.CycleError as error:
            circle = list(reversed(error.args[1]))  # each imports the next
            left[circle[-2]].remove(circle[-1])
            found.append(circle)
        else:
            return found


def test_circles_are_found() -> None:
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    (found,) = circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert len(found) == 4
    assert found[0] == found[-1]
    assert {("a", "b"), ("b", "c"), ("c", "a")} == set(itertools.pairwise(found))
    assert len(circles({"a": {"b"}, "b": {"a"}, "c": {"d", "a"}, "d": {"c", "b"}})) == 2


def lazily(stub: Path) -> set[str]:
    """What a package hands out when it is asked for it: the modules in its `__init__.pyi`."""
    package = ".".join(stub.parent.relative_to(SOURCE.parent).parts)
    nodes = ast.walk(ast.parse(stub.read_text(encoding="utf-8")))
    return {f"{package}.{node.module}" for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 1}


def test_no_two_files_import_each_other() -> None:
    """In circles of any length; imports inside functions, for type checkers, and of a package's lazy names count."""
    graph = grimp.build_graph("transfix", cache_dir=None, exclude_type_checking_imports=False)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    for stub in SOURCE.rglob("__init__.pyi"):
        imports[".".join(stub.parent.relative_to(SOURCE.parent).parts)] |= lazily(stub)
    assert "transfix.runs.run" in imports["transfix.cli.one_run"]
    assert "transfix.training.trainer" in imports["transfix.training"]
    assert {imported for found in imports.values() for imported in found} <= imports.keys()
    assert [" -> ".join(circle) for circle in circles(imports)] == []


# ---- layers


def lint_imports(source: Path) -> subprocess.CompletedProcess[str]:
    """Checks the contracts of pyproject.toml on the package below `source`."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    options = [str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-c", command, *options],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_run_downwards() -> None:
    done = lint_imports(SOURCE.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_that_do_not_are_refused(tmp_path: Path) -> None:
    package = tmp_path / "transfix"
    shutil.copytree(SOURCE, package, ignore=lambda _, names: [name for name in names if name == "snapshot"])
    upwards = {
        "errors.py": "def f():\n    from transfix.cli import app\n",
        "storage/atomic.py": "if TYPE_CHECKING:\n    from transfix.config import paths\n",
        "adapters/adapter.py": "from transfix.batches import plan\n",
        "languages/table.py": "import torch\n",
        "statistics/bootstrap.py": "import pandas\n",
    }
    for file, line in upwards.items():
        with (package / file).open("a", encoding="utf-8") as opened:
            opened.write(line)
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0 kept" in done.stdout
    for words in ("transfix.errors -> transfix.cli", "transfix.storage.atomic -> transfix.config.paths"):
        assert words in done.stdout


def test_a_new_package_has_to_say_where_it_belongs(tmp_path: Path) -> None:
    package = tmp_path / "transfix"
    shutil.copytree(SOURCE, package, ignore=lambda _, names: [name for name in names if name == "snapshot"])
    (package / "helpers.py").touch()
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "helpers" in done.stdout


# ---- files


def test_no_file_is_longer_than_one_can_read() -> None:
    lengths = {path.relative_to(SOURCE).as_posix(): len(path.read_bytes().splitlines()) for path in python_files()}
    assert {file: lines for file, lines in lengths.items() if lines > LONGEST} == {}


def python_files() -> list[Path]:
    return sorted([*SOURCE.rglob("*.py"), *SOURCE.rglob("*.pyi")])


# ---- methods

WORDS = {"base", "full"}
"""Names of methods that are ordinary words too."""

KNOWING = {
    "__init__.pyi": {
        "Base",
        "FullFineTuning",
        "LlamaAdapter",
        "LoRA",
        "PrefixTuning",
        "SoftPrompt",
        "TaskHead",
    },  # public
    "studies/quickstart.py": {"prefix", "lora", "base"},  # what it trains and shows
    "runs/records.py": {"base"},  # what a run is whose specification names no adapter
    "report/contents.py": {"base", "lora"},  # reports compare methods with the base model and with LoRA
    "report/lines.py": {"base", "lora"},
    "report/grids.py": {"lora"},
    "adapters/attention.py": {"prefix"},  # a keyword of the attention function
}
"""What may be known outside `adapters/methods/`, and where."""

SETTING = {"studies/quickstart.py": {"learning_rate_scale"}}
"""The same of settings that no one but a method has: the quickstart writes two specifications."""

EXAMPLES = ("studies/presets/",)
"""Specifications that ship with transfix: they name methods as a user's do."""


def known_methods(source: str, names: Set[str], classes: Set[str]) -> Iterator[tuple[str, int]]:
    """Methods that a module knows by name or by class, with the line: what would have to change with a new method.

    `base` and `full` count where they are compared with a method, looked up among methods, given as one, or stand in a table
    of methods.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("transfix")):
            yield from ((alias.name, line) for alias in node.names if alias.name in classes)
        elif isinstance(node, ast.Attribute) and node.attr in classes:
            yield node.attr, line
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = re.split(r"[+,|/\s]+", node.value.strip())
            if set(parts) <= names and (len(parts) > 1 or parts[0] not in WORDS):
                yield node.value, line
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(speaks_of_a_method(side) for side in sides):
                yield from ((name, line) for side in sides for name in texts(side) & names & WORDS)
        elif isinstance(node, ast.Subscript) and speaks_of_a_method(node.value):
            yield from ((name, line) for name in texts(node.slice) & names & WORDS)
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and speaks_of_a_method(node.func.value)
        ):
            yield from ((name, line) for given in node.args for name in texts(given) & names & WORDS)
        elif isinstance(node, ast.Match) and speaks_of_a_method(node.subject):
            patterns = [pattern for case in node.cases for pattern in ast.walk(case.pattern)]
            values = [pattern.value for pattern in patterns if isinstance(pattern, ast.MatchValue)]
            yield from ((name, line) for value in values for name in texts(value) & names & WORDS)
        elif isinstance(node, ast.Dict):
            keys = [(texts(key) if key else set(), value) for key, value in zip(node.keys, node.values, strict=True)]
            of_methods = set().union(*(key for key, _ in keys)) & names
            yield from ((name, line) for name in of_methods & WORDS if len(of_methods) > 1)
            given = [value for key, value in keys if key & {"method", "adapter"}]
            yield from ((name, line) for value in given for name in texts(value) & names & WORDS)
        elif isinstance(node, ast.keyword) and node.arg in ("method", "adapter"):
            yield from ((name, node.value.lineno) for name in texts(node.value) & names & WORDS)
        elif isinstance(node, ast.Tuple | ast.List | ast.Set) and len(found := texts(node) & names) > 1:
            yield from ((name, line) for name in found & WORDS)


def texts(node: ast.expr) -> set[str]:
    """A text, or the texts of a tuple, list or set."""
    entries = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return {entry.value for entry in entries if isinstance(entry, ast.Constant) and isinstance(entry.value, str)}


def speaks_of_a_method(node: ast.expr) -> bool:
    return re.search(r"\b(methods?|adapters?)\b", ast.unparse(node), flags=re.IGNORECASE) is not None


def imported_methods(source: str, package: str, folders: Set[str]) -> Iterator[tuple[str, int]]:
    """The folders of methods that a module of `package` imports from, in any way, with the line."""
    inside = "transfix.adapters.methods."
    for node in ast.walk(ast.parse(source)):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(inside):
            found = [node.value.replace(":", ".")]  # what is imported by its name
        names = {name.removeprefix(inside).partition(".")[0] for name in found if name.startswith(inside)}
        yield from ((name, getattr(node, "lineno", 0)) for name in sorted(names & folders))


def known_settings(source: str, settings: Set[str]) -> set[str]:
    """The settings that a module knows by name."""
    strings = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return {value for value in strings if isinstance(value, str)} & settings


NAMES = {name for name, part in METHODS.items() if part.__module__.startswith("transfix.")}
CLASSES = {METHODS[name].__name__ for name in NAMES}
FOLDERS = {METHODS[name].__module__.split(".")[3] for name in NAMES}
OWN_SETTINGS = {
    setting for name in NAMES for setting in METHODS[name].model_fields if "_" in setting and setting != "learning_rate"
}
"""Settings whose names are no ordinary words; the others cannot be told from what else is called so."""


@pytest.mark.parametrize(
    ("source", "known"),
    [
        ("from transfix.adapters.methods import LoRA, Part", {"LoRA"}),
        ("from transfix import SoftPrompt", {"SoftPrompt"}),
        ("from .adapters.methods import Base as Base", {"Base"}),
        ("isinstance(x, methods.PrefixTuning)", {"PrefixTuning"}),
        ('part.method == "lora"', {"lora"}),
        ('kind == "soft_prompt"', {"soft_prompt"}),
        ('name in ("base", "full")', {"base", "full"}),
        ('part.method == "base"', {"base"}),
        ('"full" != part["method"]', {"full"}),
        ('part.get("method") in ("full", None)', {"full"}),
        ('{"base": 1, "lora": 2}', {"base", "lora"}),
        ('{"method": "base"}', {"base"}),
        ('load(adapter="base")', {"base"}),
        ('title = "prefix+lora"', {"prefix+lora"}),
        ('match part.method:\n    case "full":\n        pass', {"full"}),
        ('METHODS["base"]', {"base"}),
        ('METHODS.get("full")', {"full"}),
        ('run.method.startswith("base")', {"base"}),
        ('spec["adapter"] == "base"', {"base"}),
        ('name in "lora, prefix"', {"lora, prefix"}),
        ('data["base"]', set()),
        ('key in ("base", "matrix")', set()),
        ('{"base": {}, "matrix": {}}', set()),
        ('scale == "full"', set()),
        ('"""The base model, with lora or without."""', set()),
        ("def f(prefix, base): return prefix + base", set()),
    ],
)
def test_knowledge_of_methods_is_found(source: str, known: set[str]) -> None:
    assert {name for name, _ in known_methods(source, NAMES, CLASSES)} == known


@pytest.mark.parametrize(
    ("source", "folders"),
    [
        ("import transfix.adapters.methods.lora.layer as other", ["lora"]),
        ("from transfix.adapters.methods.lora.layer import PeftLayers", ["lora"]),
        ("from transfix.adapters.methods.lora import layer", ["lora"]),
        ("from transfix.adapters.methods import lora, part", ["lora"]),
        ("def f():\n    from ..lora.layer import PeftLayers", ["lora"]),
        ("from .. import lora", ["lora"]),
        ("from .layer import FullFineTuningMethod", ["full"]),
        ('implementation = "transfix.adapters.methods.lora.layer:LoRAMethod"', ["lora"]),
        ("from transfix.adapters.methods.part import Part", []),
        ("from transfix.adapters.methods.base import Method", []),
        ("from peft.tuners.lora import LoraLayer", []),
    ],
)
def test_imports_of_methods_are_found(source: str, folders: list[str]) -> None:
    assert [name for name, _ in imported_methods(source, "transfix.adapters.methods.full", FOLDERS)] == folders


def test_only_the_registry_decides_which_methods_there_are() -> None:
    """Everything else asks it: a method is added, or taken away, without a change outside `adapters/methods/`."""
    knowing: dict[str, set[str]] = {}
    lines = []
    for path in python_files():
        file = path.relative_to(SOURCE).as_posix()
        if file.startswith("adapters/methods/"):
            continue
        for name, line in known_methods(path.read_text(encoding="utf-8"), NAMES, CLASSES):
            knowing.setdefault(file, set()).add(name)
            if name not in KNOWING.get(file, ()):
                lines.append(f"{file}:{line}: {name}")
    assert lines == []
    assert knowing == KNOWING, "what need not be allowed any more"


def test_only_a_method_knows_its_settings() -> None:
    found = {}
    for path in python_files():
        file = path.relative_to(SOURCE).as_posix()
        if not file.startswith("adapters/methods/") and (
            known := known_settings(path.read_text(encoding="utf-8"), OWN_SETTINGS)
        ):
            found[file] = known
    assert {"init_text", "gate_learning_rate"} <= OWN_SETTINGS
    assert found == SETTING


def test_nothing_but_python_and_examples_names_a_method() -> None:
    """Templates, task files and tables: what they show of a method they are given."""
    names = "|".join(sorted(NAMES - WORDS))
    quoted = re.compile(rf"[\"'`]({names})[\"'`]|\b(?:method|adapter): *(?:{'|'.join(sorted(NAMES))})\b")
    assert quoted.search("adapter: base")
    assert quoted.search('method === "lora"')
    files = [path for path in SOURCE.rglob("*") if path.suffix in (".js", ".html", ".css", ".yaml")]
    found = {path.relative_to(SOURCE).as_posix() for path in files if quoted.search(path.read_text(encoding="utf-8"))}
    assert found
    assert {file for file in found if not file.startswith(EXAMPLES)} == set()


def test_methods_know_nothing_of_each_other() -> None:
    """By class, by name or by an import; nor does anything else in `adapters/`, but the registry and the package that hands
    the classes out.
    """
    folder = SOURCE / "adapters" / "methods"
    built_in = [METHODS[name] for name in NAMES]
    own = {folder.joinpath(*part.__module__.split(".")[3:-1]): part for part in built_in}
    assert len(own) == len(built_in), "a folder each"
    for path in sorted(folder.parent.rglob("*.py")):
        if path not in (folder / "registry.py", folder / "__init__.py"):
            source, part = path.read_text(encoding="utf-8"), own.get(path.parent)
            classes, names = CLASSES - {part and part.__name__}, NAMES - {part and part.named()}
            package = ".".join(path.parent.relative_to(SOURCE.parent).parts)
            names -= KNOWING.get(path.relative_to(SOURCE).as_posix(), set())
            assert list(known_methods(source, names, classes)) == [], path
            assert list(imported_methods(source, package, FOLDERS - {path.parent.name})) == [], path
