"""A language is found in files and columns however its code or name is spelt, and never another region's rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import datasets
import pytest
import yaml
from pydantic import ValidationError

from transfix import data, tasks
from transfix.errors import TransfixError
from transfix.runs.settings import Evaluation, Train


def own(folder: Path, languages: Sequence[str], pattern: str = "test-{lang}.csv", **changes: object) -> tasks.Task:
    content = {
        "name": "own",
        "kind": "choice",
        "fields": ["text"],
        "label": "topic",
        "prompt": "{{text}}",
        "labels": {"x": " x", "y": " y"},
        "languages": list(languages),
        "data": {"test": {"files": pattern}},
        **changes,
    }
    (folder / "task.yaml").write_text(yaml.safe_dump(content))
    return tasks.get(str(folder / "task.yaml"))


def texts(task: tasks.Task, language: str) -> list[str]:
    rows = data.load(task.benchmark, task.source("test"), language, "test")
    return [row.fields["text"] for row in rows]


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"text,topic\nof {name},x\n")


@pytest.mark.parametrize("spelt", ["pt-BR", "pt_br", "PT-BR", "por-BR", "Portuguese", "português", "por_Latn", "pt"])
def test_files(tmp_path: Path, spelt: str) -> None:
    write(tmp_path, f"test-{spelt}.csv", "test-de.csv", "test-old.csv")
    assert texts(own(tmp_path, ["pt-BR"]), "por_Latn") == [f"of test-{spelt}.csv"]
    assert texts(own(tmp_path, ["de", "pt"]), "pt") == [f"of test-{spelt}.csv"]


@pytest.mark.parametrize("written", ["DE", "German", "Deutsch", "de-DE", "deu_Latn"])
def test_what_is_accepted_is_looked_for(tmp_path: Path, written: str) -> None:
    write(tmp_path, f"test-{written}.csv")
    assert texts(own(tmp_path, [written]), "de") == [f"of test-{written}.csv"]


def test_folders_and_repeated_places(tmp_path: Path) -> None:
    write(tmp_path, "DE/x.DE.csv", "en/x.DE.csv", "fr/x.fr.csv")
    assert texts(own(tmp_path, ["de", "fr"], "{lang}/x.{lang}.csv"), "de") == ["of DE/x.DE.csv"]
    assert texts(own(tmp_path, ["de", "fr"], "{lang}/x.{lang}.csv"), "fr") == ["of fr/x.fr.csv"]


def test_another_region_is_not_taken(tmp_path: Path) -> None:
    write(tmp_path, "test-pt-PT.csv")
    with pytest.raises(data.DataError, match="no file for por_Latn"):
        texts(own(tmp_path, ["pt-BR"]), "por_Latn")
    write(tmp_path, "test-pt-BR.csv")
    assert texts(own(tmp_path, ["pt-BR"]), "por_Latn") == ["of test-pt-BR.csv"]
    with pytest.raises(data.DataError, match=r"test-pt-PT\.csv.* are all files of the language pt \(por_Latn\)"):
        texts(own(tmp_path, ["pt"]), "por_Latn")


def test_two_files_of_one_language(tmp_path: Path) -> None:
    write(tmp_path, "test-pt_br.csv", "test-pt-BR.csv")
    with pytest.raises(data.DataError, match=r"pt_br\.csv.*rename or move away all but the one that is meant"):
        texts(own(tmp_path, ["pt-BR"]), "por_Latn")
    (tmp_path / "test-pt_br.csv").unlink()
    (tmp_path / "test-pt_br.csv").symlink_to(tmp_path / "test-pt-BR.csv")
    assert texts(own(tmp_path, ["pt-BR"]), "por_Latn") == ["of test-pt-BR.csv"]


def test_as_it_is_written_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "test-de.csv", "test-deu_Latn.csv")
    assert texts(own(tmp_path, ["de"]), "de") == ["of test-de.csv"]
    assert texts(own(tmp_path, ["deu_Latn"]), "de") == ["of test-deu_Latn.csv"]


def test_a_language_in_two_scripts(tmp_path: Path) -> None:
    write(tmp_path, "test-zh-Hans.csv", "test-zh-Hant.csv")
    with pytest.raises(data.DataError, match=r"'zh' may mean 'zh-Hans' and 'zh-Hant'.*write the code that is meant"):
        texts(own(tmp_path, ["zh"]), "zh")
    assert texts(own(tmp_path, ["zh-Hans"]), "zh") == ["of test-zh-Hans.csv"]
    assert texts(own(tmp_path, ["zh_hant"]), "zho_Hant") == ["of test-zh-Hant.csv"]
    write(tmp_path, "test-zh.csv")
    assert texts(own(tmp_path, ["zh"]), "zh") == ["of test-zh.csv"]


def test_a_benchmark_s_own_names_come_first(tmp_path: Path) -> None:
    for code in ("de", "DE", "German"):
        (tmp_path / f"test-{code}.tsv").write_text(f"of {code}\th\tneutral\n")
    source = {"files": str(tmp_path / "test-{lang}.tsv")}
    assert data.load("xnli", source, "de", "test")[0].fields["premise"] == "of de"
    (tmp_path / "test-de.tsv").unlink()
    with pytest.raises(data.DataError, match="are all files of the language deu_Latn"):
        data.load("xnli", source, "de", "test")
    (tmp_path / "test-DE.tsv").unlink()
    assert data.load("xnli", source, "de", "test")[0].fields["premise"] == "of German"


def column(folder: Path, *spelt: str) -> None:
    lines = "".join(f"row {number},x,{code}\n" for number, code in enumerate(spelt))
    (folder / "all.csv").write_text("text,topic,language\n" + lines)


def test_columns(tmp_path: Path) -> None:
    column(tmp_path, "DE", "German", "pt-BR", "deu_Latn", "pt_br", "somewhere")
    task = own(tmp_path, ["pt-BR", "de"], "all.csv")
    assert texts(task, "de") == ["row 0", "row 1", "row 3"]
    assert texts(task, "pt") == ["row 2", "row 4"]
    rows = data.load(task.benchmark, task.source("test"), "de", "test")
    assert [row.id for row in rows] == ["test-00000", "test-00001", "test-00002"]


def test_columns_in_doubt(tmp_path: Path) -> None:
    column(tmp_path, "pt-BR", "pt-PT", "de")
    assert texts(own(tmp_path, ["pt-BR"], "all.csv"), "pt") == ["row 0"]
    with pytest.raises(data.DataError, match="'pt-BR' and 'pt-PT' are one language here, por_Latn"):
        texts(own(tmp_path, ["pt"], "all.csv"), "pt")
    column(tmp_path, "zh", "zh-Hans", "zh-Hant")
    with pytest.raises(data.DataError, match="'zh' may mean 'zh-Hans' and 'zh-Hant'"):
        texts(own(tmp_path, ["zh"], "all.csv"), "zh")


def test_a_row_that_says_no_language(tmp_path: Path) -> None:
    column(tmp_path, "de", "", "de")
    with pytest.raises(data.DataError, match=r"all\.csv:3: empty language"):
        texts(own(tmp_path, ["de"], "all.csv"), "de")


def test_no_rows_names_what_there_is(tmp_path: Path) -> None:
    column(tmp_path, "pt-PT", "somewhere")
    with pytest.raises(
        data.DataError, match=r"no rows in por_Latn; the languages of its rows: pt-PT \(1\), somewhere \(1\)"
    ):
        texts(own(tmp_path, ["pt-BR"], "all.csv"), "pt")


def test_a_task_that_names_a_language_twice(tmp_path: Path) -> None:
    with pytest.raises(TransfixError, match="'pt-BR' and 'pt-PT' are one language here, por_Latn"):
        own(tmp_path, ["pt-BR", "pt-PT"])
    with pytest.raises(TransfixError, match=r"prompt: de and deu_Latn are one language \(deu_Latn\): say it once"):
        own(tmp_path, ["de"], prompt={"de": "{{text}}?", "deu_Latn": "{{text}}!"})
    words = {"x": " x", "y": " y"}
    template = {"t": {"labels": {"zh": words, "zho_Hans": words}}}
    with pytest.raises(TransfixError, match=r"templates\.t\.labels: zh and zho_Hans are one language"):
        own(tmp_path, ["zh"], templates=template)


def test_configurations_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    held = ["x-pt-BR", "x-DE", "x-zh-Hans", "x-zh-Hant", "default"]

    def load_dataset(path: str, name: str | None, **options: object) -> datasets.Dataset:
        asked.append(name)
        return datasets.Dataset.from_dict({"text": ["a"], "topic": ["x"]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda path, **options: held)
    source = {"test": {"hub": "me/mine", "config": "x-{lang}"}}
    task = own(tmp_path, ["pt_br", "de", "zh", "sw"], data=source)
    for language in ("pt", "de", "sw"):
        texts(task, language)
    assert asked == ["x-pt-BR", "x-DE", "x-swh_Latn"]
    with pytest.raises(data.DataError, match="'zh' may mean 'zh-Hans' and 'zh-Hant'"):
        texts(task, "zh")
    held.append("x-deu_Latn")
    texts(task, "de")
    assert asked[3:] == ["x-deu_Latn"]


def asked(task: tasks.Task, *languages: str) -> tuple[str, ...]:
    """The codes of an evaluation in those languages, which is what `--languages` and a specification come to."""
    return Evaluation.model_validate({"task": task.origin, "languages": list(languages)}).codes


def test_another_region_is_not_asked_for(tmp_path: Path) -> None:
    task = own(tmp_path, ["pt-BR", "zh-TW", "de"])
    for language in ("pt-BR", "pt", "por_Latn", "Portuguese"):
        assert asked(task, language, "de-AT") == ("por_Latn", "deu_Latn")
    why = "is another region than that of the rows of own, pt-BR: write por_Latn to have those rows, or name a task"
    for language in ("pt-PT", "por_PT", "pt_ao"):
        with pytest.raises(ValidationError, match=f"{language} {why}"):
            asked(task, language)
    with pytest.raises(ValidationError, match="zh-HK is another region than that of the rows of own, zh-TW"):
        asked(task, "zh-HK")
    with pytest.raises(
        ValidationError, match="zh-SG is another region than that of the rows of ntrex_to_english, zho-CN"
    ):
        Evaluation.model_validate({"task": "ntrex_to_english", "languages": ["zh-SG"]})
    training = {"task": task.origin, "split": "test", "languages": ["de"]}
    with pytest.raises(ValidationError, match=f"pt-PT {why}"):
        Train.model_validate({**training, "languages": ["pt-PT"]})
    with pytest.raises(ValidationError, match=f"pt-PT {why}"):
        Train.model_validate({**training, "exposure": {"rows": 1, "languages": "pt-PT"}})


def test_a_file_of_another_region_is_not_asked_for(tmp_path: Path) -> None:
    task = own(tmp_path, ["pt", "de"])
    write(tmp_path, "test-pt-BR.csv")
    assert asked(task, "pt-BR", "de-AT") == ("por_Latn", "deu_Latn")
    with pytest.raises(
        ValidationError, match=r"pt-PT is another region than that of .*test-pt-BR\.csv: write por_Latn"
    ):
        asked(task, "pt-PT")
    write(tmp_path, "test-pt.csv")
    (tmp_path / "test-pt-BR.csv").unlink()
    assert asked(task, "pt-PT") == ("por_Latn",), "what says no region may be of any"
