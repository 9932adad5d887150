"""Builds the snapshot shipped with transfix from the benchmarks' public files; run by a maintainer, not by users.

    python scripts/build_snapshot.py POOL

POOL holds the files as their authors distribute them; the patterns of their paths stand below. The same inputs and
library versions give the same bytes. Texts are stored as they are read, and once each: a premise, context or passage
shared by several rows is one entry of its column's dictionary. `transfix.data.shipped.Shipped` says which columns a file
has.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transfix.data import Example, benchmarks, load
from transfix.data.shipped import DIRECTORY, MANIFEST

SEED = 20251024
POOLED = None


@dataclass(frozen=True)
class Source:
    """A set to be shipped.

    Attributes:
        benchmark, split: what it is loaded and served as.
        pattern: its files under the pool.
        what: the set in words, for its description; `{rows}` is the number of rows that are stored.
        licence: its terms.
        languages: FLORES-style codes, all of the benchmark if empty; `POOLED` is those whose files the pool has.
        group: the field whose value rows have in common that stay together when the set is shuffled (`id` keeps each
            alone); without it the order is the file's.
        rows: about how many to store, the last group whole; all if `None`.
    """

    benchmark: str
    split: str
    pattern: str
    what: str
    licence: str
    languages: Sequence[str] | None = ()
    group: str | None = None
    rows: int | None = None


SOURCES = (
    Source(
        "xnli",
        "test",
        "nli/xnli/test-{lang}.tsv",
        "a random sample of {rows} of the 5,010 rows of the XNLI test set (500 premises with their three hypotheses), "
        "the same rows in all 15 languages",
        "CC BY-NC 4.0 (not for commercial use)",
        group="premise",
        rows=1500,
    ),
    Source(
        "afrixnli",
        "test",
        "nli/afrixnli/test-{lang}.jsonl",
        "a random sample of {rows} of the 600 rows of the AfriXNLI test set (100 premises with their three "
        "hypotheses), the same rows in all 18 languages",
        "Apache-2.0; the XNLI sentences in it CC BY-NC 4.0 (not for commercial use)",
        group="premise",
        rows=300,
    ),
    Source(
        "squadshifts",
        "train",
        "qa/squadshifts/{split}_v1.0.json",
        "SQuADShifts New Wikipedia, complete ({rows} questions), as English training set",
        "CC BY 4.0; passages from Wikipedia CC BY-SA",
    ),
    Source(
        "tydiqa",
        "train",
        "qa/tydiqa_goldp/{split}-{lang}.json",
        "a random sample of {rows} questions of the English part of the TyDiQA-GoldP training set",
        "Apache-2.0; passages from Wikipedia CC BY-SA",
        languages=("eng_Latn",),
        group="id",
        rows=2000,
    ),
    Source(
        "xquad",
        "validation",
        "qa/xquad/xquad.{lang}.json",
        "XQuAD, complete ({rows} questions), the same questions in all 12 languages, paragraphs in random order",
        "CC BY-SA 4.0",
        group="context",
    ),
    Source(
        "gsm8k",
        "train",
        "math/gsm8k/{split}.jsonl",
        "the GSM8K training set, complete ({rows} problems), without calculator annotations",
        "MIT",
    ),
    Source(
        "mgsm",
        "train",
        "math/mgsm/exemplars.json",
        "the {rows} exemplars of MGSM in each of its 11 languages, with their reasoning",
        "CC BY-SA 4.0",
    ),
    Source(
        "mgsm",
        "test",
        "math/mgsm/mgsm_{lang}.tsv",
        "the MGSM test set, complete ({rows} problems), the same in all 11 languages",
        "CC BY-SA 4.0",
    ),
    Source(
        "belebele",
        "test",
        "choice/belebele/{lang}.jsonl",
        "a random sample of {rows} of the 900 questions of Belebele, by passage, the same in all 12 languages here",
        "CC BY-SA 4.0",
        languages=POOLED,
        group="passage",
        rows=600,
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the snapshot directory: parquet files and their manifest (the licence texts are kept by hand)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path, help="directory of the benchmark files")
    parser.add_argument("--output", type=Path, default=DIRECTORY, help="snapshot directory (default: in the package)")
    options = parser.parse_args(arguments)
    build(options.pool, options.output)


def build(pool: Path, output: Path) -> None:
    """Build all sets of the snapshot from the files under `pool` into `output`."""
    output.mkdir(parents=True, exist_ok=True)
    sets = [_mnli(pool, output), *(_set(pool, output, source) for source in SOURCES), *_flores(pool, output)]
    manifest = {
        "built_by": "scripts/build_snapshot.py",
        "seed": SEED,
        "versions": {"python": platform.python_version(), "pyarrow": pa.__version__},
        "sets": sets,
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=1)
    (output / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _mnli(pool: Path, output: Path) -> dict[str, Any]:
    file = "nli/mnli/dev_matched.jsonl"
    rows = load("mnli", {"files": str(pool / file)}, "eng_Latn", "validation_matched")
    columns = {
        "row": pa.array([_row_number(row) for row in rows], pa.int32()),
        "label": [row.label for row in rows],
        "premise_eng_Latn": [row.fields["premise"] for row in rows],
        "hypothesis_eng_Latn": [row.fields["hypothesis"] for row in rows],
    }
    _write(output / "mnli_dev_matched.parquet", columns)
    return {
        "benchmark": "mnli",
        "split": "train",
        "file": "mnli_dev_matched.parquet",
        "description": f"the MultiNLI matched development set, complete ({len(rows):,} rows), as English training set",
        "id_prefix": "validation_matched",
        "languages": ["eng_Latn"],
        "rows": len(rows),
        "labels": _balance(rows),
        "licence": "OANC; fiction CC BY 3.0 and CC BY-SA 3.0",
        "sha256": _sha256(output / "mnli_dev_matched.parquet"),
        "inputs": {file: _sha256(pool / file)},
    }


def _set(pool: Path, output: Path, source: Source) -> dict[str, Any]:
    """Writes a set: plain columns if it is in one language, else a column a language for what differs by language."""
    benchmark = benchmarks.get(source.benchmark)
    pattern = source.pattern.replace("{split}", benchmark.split_names(source.split)[-1])
    paths = _paths(pool, pattern, benchmark, source.languages)
    rows = {code: load(benchmark, {"files": str(pool / path)}, code, source.split) for code, path in paths.items()}
    reference, *_ = rows.values()
    is_shared = benchmark.reference != "texts"  # the reference answers are the same in all languages
    for code, found in rows.items():
        if _references(found, is_shared) != _references(reference, is_shared):
            raise SystemExit(f"{benchmark.name} {code}: ids or labels are not parallel")
    chosen = _chosen(reference, source.group, source.rows)
    columns = _ids(reference, chosen)
    if is_shared:
        columns["label"] = [row.label for row in chosen]
    for code, found in rows.items():
        by_id = {row.id: row for row in found}
        there = [by_id[row.id] for row in chosen]
        suffix = f"_{benchmark.own_code(code)}" if len(rows) > 1 else ""
        for field in (*benchmark.fields, *benchmark.optional):
            if any(field in row.fields for row in there):
                columns[f"{field}{suffix}"] = [row.fields.get(field) for row in there]
        if not is_shared:
            columns[f"answers{suffix}"] = [list(row.answers) for row in there]
    entry = {
        "benchmark": source.benchmark,
        "split": source.split,
        "file": f"{source.benchmark}_{source.split}.parquet",
        "description": source.what.format(rows=f"{len(chosen):,}"),
        "id_prefix": source.split,
        "languages": [benchmark.own_code(code) for code in rows],
        "rows": len(chosen),
        "labels": _balance(chosen) if benchmark.reference == "class" else {},
        "licence": source.licence,
    }
    return _stored(pool, output, entry, columns, list(paths.values()))


def _flores(pool: Path, output: Path) -> list[dict[str, Any]]:
    """Writes FLORES-200's devtest once for both directions: the English texts, and those of each other language."""
    benchmark = benchmarks.get("flores_from_english")
    pattern = "parallel/flores200_devtest/{lang}.devtest"
    paths = _paths(pool, pattern, benchmark, POOLED)
    rows = {code: load(benchmark, {"files": str(pool / pattern)}, code, "devtest") for code in paths}
    reference, *_ = rows.values()
    chosen = _chosen(reference, "id", None)
    columns = {**_ids(reference, chosen), "text_eng_Latn": [row.fields["source"] for row in chosen]}
    for code, found in rows.items():
        columns[f"text_{code}"] = [found[_row_number(row)].label for row in chosen]
    entries = [
        {
            "benchmark": f"flores_{direction}",
            "split": "devtest",
            "file": "flores_devtest.parquet",
            "description": (
                f"the FLORES-200 devtest set, complete ({len(chosen):,} sentences), English and {len(paths)} other "
                "languages, in random order"
            ),
            "id_prefix": "devtest",
            "languages": list(paths),
            "rows": len(chosen),
            "labels": {},
            "licence": "CC BY-SA 4.0",
        }
        for direction in ("from_english", "to_english")
    ]
    inputs = [pattern.format(lang="eng_Latn"), *paths.values()]
    return [_stored(pool, output, entry, columns, inputs) for entry in entries]


