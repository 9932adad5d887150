"""Builds the snapshot shipped with transfix from the benchmarks' public files; run by a maintainer, not by users.

    python scripts/build_snapshot.py POOL

POOL holds the files as their authors distribute them: nli/mnli/dev_matched.jsonl, nli/xnli/test-LL.tsv,
nli/afrixnli/test-LLL.jsonl. The same inputs and library versions give the same bytes. Texts are stored unchanged and
once each: a premise shared by several rows is one entry of its column's dictionary.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transfix import languages
from transfix.data import Example, load
from transfix.data.shipped import DIRECTORY, MANIFEST

SEED = 20251024
XNLI_TRIPLES = 500
AFRIXNLI_TRIPLES = 100
TRIPLE = 3
"""XNLI has three hypotheses for each premise, one of each class, on consecutive rows."""


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
    sets = [
        _mnli(pool, output),
        _parallel(
            pool,
            output,
            benchmark="xnli",
            files="nli/xnli/test-{lang}.tsv",
            triples=XNLI_TRIPLES,
            name="XNLI",
            licence="CC BY-NC 4.0 (not for commercial use)",
        ),
        _parallel(
            pool,
            output,
            benchmark="afrixnli",
            files="nli/afrixnli/test-{lang}.jsonl",
            triples=AFRIXNLI_TRIPLES,
            name="AfriXNLI",
            licence="Apache-2.0; the XNLI sentences in it CC BY-NC 4.0 (not for commercial use)",
        ),
    ]
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


def _parallel(
    pool: Path, output: Path, *, benchmark: str, files: str, triples: int, name: str, licence: str
) -> dict[str, Any]:
    """A random sample of whole triples of a parallel test set: the same rows in the same random order everywhere."""
    codes = [language.benchmarks[benchmark] for language in languages.of_benchmark(benchmark)]
    rows = {code: load(benchmark, {"files": str(pool / files)}, code, "test") for code in codes}
    reference = rows[codes[0]]
    _check_parallel(rows, reference)
    order = list(range(len(reference) // TRIPLE))
    random.Random(SEED).shuffle(order)
    chosen = [TRIPLE * triple + i for triple in order[:triples] for i in range(TRIPLE)]
    columns: dict[str, Any] = {
        "row": pa.array(chosen, pa.int32()),
        "label": [reference[index].label for index in chosen],
    }
    for code in codes:
        for field in ("premise", "hypothesis"):
            columns[f"{field}_{code}"] = [rows[code][index].fields[field] for index in chosen]
    file = f"{benchmark}_test.parquet"
    _write(output / file, columns)
    return {
        "benchmark": benchmark,
        "split": "test",
        "file": file,
        "description": (
            f"a random sample of {len(chosen):,} of the {len(reference):,} rows of the {name} test set "
            f"({triples:,} premises with their three hypotheses), the same rows in all {len(codes)} languages"
        ),
        "id_prefix": "test",
        "languages": codes,
        "rows": len(chosen),
        "labels": _balance([reference[index] for index in chosen]),
        "licence": licence,
        "sha256": _sha256(output / file),
        "inputs": {files.format(lang=code): _sha256(pool / files.format(lang=code)) for code in codes},
    }


def _check_parallel(rows: dict[str, list[Example]], reference: list[Example]) -> None:
    for code, examples in rows.items():
        if [(row.id, row.label) for row in examples] != [(row.id, row.label) for row in reference]:
            raise SystemExit(f"{code}: ids or labels are not parallel")
        for start in range(0, len(examples), TRIPLE):
            triple = examples[start : start + TRIPLE]
            premises, labels = {row.fields["premise"] for row in triple}, {row.label for row in triple}
            if len(premises) != 1 or len(labels) != TRIPLE:
                raise SystemExit(f"{code}: rows from {triple[0].id} are not one premise with one row of each class")


def _row_number(row: Example) -> int:
    return int(row.id.rsplit("-", 1)[1])


def _balance(rows: Sequence[Example]) -> dict[str, int]:
    labels = [row.label or "" for row in rows]
    return {label: labels.count(label) for label in sorted(set(labels))}


def _write(path: Path, columns: dict[str, Any]) -> None:
    shared = [name for name in columns if name == "label" or name.startswith("premise_")]
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
