"""Every layout of local files gives the same examples, and nothing of a text is changed."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transfix import data

Triples = list[tuple[str, str, str]]
CLASSES = ["entailment", "neutral", "contradiction"]


def headerless_tsv(rows: Triples) -> bytes:
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def windows_tsv(rows: Triples) -> bytes:
    return b"\xef\xbb\xbf" + headerless_tsv(rows).replace(b"\n", b"\r\n")


def official_tsv(rows: Triples) -> bytes:
    lines = ["language\tgold_label\tsentence1_binary_parse\tsentence1\tsentence2\tpromptID\tpairID"]
    for number, (premise, hypothesis, label) in enumerate(rows):
        for language, mark in (("ar", "ar:"), ("de", ""), ("zh", "zh:")):
            lines.append(f"{language}\t{label}\t( x )\t{mark}{premise}\t{mark}{hypothesis}\t1\t{number}")
    return "\n".join(lines).encode()


def official_jsonl(rows: Triples) -> bytes:
    lines = []
    for language, mark in (("de", ""), ("zh", "zh:")):
        for premise, hypothesis, label in rows:
            row = {"gold_label": label, "sentence1": mark + premise, "sentence2": mark + hypothesis}
            lines.append({**row, "language": language, "annotator_labels": [label]})
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()


def translated_training_tsv(rows: Triples) -> bytes:
    lines = [f"{p}\t{h}\t{label.replace('contradiction', 'contradictory')}" for p, h, label in rows]
    return "\n".join(["premise\thypo\tlabel", *lines]).encode()


def jsonl(rows: Triples) -> bytes:
    names = ("premise", "hypothesis", "label")
    return "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows).encode()


def jsonl_integers(rows: Triples) -> bytes:
    lines = [{"premise": p, "hypothesis": h, "label": CLASSES.index(label)} for p, h, label in rows]
    return "\n".join(map(json.dumps, lines)).encode()


def comma_separated(rows: Triples) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([("premise", "hypothesis", "label"), *rows])
    return text.getvalue().encode()


def parquet(rows: Triples) -> bytes:
    columns = {
        "premise": [row[0] for row in rows],
        "hypothesis": [row[1] for row in rows],
        "label": [CLASSES.index(row[2]) for row in rows],
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


LAYOUTS: list[tuple[Callable[[Triples], bytes], str]] = [
    (headerless_tsv, "tsv without header"),
    (windows_tsv, "tsv without header"),
    (official_tsv, "tsv with header, official"),
    (translated_training_tsv, "tsv with header"),
    (official_jsonl, "jsonl, official"),
    (jsonl, "jsonl"),
    (jsonl_integers, "jsonl"),
    (comma_separated, "csv with header"),
    (parquet, "parquet"),
]


@pytest.mark.parametrize(
    ("write", "layout", "zipped"),
    [(*layout, zipped) for layout in LAYOUTS for zipped in (False, True) if not (zipped and layout[0] is parquet)],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_layouts(tmp_path: Path, rows: Triples, write: Callable[[Triples], bytes], layout: str, zipped: bool) -> None:
    path = tmp_path / "rows"
    path.write_bytes(gzip.compress(write(rows)) if zipped else write(rows))
    read = data.read("xnli", {"files": str(path)}, "deu_Latn", "test")
    assert read.layout.startswith(layout)
    assert read.origin == str(path)
    assert read.dropped == 0
    assert read.examples == [
        data.Example(f"test-{i:05d}", "deu_Latn", {"premise": row[0], "hypothesis": row[1]}, row[2])
        for i, row in enumerate(rows)
    ]


def test_text_is_left_alone(tmp_path: Path) -> None:
    premise, hypothesis = ' "odd\u2028 text\ufffd\x0b ', "\u00e9 e\u0301 'x ,"
    (tmp_path / "x.tsv").write_text(f"{premise}\t{hypothesis}\tneutral\n", encoding="utf-8", newline="")
    (example,) = data.load("xnli", {"files": str(tmp_path / "x.tsv")}, "de", "test")
    assert example.fields == {"premise": premise, "hypothesis": hypothesis}


def test_csv_text_over_lines(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('premise,hypothesis,label\n"a\nb","c ""d""",neutral\n', encoding="utf-8")
    (example,) = data.load("mnli", {"files": str(tmp_path / "x.csv")}, "en", "train")
    assert example.fields == {"premise": "a\nb", "hypothesis": 'c "d"'}


def test_rows_without_gold_label_are_dropped_and_counted(tmp_path: Path) -> None:
    lines = [{"gold_label": label, "sentence1": "a", "sentence2": "b"} for label in ("-", "neutral", "-", "entailment")]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    read = data.read("mnli", {"files": str(path)}, "en", "train")
    assert read.dropped == 2
    assert [example.id for example in read.examples] == ["train-00001", "train-00003"]  # the rows' own numbers
    path.write_text(json.dumps(lines[0]), encoding="utf-8")
    with pytest.raises(data.DataError, match="none of its 1 rows has a gold label"):
        data.load("mnli", {"files": str(path)}, "en", "train")


