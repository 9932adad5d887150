"""What is said of a dataset that cannot be loaded, as the hub itself answers: its HTTP is played, nothing else."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import httpx2
import huggingface_hub
import pytest
from huggingface_hub import constants

from transfix import data

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Hub = Callable[[dict[str, bytes]], list[str]]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub whose datasets all hold these files; gives the paths that were asked for."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    asked: list[str] = []
    held: dict[str, bytes] = {}

    def answer(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        asked.append(path)
        headers = {"X-Repo-Commit": COMMIT}
        name = path.rpartition("/resolve/")[2].partition("/")[2]
        if "/resolve/" in path and name in held:
            headers |= {"ETag": f'"{name}"', "Content-Length": str(len(held[name]))}
            return httpx2.Response(200, headers=headers, content=b"" if request.method == "HEAD" else held[name])
        if "/resolve/" in path:
            return httpx2.Response(404, headers={**headers, "X-Error-Code": "EntryNotFound"})
        siblings = [{"rfilename": name} for name in held]
        return httpx2.Response(200, json={"id": "x/y", "sha": COMMIT, "siblings": siblings})

    def hold(files: dict[str, bytes]) -> list[str]:
        held.update(files)
        return asked

    huggingface_hub.set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(answer)))
    yield hold
    from huggingface_hub.utils._http import default_client_factory

    huggingface_hub.set_client_factory(default_client_factory)


def failure(benchmark: str, language: str, split: str, **source: Any) -> str:
    with pytest.raises(data.DataError) as raised:
        data.load(benchmark, source, language, split)
    return str(raised.value)


def test_a_script_is_not_a_missing_network(hub: Hub) -> None:
    asked = hub({"README.md": b"# FLORES\n", "flores.py": b"raise SystemExit('run')\n"})
    said = failure("flores_from_english", "de", "devtest", hub="facebook/flores")
    assert "found flores.py. It is a program and no files of rows; programs of datasets are not run" in said
    assert "`{hub: openlanguagedata/flores_plus}`" in said
    assert "offline" not in said
    assert any(path.endswith("/flores.py") for path in asked)


def test_what_to_do_about_another_script(hub: Hub) -> None:
    hub({"README.md": b"# Mine\n", "mine.py": b""})
    said = failure("xnli", "sw", "test", hub="me/mine")
    assert "If the hub has converted it, `revision: refs/convert/parquet` reads that" in said
    said = failure("xnli", "sw", "test", hub="me/mine", config="{lang}")
    assert (
        "hf download me/mine --repo-type dataset --revision refs/convert/parquet --include 'sw/*' --local-dir DIR"
        in said
    )


def test_the_files_it_advises_to_get_can_be_read(tmp_path: Path) -> None:
    """As the hub's conversion lays them out: CONFIG/SPLIT/0000.parquet."""
    names = datasets.ClassLabel(names=["entailment", "neutral", "contradiction"])
    texts = datasets.Value("string")
    features = datasets.Features({"premise": texts, "hypothesis": texts, "label": names})
    rows = datasets.Dataset.from_dict({"premise": ["p"], "hypothesis": ["h"], "label": [2]}, features=features)
    (tmp_path / "sw" / "test").mkdir(parents=True)
    rows.to_parquet(str(tmp_path / "sw" / "test" / "0000.parquet"))
    read = data.load("xnli", {"files": str(tmp_path / "{lang}" / "{split}" / "0000.parquet")}, "sw", "test")
    assert [row.label for row in read] == ["contradiction"]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (datasets.exceptions.DataFilesNotFoundError("No (supported) data files found in me/x"), "no files of rows"),
        (datasets.exceptions.DatasetGenerationError("An error occurred"), "no table with the same columns"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk of its cache is full"),
    ],
)
def test_other_failures_are_not_a_missing_network_either(
    monkeypatch: pytest.MonkeyPatch, error: Exception, advice: str
) -> None:
    def load_dataset(path: str, **options: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    said = failure("xnli", "de", "test", hub="me/x")
    assert advice in said
    assert "offline" not in said
