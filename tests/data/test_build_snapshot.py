"""The maintainer's script: same inputs, same bytes; inputs that are not parallel are refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from transfix import languages
from transfix.data import shipped

LABELS = ("contradiction", "entailment", "neutral")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "build_snapshot.py"
    spec = importlib.util.spec_from_file_location("build_snapshot", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small_pool(tmp_path: Path) -> Path:
    """Twelve rows of every file the script reads."""
    for directory in ("mnli", "xnli", "afrixnli"):
        (tmp_path / "pool" / "nli" / directory).mkdir(parents=True)
    nli = tmp_path / "pool" / "nli"

    def rows(code: str) -> list[dict[str, str]]:
        return [
            {"premise": f"{code} p{i}", "hypothesis": f"{code} h{i}{label}", "label": label}
            for i in range(4)
            for label in LABELS
        ]

    def jsonl(code: str) -> str:
        return "\n".join(map(json.dumps, rows(code)))

    (nli / "mnli" / "dev_matched.jsonl").write_text(jsonl("en"), encoding="utf-8")
    for language in languages.of_benchmark("xnli"):
        code = language.benchmarks["xnli"]
        lines = ["\t".join(row.values()) for row in rows(code)]
        (nli / "xnli" / f"test-{code}.tsv").write_text("\n".join(lines), encoding="utf-8")
    for language in languages.of_benchmark("afrixnli"):
        code = language.benchmarks["afrixnli"]
        (nli / "afrixnli" / f"test-{code}.jsonl").write_text(jsonl(code), encoding="utf-8")
    return tmp_path / "pool"


def test_same_inputs_give_the_same_bytes(script: ModuleType, small_pool: Path, tmp_path: Path) -> None:
    script.main([str(small_pool), "--output", str(tmp_path / "one")])
    script.main([str(small_pool), "--output", str(tmp_path / "two")])
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["afrixnli_test.parquet", "manifest.json", "mnli_dev_matched.parquet", "xnli_test.parquet"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_files_that_are_not_parallel(script: ModuleType, small_pool: Path, tmp_path: Path) -> None:
    path = small_pool / "nli" / "xnli" / "test-de.tsv"
    first, *others = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([*others, first]), encoding="utf-8")
    with pytest.raises(SystemExit, match="de: ids or labels are not parallel"):
        script.main([str(small_pool), "--output", str(tmp_path / "out")])


def test_the_shipped_files_are_what_it_builds(script: ModuleType, pool: Path, tmp_path: Path) -> None:
    script.build(pool, tmp_path)
    built = json.loads((tmp_path / shipped.MANIFEST).read_text(encoding="utf-8"))
    kept = json.loads((shipped.DIRECTORY / shipped.MANIFEST).read_text(encoding="utf-8"))
    for new, old in zip(built["sets"], kept["sets"], strict=True):
        assert new["inputs"] == old["inputs"]
        if built["versions"] == kept["versions"]:  # another pyarrow may write other bytes
            assert new == old