def test_a_text_inside_parquet_that_is_not_utf8(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"b\xfb"], pa.binary()).view(pa.string())
    table = pa.table({"premise": texts, "hypothesis": ["c", "d"], "label": ["neutral", "neutral"]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(data.DataError, match=r"x\.parquet: a text from row 0 on is not UTF-8 \(invalid start byte\)"):
        data.read("mnli", {"files": str(tmp_path / "x.parquet")}, "en", "train")


def test_a_column_inside_parquet_whose_name_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"premise": ["a"], "hypothesis": ["c"], "label": ["neutral"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"premise", b"pr\xe1mise"))
    with pytest.raises(data.DataError, match=r"x\.parquet: a column's name is not UTF-8"):
        data.read("mnli", {"files": str(path)}, "en", "train")


def test_class_names_inside_parquet(tmp_path: Path) -> None:
    """`datasets` writes a label column's class names into the file: they count, not the usual order."""
    names = ["contradiction", "entailment", "neutral"]
    info = json.dumps({"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}})
    table = pa.table({"premise": ["a"] * 4, "hypothesis": ["b"] * 4, "label": [0, 1, 2, -1]})
    pq.write_table(table.replace_schema_metadata({"huggingface": info}), tmp_path / "x.parquet")
    read = data.read("mnli", {"files": str(tmp_path / "x.parquet")}, "en", "train")
    assert [example.label for example in read.examples] == names
    assert read.dropped == 1


def test_own_columns_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("key,s1,s2,verdict\nk7,a,b,1\nk9,c,d,2\n", encoding="utf-8")
    source = {
        "files": str(path),
        "columns": {"premise": "s1", "hypothesis": "s2", "label": "verdict", "id": "key"},
        "labels": {1: "contradiction", 2: "entailment"},
    }
    examples = data.load("mnli", source, "en", "train")
    assert [(example.id, example.label) for example in examples] == [("k7", "contradiction"), ("k9", "entailment")]


def test_given_labels_replace_the_usual_integers(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"premise": "a", "hypothesis": "b", "label": 0}', encoding="utf-8")
    source = {"files": str(path), "labels": {"1": "entailment", "2": "neutral", "3": "contradiction"}}
    with pytest.raises(data.DataError, match=r"label 0 is not one of the classes"):
        data.load("mnli", source, "en", "train")


def test_pattern_finds_language_and_split(tmp_path: Path, rows: Triples) -> None:
    for name in ("dev-de.tsv", "test-deu_Latn.tsv", "test-zh.tsv"):
        (tmp_path / name).write_bytes(headerless_tsv(rows))
    source = {"files": str(tmp_path / "{split}-{lang}.tsv")}
    assert data.read("xnli", source, "German", "validation").origin.endswith("dev-de.tsv")
    assert data.read("xnli", source, "de", "test").origin.endswith("test-deu_Latn.tsv")
    assert data.load("xnli", source, "zh", "test")[0].language == "zho_Hans"
    with pytest.raises(data.DataError, match=r"no file for swh_Latn \(test\).*test-sw\.tsv.*test-swh_Latn\.tsv"):
        data.load("xnli", source, "sw", "test")


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_limit_takes_the_first_rows(tmp_path: Path, rows: Triples, limit: int) -> None:
    (tmp_path / "x.tsv").write_bytes(headerless_tsv(rows * 4))
    source = {"files": str(tmp_path / "x.tsv")}
    everything = data.load("xnli", source, "de", "test")
    assert data.load("xnli", source, "de", "test", limit) == everything[:limit]


def test_one_file_cannot_be_several_languages(tmp_path: Path, rows: Triples) -> None:
    (tmp_path / "plain.tsv").write_bytes(headerless_tsv(rows))
    (tmp_path / "all.tsv").write_bytes(official_tsv(rows))
    data.check("xnli", {"files": str(tmp_path / "all.tsv")}, ["de", "zh"], "test")
    data.check("xnli", {"files": str(tmp_path / "plain.tsv")}, ["de"], "test")
    with pytest.raises(data.DataError, match="no column says which row is in which language"):
        data.check("xnli", {"files": str(tmp_path / "plain.tsv")}, ["de", "zh"], "test")


def test_a_directory_is_no_file_of_rows(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match=r"is a directory .+ name the one in it that holds the rows"):
        data.load("xnli", {"files": str(tmp_path)}, "de", "test")


def test_check_reports_all_languages_at_once(tmp_path: Path) -> None:
    with pytest.raises(data.DataError) as error:
        data.check("xnli", {"files": str(tmp_path / "{lang}.tsv")}, ["de", "zh", "klingon"], "test")
    assert [problem.where for problem in error.value.problems] == ["de", "zh", "klingon"]


def test_pool_files_in_their_own_layouts(pool: Path) -> None:
    xnli = {
        code: data.load("xnli", {"files": str(pool / "nli/xnli/test-{lang}.tsv")}, code, "test")
        for code in ("deu_Latn", "zho_Hans")
    }
    assert [len(examples) for examples in xnli.values()] == [5010, 5010]
    assert [(row.id, row.label) for row in xnli["deu_Latn"]] == [(row.id, row.label) for row in xnli["zho_Hans"]]
    afrixnli = data.load("afrixnli", {"files": str(pool / "nli/afrixnli/{split}-{lang}.jsonl")}, "sw", "validation")
    assert len(afrixnli) == 450
    mnli = data.load("mnli", {"files": str(pool / "nli/mnli/dev_matched.jsonl")}, "en", "dev_matched")
    assert len(mnli) == 9815
    assert mnli[42].id == "validation_matched-00042"
