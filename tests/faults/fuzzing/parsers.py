"""The parsers of what users and strangers write, each with a corpus, a way to change it, and what it must keep to.

Of every input: the parser takes it, or raises a `TransfixError` whose message can be read.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import tiny
from tests.faults.fuzzing.mutation import VALUES, WORDS, changed, grafted, joined

from transfix.errors import TransfixError

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "src" / "transfix"


class WrongError(AssertionError):
    """A parser took an input and made something else of it."""


@dataclass(frozen=True)
class Parser:
    """A parser under test.

    Attributes:
        name: what is parsed.
        make: an input, drawn.
        parse: gives it to the parser; the path is of a folder for files.
        share: of all inputs.
        batch: inputs a child is given.
    """

    name: str
    make: Callable[[random.Random], Any]
    parse: Callable[[Any, Path], object]
    share: float
    batch: int = 2000
    seeds: Sequence[Any] = field(default=())


def all_parsers(home: Path) -> dict[str, Parser]:
    """Every parser. `home` is an empty folder for what must lie on disk."""
    made = (
        _specification(),
        _study(),
        _task(),
        _templates(),
        _rows(home),
        _predicted(),
        _adapter(home),
        _set(),
        _where(),
    )
    assert abs(sum(parser.share for parser in made) - 1) < 1e-9
    return {parser.name: parser for parser in made}


# ---- files of settings


def _fenced(page: str) -> list[bytes]:
    """The YAML in a page of the docs."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [found.encode() for found in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def _files(*patterns: str) -> list[bytes]:
    return [path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def _settings(seeds: list[bytes]) -> Callable[[random.Random], bytes]:
    """Files of settings: changed in their bytes, or in what they say."""
    import yaml

    from transfix.config import yaml_dialect

    trees = []
    for seed in seeds:
        value, _ = yaml_dialect.parse(seed.decode(), "a seed")
        trees.append(value)

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.4:
            return changed(draw.choice(seeds), seeds, draw)
        tree = grafted(draw.choice(trees), trees, draw)
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")

    return make


def _written(content: bytes, home: Path, name: str) -> Path:
    path = home / name
    path.write_bytes(content)
    return path


def _specification() -> Parser:
    from transfix.runs.specification import RunSpec

    seeds = _files("examples/*.yaml") + [seed for seed in _fenced("specification.md") if seed.startswith(b"model:")]

    def parse(content: bytes, home: Path) -> None:
        spec = RunSpec.load(_written(content, home, "spec.yaml"))
        try:
            again = RunSpec.load(_written(spec.to_yaml().encode(), home, "again.yaml"))
        except TransfixError as error:
            raise WrongError(f"what is written of it is refused: {error}") from error
        if again != spec or again.name != spec.name:
            raise WrongError("what is written of it is read as another specification")

    return Parser("specification", _settings(seeds), parse, 0.02, 250, seeds)


def _study() -> Parser:
    from transfix.studies.expansion import expand, runs
    from transfix.studies.specification import StudySpec

    seeds = _files("src/transfix/studies/presets/*.yaml") + [
        seed for seed in _fenced("studies.md") if seed.startswith((b"name:", b"base:"))
    ]

    def parse(content: bytes, home: Path) -> None:
        study = StudySpec.load(_written(content, home, "study.yaml"))
        runs(study, expand(study))

    return Parser("study", _settings(seeds), parse, 0.01, 100, seeds)


def _task() -> Parser:
    from transfix import tasks

    seeds = _files("src/transfix/tasks/builtin/*.yaml") + [s for s in _fenced("tasks.md") if s.startswith(b"name:")]

    def parse(content: bytes, home: Path) -> None:
        tasks._from_file.cache_clear()
        tasks.get(str(_written(content, home, "task.yaml")))

    return Parser("task", _settings(seeds), parse, 0.01, 200, seeds)


# ---- texts


def _templates() -> Parser:
    from transfix import tasks
    from transfix.tasks import templates

    fields = ("premise", "hypothesis", "option_a")
    texts = [text for name in tasks.names() for text in tasks.get(name).prompt_template.prompt.values()]
    seeds = [text.encode() for text in dict.fromkeys(texts)]
    parts = (
        *(
            "{{premise}}",
            "{{ hypothesis }}",
            "{{option_a | default('x')}}",
            "{{premise|trim|upper}}",
            "{% if option_a %}",
        ),
        *("{% endif %}", "{% else %}", "{% for x in premise %}", "{{premise.x}}", "{{premise()}}", "{{premise[0]}}"),
        *("{{1+1}}", "{# c #}", "{% raw %}", "{{'a' 'b'}}", "{{premise if option_a else 'b'}}", "{{ premise == 'x' }}"),
        *(
            "{%- if premise in 'ab' -%}",
            "{% set x = 1 %}",
            "{{ not premise }}",
            "text",
            "\n",
            "{{9e9}}",
            "{{premise is defined}}",
        ),
    )

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.6:
            return joined(parts, draw, lambda: draw.choice((" ", "", "\n", draw.choice(WORDS)[:40]))).encode(
                "utf-8", "surrogatepass"
            )
        return changed(draw.choice(seeds), seeds, draw)

    def parse(content: bytes, home: Path) -> None:
        text = content.decode("utf-8", "surrogateescape")
        if templates.problems(text, fields):
            return
        names = {"premise": "A <b>", "hypothesis": "{{x}}", "option_a": ""}
        if not templates.names(text) <= names.keys():
            raise WrongError("it takes names that it was not given")
        shown = templates.render(text, names)
        if "{{x}}" not in shown and "{{hypothesis}}" in text and "{%" not in text and "{#" not in text:
            raise WrongError("a row's text is not what is rendered")

    return Parser("template", make, parse, 0.22, 5000, seeds)


def _set() -> Parser:
    from transfix.config import paths, yaml_dialect
    from transfix.runs.specification import RunSpec

    value, _ = yaml_dialect.read(ROOT / "examples" / "xnli.yaml")
    assert isinstance(value, Mapping)
    names = (
        *("train.rows", "adapter.0.tokens", "adapter[0].method", "evaluate[0].languages", "evaluate.0.limit", "seed"),
        *(
            "train",
            "adapter",
            "model",
            "dtype",
            "train.data.files",
            "evaluate.languages",
            "x.y.z",
            "adapter.²",
            "a[0][0]",
        ),
        *("train.rows.x", "adapter.-1", "adapter.99999999999999999999", "", ".", "..", "[0]"),
    )
    values = (
        "1",
        "0.5",
        "all",
        "[de, sw]",
        "{a: 1}",
        "null",
        "'",
        "[",
        "{",
        "&a [*a]",
        "1e9",
        "snapshot",
        "lora",
        "!!x 1",
    )

    def make(draw: random.Random) -> str:
        text = f"{draw.choice(names)}={draw.choice((*values, *WORDS))}"
        if draw.random() < 0.5:
            text = changed(text.encode("utf-8", "surrogatepass"), (), draw).decode("utf-8", "surrogateescape")
        return text

    def parse(setting: str, home: Path) -> None:
        problems: list[Any] = []
        data = json.loads(json.dumps(value))
        paths.override(data, setting, problems)
        if hash(setting) % 16 == 0:
            RunSpec.load(value, [setting])

    return Parser("--set", make, parse, 0.22, 5000)


def _where() -> Parser:
    from transfix.report import where

    rows = [{"task": "xnli", "lang": "deu_Latn", "score": 0.5, "seed": 0, "adapter.0.rank": None, "layers": "all"}]
    columns = tuple(rows[0])
    parts = (
        *(
            *columns,
            "nolang",
            "'de'",
            "'xnli'",
            "0.4",
            "1",
            "None",
            "True",
            "==",
            "!=",
            "<",
            ">=",
            "in",
            "not in",
            "and",
        ),
        *("or", "not", "(", ")", "('de', 'sw')", "[1]", "{1}", "+", "lambda x: x", "f'{task}'", "task.upper()", "x[0]"),
        *("-1", "b'x'", "...", "1j", "task == 'xnli'", "lang in ('de',)", "0 < score < 1", "*", "if", "else", ":="),
    )

    def make(draw: random.Random) -> str:
        text = " ".join(draw.choices(parts, k=draw.randrange(1, 12)))
        if draw.random() < 0.4:
            text = changed(text.encode(), (), draw).decode("utf-8", "surrogateescape")
        return text

    def parse(condition: str, home: Path) -> None:
        found = where.select(rows, condition, columns)
        if any(row is not rows[0] for row in found):
            raise WrongError("rows that it was not given")

    return Parser("--where", make, parse, 0.4, 20000)


# ---- rows


def _rows(home: Path) -> Parser:
    from transfix import data

    names = {"xnli": "test", "belebele": "test", "mgsm": "test", "xquad": "validation"}
    seeds: list[tuple[str, str, str, bytes]] = []
    for name, split in names.items():
        rows = data.load(name, "snapshot", "deu_Latn", split, 3)
        plain = [{"id": row.id, **row.fields, "label": _plain(row.label), "language": "de"} for row in rows]
        for kind, content in _layouts(plain, home).items():
            seeds.append((name, split, kind, content))

    def make(draw: random.Random) -> tuple[str, str, str, bytes]:
        name, split, kind, content = draw.choice(seeds)
        if kind.endswith(".gz") and draw.random() < 0.7:
            content = gzip.compress(changed(gzip.decompress(content), (), draw), 1)
        else:
            content = changed(content, [seed[3] for seed in seeds[:8]], draw)
        return name, split, draw.choice((kind, kind, kind, "rows.txt", "rows.tsv", "rows.json")), content

    def parse(made: tuple[str, str, str, bytes], home: Path) -> None:
        name, split, kind, content = made
        path = _written(content, home, kind)
        found = data.read(name, {"files": str(path)}, "deu_Latn", split, None, "skip" if len(content) % 2 else "error")
        if any(not isinstance(text, str) for row in found.examples for text in row.fields.values()):
            raise WrongError("a field that is no text")

    return Parser("rows", make, parse, 0.07, 500)


def _plain(label: object) -> object:
    return list(label) if isinstance(label, tuple | list) else label


def _layouts(rows: list[dict[str, Any]], home: Path) -> dict[str, bytes]:
    """The same rows in every form that is read."""
    import pandas as pd

    frame = pd.DataFrame(rows)
    frame.to_parquet(home / "rows.parquet")
    lines = "\n".join(json.dumps(row, ensure_ascii=False, default=str) for row in rows).encode()
    return {
        "rows.csv": frame.to_csv(index=False).encode(),
        "rows.tsv": frame.to_csv(index=False, sep="\t").encode(),
        "rows.jsonl": lines,
        "rows.json": json.dumps(rows, ensure_ascii=False, default=str).encode(),
        "rows.parquet": (home / "rows.parquet").read_bytes(),
        "rows.jsonl.gz": gzip.compress(lines),
    }


def _predicted() -> Parser:
    from transfix.data.unlabelled import read_unlabelled

    seeds = [
        b'{"premise": "a", "hypothesis": "b", "id": "1", "x": [1, 2]}\n{"premise": "c", "hypothesis": "d"}\n',
        b'{"premise": "\\u00e4\\ud83d\\ude00", "hypothesis": "b", "label": "neutral", "language": "de"}\n',
    ]

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.3:
            row = {"premise": "a", "hypothesis": "b", draw.choice(WORDS): draw.choice(VALUES)}
            return json.dumps(row).encode()
        return changed(draw.choice(seeds), seeds, draw)

    def parse(content: bytes, home: Path) -> None:
        read_unlabelled(_written(content, home, "ask.jsonl"), ("premise", "hypothesis"))

    return Parser("rows to predict", make, parse, 0.03, 1000, seeds)


# ---- adapters


def _adapter(home: Path) -> Parser:
    from transformers import AutoModelForCausalLM

    from transfix import LoRA, adapters
    from transfix.adapters import files
    from transfix.storage import checksums

    model = AutoModelForCausalLM.from_pretrained(tiny.save(home / "model"))
    adapter = adapters.attach(model, LoRA(rank=2))
    adapter.save(home / "adapter")
    record = json.loads((home / "adapter" / "adapter.json").read_text())
    tensors = (home / "adapter" / "adapter.safetensors").read_bytes()
    expected = {name: tensor.clone() for name, tensor in files.read_whole(home / "adapter").items()}
    size = 8 + int.from_bytes(tensors[:8], "little")

    def make(draw: random.Random) -> tuple[bytes, bytes]:
        written = json.dumps(record, indent=2).encode()
        match draw.randrange(4):
            case 0:  # damaged
                return changed(written, (), draw), tensors
            case 1:
                return written, changed(tensors, (), draw)
            case 2:  # of a stranger, with a checksum that fits
                tree = grafted({key: value for key, value in record.items() if key != "checksum"}, [record], draw)
                try:
                    return json.dumps(checksums.sealed(tree) if isinstance(tree, dict) else tree).encode(), tensors
                except (TypeError, ValueError, AttributeError):
                    return json.dumps(tree).encode(), tensors
            case _:  # a header that says something else
                return written, changed(tensors[:size], (), draw) + tensors[size:]

    def parse(made: tuple[bytes, bytes], home: Path) -> None:
        directory = home / "read"
        directory.mkdir(exist_ok=True)
        (directory / "adapter.json").write_bytes(made[0])
        (directory / "adapter.safetensors").write_bytes(made[1])
        found = files.read_whole(directory)
        if made[1] != tensors and not _equal(found, expected):
            raise WrongError("other tensors than were saved")

    return Parser("adapter", make, parse, 0.02, 500)


def _equal(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return found.keys() == expected.keys() and all(bool((found[name] == expected[name]).all()) for name in expected)