def _paths(pool: Path, pattern: str, benchmark: benchmarks.Benchmark, codes: Sequence[str] | None) -> dict[str, str]:
    """Language -> its file under the pool, by whichever of its codes the file's name has."""
    found = {}
    for code in codes or benchmark.languages:
        tried = [pattern.replace("{lang}", own) for own in benchmark.codes(code)]
        path = next((path for path in tried if (pool / path).is_file()), None)
        if path is not None:
            found[code] = path
        elif codes is not POOLED:
            raise SystemExit(f"{benchmark.name} {code}: none of {', '.join(tried)} is in {pool}")
    return found


def _references(rows: Sequence[Example], is_shared: bool) -> list[tuple[str, str | None]]:
    return sorted((row.id, row.label if is_shared else None) for row in rows)


def _stored(
    pool: Path, output: Path, entry: dict[str, Any], columns: dict[str, Any], inputs: Sequence[str]
) -> dict[str, Any]:
    """Writes the file of a manifest entry, and completes the entry."""
    _write(output / entry["file"], columns)
    digests = {path: _sha256(pool / path) for path in dict.fromkeys(inputs)}
    return {**entry, "sha256": _sha256(output / entry["file"]), "inputs": digests}


def _chosen(rows: Sequence[Example], group: str | None, wanted: int | None) -> list[Example]:
    """All rows in their order, or whole groups of them in random order until there are `wanted`."""
    if group is None:
        return list(rows)
    groups: dict[Hashable, list[Example]] = {}
    for row in rows:
        groups.setdefault(row.id if group == "id" else row.fields[group], []).append(row)
    order = list(groups.values())
    random.Random(SEED).shuffle(order)
    found: list[Example] = []
    for members in order:
        if wanted is not None and len(found) >= wanted:
            break
        found += members
    return found


def _ids(rows: Sequence[Example], chosen: Sequence[Example]) -> dict[str, Any]:
    """The column of ids: row numbers where ids are made of them, else the benchmark's own."""
    if all(row.id.endswith(f"-{number:05d}") for number, row in enumerate(rows)):
        return {"row": pa.array([_row_number(row) for row in chosen], pa.int32())}
    return {"id": [row.id for row in chosen]}


def _row_number(row: Example) -> int:
    return int(row.id.rsplit("-", 1)[1])


def _balance(rows: Sequence[Example]) -> dict[str, int]:
    labels = [row.label or "" for row in rows]
    return {label: labels.count(label) for label in sorted(set(labels))}


def _write(path: Path, columns: dict[str, Any]) -> None:
    repeated = ("label", "premise", "context", "passage")
    shared = [name for name in columns if name.split("_")[0] in repeated]
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 22,
        "use_dictionary": shared,
        "dictionary_pagesize_limit": 1 << 24,  # one dictionary and one page a column: zstd sees the column as a whole
        "data_page_size": 1 << 24,
        "write_statistics": False,
        "store_schema": False,
    }
    pq.write_table(pa.table(columns), path, **options)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
