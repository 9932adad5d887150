"""The maintainer's script: same inputs, same bytes; inputs that are not parallel are refused."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from transfix import data, languages
from transfix.data import shipped

LABELS = ("contradiction", "entailment", "neutral")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "build_snapshot.py"
    spec = importlib.util.spec_from_file_location("build_snapshot", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small_pool(tmp_path: Path) -> Path:
    """A few rows of every file the script reads."""
    pool = tmp_path / "pool"

    def write(path: str, content: object) -> None:
        (pool / path).parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (pool / path).write_text(text, encoding="utf-8")

    def jsonl(rows: list[dict[str, Any]]) -> str:
        return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)

    def pairs(code: str) -> list[dict[str, str]]:
        return [
            {"premise": f"{code} p{i}", "hypothesis": f"{code} h{i}{label}", "label": label}
            for i in range(4)
            for label in LABELS
        ]

    def squad(code: str) -> dict[str, Any]:
        def paragraph(i: int) -> dict[str, Any]:
            answers = [{"text": code, "answer_start": 0}, {"text": code, "answer_start": 0}]
            questions = [{"id": f"q{i}{j}", "question": f"{code} {j}?", "answers": answers} for j in range(2)]
            return {"context": f"{code} c{i}", "qas": questions}

        return {"data": [{"paragraphs": [paragraph(i) for i in range(5)]}]}

    def questions(code: str) -> list[dict[str, Any]]:
        return [
            {
                "link": f"l{i}",
                "question_number": j + 1,
                "flores_passage": f"{code} {i}",
                "question": f"{code} {j}?",
                **{f"mc_answer{number}": f"{code}{number}" for number in range(1, 5)},
                "correct_answer_num": str(1 + (i + j) % 4),
            }
            for i in range(5)
            for j in range(2)
        ]

    write("nli/mnli/dev_matched.jsonl", jsonl(pairs("en")))
    for code in own_codes("xnli"):
        write(f"nli/xnli/test-{code}.tsv", "\n".join("\t".join(row.values()) for row in pairs(code)))
    for code in own_codes("afrixnli"):
        write(f"nli/afrixnli/test-{code}.jsonl", jsonl(pairs(code)))
    write("qa/squadshifts/new_wiki_v1.0.json", squad("en"))
    write("qa/tydiqa_goldp/train-en.json", squad("en"))
    for code in own_codes("xquad"):
        write(f"qa/xquad/xquad.{code}.json", squad(code))
    write("math/gsm8k/train.jsonl", jsonl([{"question": f"{i}?", "answer": f"r{i}\n#### {i}"} for i in range(5)]))
    for code in own_codes("mgsm"):
        write(f"math/mgsm/mgsm_{code}.tsv", "".join(f"{code} {i}?\t{i}\n" for i in range(5)))
    texts = {code: {str(i): {"q": f"{code} {i}?", "a": f"r{i}"} for i in range(1, 9)} for code in own_codes("mgsm")}
    exemplars = {"EXEMPLAR_NUMBER_ANSWERS": list(range(8)), "MGSM_EXEMPLARS": texts}
    write("math/mgsm/exemplars.json", exemplars)
    for code in ("deu_Latn", "eng_Latn", "tha_Thai"):
        write(f"choice/belebele/{code}.jsonl", jsonl(questions(code)))
        write(f"parallel/flores200_devtest/{code}.devtest", "".join(f"{code} {i}.\n" for i in range(6)))
    return pool


def own_codes(benchmark: str) -> list[str]:
    return [language.benchmarks[benchmark] for language in languages.of_benchmark(benchmark)]


def test_same_inputs_give_the_same_bytes(script: ModuleType, small_pool: Path, tmp_path: Path) -> None:
    script.main([str(small_pool), "--output", str(tmp_path / "one")])
    script.main([str(small_pool), "--output", str(tmp_path / "two")])
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(["manifest.json", *(path.name for path in shipped.DIRECTORY.glob("*.parquet"))])
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_it_builds_is_read_again(
    script: ModuleType, small_pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.main([str(small_pool), "--output", str(tmp_path / "out")])
    monkeypatch.setattr(shipped, "DIRECTORY", tmp_path / "out")
    shipped.contents.cache_clear()
    try:
        assert {key: found.rows for key, found in shipped.contents().items()} == {
            ("mnli", "train"): 12,
            ("xnli", "test"): 12,
            ("afrixnli", "test"): 12,
            ("squadshifts", "train"): 10,
            ("tydiqa", "train"): 10,
            ("xquad", "validation"): 10,
            ("gsm8k", "train"): 5,
            ("mgsm", "train"): 8,
            ("mgsm", "test"): 5,
            ("belebele", "test"): 10,
            ("flores_from_english", "devtest"): 6,
            ("flores_to_english", "devtest"): 6,
        }
        for benchmark, split, files in (
            ("xquad", "validation", "qa/xquad/xquad.{lang}.json"),
            ("belebele", "test", "choice/belebele/{lang}.jsonl"),
            ("mgsm", "train", "math/mgsm/exemplars.json"),
            ("flores_to_english", "devtest", "parallel/flores200_devtest/{lang}.devtest"),
        ):
            own = data.load(benchmark, {"files": str(small_pool / files)}, "de", split)
            kept = data.load(benchmark, "snapshot", "de", split)
            assert sorted(kept, key=lambda row: row.id) == sorted(own, key=lambda row: row.id)
    finally:
        monkeypatch.undo()
        shipped.contents.cache_clear()


def test_files_that_are_not_parallel(script: ModuleType, small_pool: Path, tmp_path: Path) -> None:
    path = small_pool / "nli" / "xnli" / "test-de.tsv"
    first, *others = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([*others, first]), encoding="utf-8")
    with pytest.raises(SystemExit, match="xnli deu_Latn: ids or labels are not parallel"):
        script.main([str(small_pool), "--output", str(tmp_path / "out")])


def test_files_that_are_missing(script: ModuleType, small_pool: Path, tmp_path: Path) -> None:
    (small_pool / "qa" / "xquad" / "xquad.de.json").unlink()
    with pytest.raises(SystemExit, match=r"xquad deu_Latn: none of qa/xquad/xquad\.de\.json, "):
        script.main([str(small_pool), "--output", str(tmp_path / "out")])


@pytest.mark.slow
def test_the_shipped_files_are_what_it_builds(script: ModuleType, pool: Path, tmp_path: Path) -> None:
    script.build(pool, tmp_path)
    built = json.loads((tmp_path / shipped.MANIFEST).read_text(encoding="utf-8"))
    kept = json.loads((shipped.DIRECTORY / shipped.MANIFEST).read_text(encoding="utf-8"))
    for new, old in zip(built["sets"], kept["sets"], strict=True):
        assert new["inputs"] == old["inputs"]
        if built["versions"] == kept["versions"]:  # another pyarrow may write other bytes
            assert new == old
