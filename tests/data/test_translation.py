"""Translation: line-parallel files in both directions, and the hub's layouts of sentence pairs."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import datasets
import pytest

from transfix import data

ENGLISH = ["The cat.", "The dog."]
GERMAN = ["Die Katze.", "Der Hund."]


def write(
    directory: Path, german: str = "\r\n".join(GERMAN) + "\r\n", english: str = "\n".join(ENGLISH)
) -> dict[str, str]:
    (directory / "deu_Latn.devtest").write_text(german, encoding="utf-8", newline="")
    (directory / "eng_Latn.devtest").write_text(english, encoding="utf-8", newline="")
    return {"files": str(directory / "{lang}.{split}")}


def from_english(split: str = "devtest") -> list[data.Example]:
    fields = [{"source": text, "source_language": "English", "target_language": "German"} for text in ENGLISH]
    return [
        data.Example(f"{split}-{i:05d}", "deu_Latn", each, GERMAN[i], (GERMAN[i],)) for i, each in enumerate(fields)
    ]


def test_both_directions(tmp_path: Path) -> None:
    source = write(tmp_path)
    assert data.load("flores_from_english", source, "de", "devtest") == from_english()
    backwards = data.load("flores_to_english", source, "de", "test")
    assert backwards[1].fields == {"source": "Der Hund.", "source_language": "German", "target_language": "English"}
    assert (backwards[1].label, backwards[1].answers) == ("The dog.", ("The dog.",))
    assert backwards[1].id == "devtest-00001"
    assert data.load("flores_from_english", source, "de", "devtest", limit=1) == from_english()[:1]


def test_ntrex_names(tmp_path: Path) -> None:
    (tmp_path / "eng.txt").write_bytes(gzip.compress("\n".join(ENGLISH).encode()))
    (tmp_path / "zho-TW.txt").write_text("貓。\n狗。\n", encoding="utf-8")
    source = {"files": str(tmp_path / "{lang}.txt")}
    rows = data.read("ntrex_from_english", source, "zho_Hant", "test")
    assert [row.label for row in rows.examples] == ["貓。", "狗。"]
    assert rows.layout == "lines, paired with those of eng.txt"
    assert rows.examples[0].fields["target_language"] == "Chinese (Traditional)"
    data.check("ntrex_from_english", source, ["zh-TW"], "test")
    with pytest.raises(data.DataError, match=r"deu\.txt"):
        data.check("ntrex_from_english", source, ["zh-TW", "de"], "test")
    (tmp_path / "eng.txt").unlink()
    with pytest.raises(data.DataError, match=r"no file for eng_Latn"):
        data.check("ntrex_from_english", source, ["zh-TW"], "test")


@pytest.mark.parametrize(
    ("german", "english", "what"),
    [
        ("Die Katze.\n", "The cat.\nThe dog.\n", "has 1 lines, but"),
        ("Die Katze.\n\n", "The cat.", "has 2 lines, but"),
    ],
)
@pytest.mark.parametrize("on_bad_rows", ["error", "skip"])
def test_numbers_of_lines_that_differ(tmp_path: Path, german: str, english: str, what: str, on_bad_rows: str) -> None:
    with pytest.raises(data.DataError, match="must be the translation of line i") as error:
        data.load("flores_from_english", write(tmp_path, german, english), "de", "devtest", on_bad_rows=on_bad_rows)
    assert what in str(error.value)


def test_bad_lines(tmp_path: Path) -> None:
    source = write(tmp_path, "Die Katze.\n\nDer Hund.\nDie Kuh.\n", "The cat.\nThe fish.\n \nThe cow.\n")
    path = tmp_path / "deu_Latn.devtest"
    path.write_bytes(path.read_bytes() + b"Die M\xe4use.\n")
    english = tmp_path / "eng_Latn.devtest"
    english.write_text(english.read_text() + "The mice.\n")
    with pytest.raises(data.DataError) as error:
        data.load("flores_from_english", source, "de", "devtest")
    assert [str(problem) for problem in error.value.problems] == [
        f"{path}:2: empty label",
        f"{path}:3: empty source",
        f"{path}:5: not UTF-8: byte 0xe4 at column 6",
    ]
    rows = data.read("flores_from_english", source, "de", "devtest", on_bad_rows="skip")
    assert [(row.id, row.label) for row in rows.examples] == [
        ("devtest-00000", "Die Katze."),
        ("devtest-00003", "Die Kuh."),
    ]
    assert rows.skipped == 3


def test_english_is_always_one_side(tmp_path: Path) -> None:
    source = write(tmp_path)
    with pytest.raises(data.DataError, match="ask for the other one, not eng_Latn"):
        data.load("flores_from_english", source, "en", "devtest")
    with pytest.raises(data.DataError, match=r"is the English file too; write `\{lang\}` in the path"):
        data.load("flores_from_english", {"files": str(tmp_path / "deu_Latn.devtest")}, "de", "devtest")


class Hub:
    """A `load_dataset` that gives what was put into it, and notes what it was asked for."""

    def __init__(self, **contents: dict[str, list[str]]) -> None:
        self.contents = contents
        self.asked: list[tuple[str, str | None, str]] = []

    def __call__(self, path: str, name: str | None, split: str, revision: str | None) -> datasets.Dataset:
        self.asked.append((path, name, split))
        return datasets.Dataset.from_dict(self.contents[str(name)])


def test_flores_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"id": [1, 2], "sentence_eng_Latn": ENGLISH, "sentence_deu_Latn": GERMAN}
    hub = Hub(**{"eng_Latn-deu_Latn": both})
    monkeypatch.setattr(datasets, "load_dataset", hub)
    rows = data.read("flores_from_english", {"hub": "facebook/flores"}, "de", "devtest")
    assert rows.examples == from_english()
    assert rows.layout == "hub dataset, sentence pairs"
    assert hub.asked == [("facebook/flores", "eng_Latn-deu_Latn", "devtest")]
    with pytest.raises(data.DataError, match="has no eng_Latn"):
        data.load("flores_from_english", {"hub": "facebook/flores"}, "en", "devtest")


@pytest.mark.parametrize("config", [None, "{lang}", "deu_Latn"])
def test_flores_plus_on_the_hub(monkeypatch: pytest.MonkeyPatch, config: str | None) -> None:
    hub = Hub(eng_Latn={"text": ENGLISH}, deu_Latn={"text": GERMAN})
    monkeypatch.setattr(datasets, "load_dataset", hub)
    source = {"hub": "openlanguagedata/flores_plus", "config": config}
    assert data.load("flores_from_english", source, "de", "dev") == from_english("dev")
    assert [asked[1:] for asked in hub.asked] == [("deu_Latn", "dev"), ("eng_Latn", "dev")]
    hub.contents = {"eng_Latn": {"text": ENGLISH, "id": ["1", "2"]}, "deu_Latn": {"text": GERMAN, "id": ["1", "3"]}}
    with pytest.raises(data.DataError, match="its ids are not those of its English configuration"):
        data.load("flores_from_english", source, "de", "dev")
    hub.contents["eng_Latn"] = {"text": [*ENGLISH, "The cow."]}
    with pytest.raises(data.DataError, match=r"has 2 rows, but its English configuration has 3"):
        data.load("flores_from_english", source, "de", "dev")


def test_other_datasets_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    columns: dict[str, Any] = {"english": ENGLISH, "german": GERMAN}
    monkeypatch.setattr(datasets, "load_dataset", Hub(**{"None": columns}))
    with pytest.raises(data.DataError, match=r"has the columns english, german; expected sentence_eng_Latn and"):
        data.load("flores_from_english", {"hub": "me/pairs"}, "de", "dev")
    with pytest.raises(data.DataError, match=r"NTREX-128 is read from files: .*MicrosoftTranslator/NTREX"):
        data.load("ntrex_to_english", {"hub": "me/ntrex"}, "de", "test")
    with pytest.raises(data.DataError, match="NTREX-128 is read from files"):
        data.check("ntrex_to_english", {"hub": "me/ntrex"}, ["de"], "test")
