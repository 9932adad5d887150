"""Models that another tool has changed, before an adapter goes on or after: exact, or refused with advice that works."""

from __future__ import annotations

import copy
import inspect
import io
import os
import warnings
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    GPT2Config,
    GPT2DoubleHeadsModel,
    LlamaConfig,
    PreTrainedModel,
    T5Config,
    T5ForQuestionAnswering,
)

from transfix import Adapter, FullFineTuning, LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, TransfixError, use
from transfix import attach as typed_attach
from transfix.adapters import UnsupportedModelError, support
from transfix.adapters.methods import Part

attach = inspect.unwrap(typed_attach)  # without the types that tests check: what users pass is the point here
Build = Callable[..., PreTrainedModel]
Randomise = Callable[..., Adapter]
PARTS = pytest.mark.parametrize(
    "part",
    [PrefixTuning(tokens=2), LlamaAdapter(tokens=2), SoftPrompt(tokens=2), LoRA(rank=2)],
    ids=lambda part: part.method,
)
PEFT_WARNINGS = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*modify a model with PEFT for a second time:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Already found a `peft_config`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Adapter .* was active:UserWarning"),
]
pytestmark = PEFT_WARNINGS


def lora(**settings: Any) -> peft.LoraConfig:
    """One that changes what the model says."""
    return peft.LoraConfig(
        target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM", **settings
    )


CONFIGS: dict[str, Callable[[], Any]] = {
    "lora": lora,
    "dora": lambda: lora(use_dora=True),
    "ia3": lambda: peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "modules_to_save": lambda: lora(modules_to_save=["lm_head"]),
}


def logits(model: nn.Module, ids: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(ids).logits
    return found


def _merged(model: Any) -> Any:
    return model.merge_and_unload()


def _unloaded(model: Any) -> Any:
    return model.unload()


@PARTS
@pytest.mark.parametrize("config", list(CONFIGS))
@pytest.mark.parametrize("way", [_merged, _unloaded])
def test_an_adapter_of_peft_is_refused_until_it_is_merged_or_gone(
    build: Build, ids: Tensor, randomise: Randomise, part: Part, config: str, way: Callable[[Any], Any]
) -> None:
    model = build("llama")
    wrapped = peft.get_peft_model(model, CONFIGS[config]())
    before = logits(model, ids)
    for one in (model, wrapped):
        with pytest.raises(TransfixError, match=r"of PEFT.*merge_and_unload"):
            attach(one, part)
    assert torch.equal(logits(model, ids), before)
    assert not hasattr(model, "_transfix")
    bare = way(wrapped)
    expected = logits(bare, ids)
    adapter = randomise(attach(bare, part))
    assert not torch.allclose(logits(bare, ids), expected, atol=1e-3)
    with adapter.disabled():
        assert torch.equal(logits(bare, ids), expected)
    adapter.detach()
    assert torch.equal(logits(bare, ids), expected)


@PARTS
def test_after_add_adapter_and_delete_adapter(build: Build, ids: Tensor, randomise: Randomise, part: Part) -> None:
    """PEFT's emptied layers stay, and add nothing."""
    model = build("llama")
    expected = logits(model, ids)
    model.add_adapter(lora(), "other")
    with pytest.raises(TransfixError, match="delete_adapter"):
        attach(model, part)
    model.delete_adapter("other")
    adapter = randomise(attach(model, part))
    assert not torch.allclose(logits(model, ids), expected, atol=1e-3)
    with adapter.disabled():
        assert torch.equal(logits(model, ids), expected)
    adapter.detach()
    assert torch.equal(logits(model, ids), expected)


def test_other_methods_of_peft(build: Build, ids: Tensor) -> None:
    model = build("llama")
    wrapped = peft.get_peft_model(model, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    with pytest.raises(TransfixError, match="get_base_model"):
        attach(wrapped, LoRA())
    attach(wrapped.get_base_model(), LoRA()).detach()
    peft.get_peft_model(model, peft.AdaptionPromptConfig(task_type="CAUSAL_LM", adapter_len=3, adapter_layers=1))
    with pytest.raises(TransfixError, match="cannot be taken off: load the model again"):
        attach(model, PrefixTuning(tokens=2))


def test_the_library_adapters(build: Build) -> None:
    model = build("llama")
    kind: Any = type("LlamaModelWithAdapters", (type(model.model),), {"__module__": "adapters.models.llama"})
    model.model.__class__ = kind
    with pytest.raises(TransfixError, match=r"library adapters \(at model\)"):
        attach(model, PrefixTuning())


# after attach


@pytest.mark.parametrize("part", [PrefixTuning(tokens=2), LlamaAdapter(tokens=2), SoftPrompt(tokens=2)])
@pytest.mark.parametrize("config", ["lora", "prompt"])
def test_peft_over_a_prefix_says_that_it_is_frozen(build: Build, ids: Tensor, part: Part, config: str) -> None:
    """And when it is switched on again, both learn."""
    adapter = attach(build("llama"), part)
    other = lora() if config == "lora" else peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    wrapped = peft.get_peft_model(adapter.model, other).train()
    with pytest.warns(UserWarning, match="is frozen and will not learn.*requires_grad_"):
        wrapped(input_ids=ids, labels=ids).loss.backward()
    assert all(tensor.grad is None for tensor in adapter.parameters())
    for tensor in adapter.parameters():
        tensor.requires_grad_(True)
    wrapped(input_ids=ids, labels=ids).loss.backward()  # no warning: it would be an error
    assert all(tensor.grad is not None for tensor in adapter.parameters())
    assert all(p.grad is not None for name, p in wrapped.named_parameters() if "lora_" in name)


def test_a_part_of_a_hybrid_that_is_frozen(build: Build, ids: Tensor) -> None:
    adapter = attach(build("llama"), PrefixTuning(tokens=2), LoRA(rank=2))
    for name, tensor in adapter.tensors().items():
        tensor.requires_grad_(name.startswith("lora"))
    adapter.model.train()
    with pytest.warns(UserWarning, match="^prefix of the adapter 'default' is frozen"):
        adapter.model(ids, labels=ids)
    adapter.model.eval()(ids)
    with torch.no_grad():
        adapter.model.train()(ids)


def test_saving_beside_an_adapter_of_peft_says_what_is_left_out(build: Build, tmp_path: Any) -> None:
    adapter = attach(build("llama"), PrefixTuning(tokens=2))
    peft.get_peft_model(adapter.model, lora(), adapter_name="theirs")
    with pytest.warns(UserWarning, match="'theirs'.* is not saved"):
        adapter.save(tmp_path)


@pytest.mark.parametrize("through", ["get_peft_model", "add_adapter"])
def test_peft_over_our_lora_is_refused_and_taken_off(
    build: Build, ids: Tensor, randomise: Randomise, through: str
) -> None:
    model = build("llama")
    base = logits(model, ids)
    adapter = randomise(attach(model, LoRA(rank=2)))
    expected = logits(model, ids)
    other: Any = model
    if through == "add_adapter":
        model.add_adapter(lora(), "theirs")
    else:
        other = peft.get_peft_model(model, lora(), adapter_name="theirs")
    for act in (
        lambda: model(ids),
        adapter.detach,
        lambda: adapter.save("nowhere"),
        lambda: use(model, None).__enter__(),
    ):
        with pytest.raises(TransfixError, match=r"PEFT has put its adapter 'theirs'.*delete_adapter"):
            act()
    other.delete_adapter("theirs")
    assert torch.equal(logits(model, ids), expected)
    with adapter.disabled():
        assert torch.equal(logits(model, ids), base)
    adapter.detach()
    assert torch.equal(logits(model, ids), base)


def test_our_lora_overwritten_by_one_of_the_same_name(build: Build, ids: Tensor) -> None:
    model = build("llama")
    adapter = attach(model, LoRA(rank=2))
    peft.get_peft_model(model, lora())
    for act in (lambda: model(ids), lambda: adapter.save("nowhere")):
        with pytest.raises(TransfixError, match=r"overwritten or deleted the LoRA of 'default'.*load_adapter"):
            act()


@PARTS
def test_converted_after_attach(build: Build, ids: Tensor, part: Part) -> None:
    adapter = attach(build("llama"), part)
    adapter.model.to(torch.bfloat16).train()
    with pytest.warns(UserWarning, match=r"is in torch.bfloat16.*p.data.float\(\)"):
        adapter.model(ids, labels=ids)
    for p in adapter.parameters():
        p.data = p.data.float()
    adapter.model(ids, labels=ids).loss.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in adapter.parameters())


@PARTS
def test_copies_and_pickles_stand_alone(
    build: Build, ids: Tensor, randomise: Randomise, part: Part, tmp_path: Any
) -> None:
    model = build("llama")
    base = logits(model, ids)
    adapter = randomise(attach(model, part))
    expected = logits(model, ids)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for number, twin in enumerate((copy.deepcopy(model), torch.load(file, weights_only=False))):
        assert torch.equal(logits(twin, ids), expected)
        with use(twin, None):
            assert torch.equal(logits(twin, ids), base)
        with torch.no_grad():
            for p in twin.parameters():
                if p.requires_grad:
                    p.zero_()
        twin.save_pretrained(tmp_path / str(number))
        model.save_pretrained(tmp_path / "own")
        files = [tmp_path / where / "adapter.safetensors" for where in (str(number), "own")]
        assert files[0].read_bytes() != files[1].read_bytes()
        twin._transfix.remove("default")
        assert torch.equal(logits(twin, ids), base)
        assert torch.equal(logits(model, ids), expected)
    adapter.detach()
    assert torch.equal(logits(model, ids), base)


def test_a_resized_vocabulary(build: Build, ids: Tensor, randomise: Randomise) -> None:
    """Nothing becomes trainable that is not the adapter's."""
    adapter = randomise(attach(build("llama"), PrefixTuning(tokens=2), LoRA(rank=2)))
    model = adapter.model
    expected = logits(model, ids)
    model.resize_token_embeddings(70, mean_resizing=False)
    assert torch.equal(logits(model, ids)[..., :64], expected)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == adapter.trainable


# wrappers, shards, shared modules


def test_wrapped_models(build: Build, ids: Tensor, randomise: Randomise) -> None:
    model = build("llama")
    with pytest.raises(TransfixError, match="attach to the model itself, and put DistributedDataParallel around it"):
        attach(nn.DataParallel(model), PrefixTuning())
    with pytest.raises(TransfixError, match=r"Sequential.*inside it, its \.0"):
        attach(nn.Sequential(model), PrefixTuning())
    with pytest.raises(TransfixError, match="a Linear, which is no transformers model; load one"):
        attach(nn.Linear(2, 2), PrefixTuning())
    base = logits(model, ids)
    compiled: Any = torch.compile(model, backend="eager")
    with torch.compiler.set_stance("force_eager"):  # what checks types in the tests cannot be compiled
        adapter = randomise(attach(compiled, PrefixTuning(tokens=2)))
        assert adapter.model is model
        assert torch.equal(logits(compiled, ids), logits(model, ids))
        adapter.detach()
        assert torch.equal(logits(compiled, ids), base)


def test_a_sharded_model(build: Build) -> None:
    from torch.distributed import destroy_process_group, init_process_group
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setitem(os.environ, "MASTER_ADDR", "127.0.0.1")
        init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
        try:
            model = build("llama")
            fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
            with pytest.raises(TransfixError, match=r"sharded over devices already.*shard it after"):
                attach(model, PrefixTuning(tokens=2))
        finally:
            destroy_process_group()


@pytest.mark.parametrize("first", [PrefixTuning(tokens=2), LoRA(rank=2), SoftPrompt(tokens=2)])
@PARTS
def test_a_part_of_the_model_has_adapters(build: Build, ids: Tensor, first: Part, part: Part) -> None:
    for around, inside in ((lambda m: m, lambda m: m.model), (lambda m: m.model, lambda m: m)):
        model = build("llama")
        base = logits(model, ids)
        adapter = attach(around(model), first)
        expected = logits(model, ids)
        with pytest.raises(TransfixError, match="detach"):
            attach(inside(model), part)
        assert torch.equal(logits(model, ids), expected)
        adapter.detach()
        attach(inside(model), part).detach()
        assert torch.equal(logits(model, ids), base)


def test_layers_that_are_one(build: Build, ids: Tensor, randomise: Randomise) -> None:
    model = build("llama")
    model.model.layers[1] = model.model.layers[0]
    base = logits(model, ids)
    for part in (PrefixTuning(tokens=2), LlamaAdapter(tokens=2), SoftPrompt(tokens=2)):
        with pytest.raises(UnsupportedModelError, match=r"same attention module.*LoRA works"):
            attach(model, part)
        assert torch.equal(logits(model, ids), base)
    adapter = randomise(attach(model, LoRA(rank=2)))
    assert not torch.allclose(logits(model, ids), base, atol=1e-3)
    adapter.detach()
    assert torch.equal(logits(model, ids), base)


@pytest.mark.parametrize("change", ["weight_norm", "pruned"])
@PARTS
def test_parametrised_weights_are_read_as_they_are(
    build: Build, ids: Tensor, randomise: Randomise, part: Part, change: str
) -> None:
    """The same as on a model whose weights are those numbers."""
    model, plain = build("llama"), build("llama")
    for one, other in zip(model.model.layers, plain.model.layers, strict=True):
        for name in ("k_proj", "v_proj"):
            module = getattr(one.self_attn, name)
            if change == "pruned":
                prune.l1_unstructured(module, "weight", amount=0.5)
            else:
                parametrizations.weight_norm(module)
            with torch.no_grad():
                getattr(other.self_attn, name).weight.copy_(module.weight)
    base = logits(model, ids)
    adapters = [randomise(attach(one, part)) for one in (model, plain)]
    torch.testing.assert_close(logits(model, ids), logits(plain, ids))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == adapters[0].trainable
    adapters[0].detach()
    assert torch.equal(logits(model, ids), base)


# bases that gradients do not pass through


@pytest.mark.filterwarnings("ignore")  # torch.ao warns of its end
def test_layers_quantised_by_torch(build: Build, ids: Tensor, randomise: Randomise) -> None:
    import torch.ao.quantization as quantization

    model = build("llama")
    model.model = quantization.quantize_dynamic(model.model, {nn.Linear})
    base = logits(model, ids)
    for part in (
        PrefixTuning(tokens=2),
        PrefixTuning(tokens=2, projection="none"),
        LlamaAdapter(tokens=2),
        SoftPrompt(),
    ):
        adapter = randomise(attach(model, part))
        assert not torch.allclose(logits(model, ids), base, atol=1e-3)  # it answers
        with pytest.raises(TransfixError, match=r"training: .*quantised by torch.ao.*bitsandbytes"):
            model.train()(ids)
        model.eval()
        adapter.detach()
    with pytest.raises(UnsupportedModelError, match="PEFT cannot adapt"):
        attach(model, LoRA())
    with pytest.raises(UnsupportedModelError, match="PEFT cannot adapt"):
        attach(model, LoRA(targets="all_linear"))
    with pytest.raises(UnsupportedModelError, match="quantised base"):
        attach(model, FullFineTuning())
    assert torch.equal(logits(model, ids), base)


@PARTS
def test_weights_made_in_inference_mode(build: Build, ids: Tensor, part: Part) -> None:
    with torch.inference_mode():
        model = copy.deepcopy(build("llama"))
    adapter = attach(model, part)
    logits(model, ids)
    with pytest.raises(TransfixError, match=r"inference_mode.*outside of it"):
        model.train()(ids)
    adapter.detach()
    assert all(p.requires_grad for p in model.parameters())
    model = build("llama")
    with torch.inference_mode():
        adapter = attach(model, part)
    with pytest.raises(TransfixError, match=r"inference_mode.*outside of it"):
        model.train()(ids)
    adapter.detach()
    attach(model, part)
    model(ids, labels=ids).loss.backward()


# heads

_LLAMA = LlamaConfig(
    hidden_size=32,
    intermediate_size=48,
    num_attention_heads=4,
    num_key_value_heads=2,
    num_hidden_layers=2,
    vocab_size=64,
    pad_token_id=0,
    num_labels=3,
)
_T5 = T5Config(d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2, vocab_size=32)
HEADS: dict[str, Callable[[], PreTrainedModel]] = {
    "score": lambda: AutoModelForSequenceClassification.from_config(_LLAMA),
    "classifier|score": lambda: AutoModelForTokenClassification.from_config(_LLAMA),
    "qa_outputs": lambda: AutoModelForQuestionAnswering.from_config(_LLAMA),
    "qa_outputs ": lambda: T5ForQuestionAnswering(_T5),
    "multiple_choice_head": lambda: GPT2DoubleHeadsModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=32)),
}


@pytest.mark.parametrize("head", list(HEADS))
def test_a_head_that_no_adapter_trains(head: str) -> None:
    model = HEADS[head]()
    for part in (PrefixTuning(tokens=2), LoRA(rank=2)):
        with pytest.raises(UnsupportedModelError, match=rf"head of its own \(({head.strip()})\).*FullFineTuning"):
            attach(model, part)
        assert not hasattr(model, "_transfix")
        assert all(p.requires_grad for p in model.parameters())


def test_full_fine_tuning_trains_and_saves_the_head(tmp_path: Any, ids: Tensor) -> None:
    from transfix import load_adapter

    adapter = attach(HEADS["score"](), FullFineTuning())
    assert adapter.trainable == sum(p.numel() for p in adapter.model.parameters())
    adapter.save(tmp_path)
    again = load_adapter(HEADS["score"](), tmp_path)
    assert torch.equal(logits(again.model, ids), logits(adapter.model, ids))


def test_bodies_have_no_head(build: Build) -> None:
    assert attach(build("llama").model, PrefixTuning(tokens=2)).trainable == 2 * 2 * 32


# advice


def test_continuous_batching_is_refused_with_what_works(build: Build, ids: Tensor) -> None:
    model = build("llama")
    adapter = attach(model, PrefixTuning(tokens=2))
    with pytest.raises(TransfixError, match=r"generate_batch.*model.generate"):
        model.generate_batch([[3, 4, 5]], max_new_tokens=2)
    model.generate(ids, max_new_tokens=2, do_sample=False)
    adapter.detach()
    assert "init_continuous_batching" not in vars(model)


def test_another_attention_function_while_attached(build: Build, ids: Tensor) -> None:
    adapter = attach(build("llama"), PrefixTuning(tokens=2))
    expected = logits(adapter.model, ids)
    adapter.model.set_attn_implementation("eager")
    with pytest.raises(TransfixError, match="set it to 'transfix_sdpa' or 'transfix_eager'"):
        adapter.model(ids)
    for name in ("transfix_eager", "transfix_sdpa"):
        adapter.model.set_attn_implementation(name)
        torch.testing.assert_close(logits(adapter.model, ids), expected)


@pytest.mark.parametrize("known", [(), (1,)])
def test_unknown_projections_name_what_works(
    build: Build, ids: Tensor, randomise: Randomise, monkeypatch: pytest.MonkeyPatch, known: tuple[int, ...]
) -> None:
    """Everything that the reason names can be attached and does something, and what it does not name cannot."""
    from transfix.adapters import architecture

    model = build("llama")
    attentions = [layer.self_attn for layer in model.model.layers]
    source = architecture._source
    monkeypatch.setattr(
        architecture, "_source", lambda attention: source(attention) if attentions.index(attention) in known else None
    )
    monkeypatch.setitem(architecture._ROLES, "k", ("nowhere",))
    reason = support(model).reason
    named: dict[str, Part] = {
        f"layers: {list(known)}": PrefixTuning(tokens=2, layers=known or (0,)),
        "`projection: none` with `init: zero`": PrefixTuning(tokens=2, projection="none", init="zero"),
        "soft prompts": SoftPrompt(tokens=2),
        "LoRA with `targets: all_linear`": LoRA(targets="all_linear"),
        "full fine-tuning": FullFineTuning(),
    }
    assert "full fine-tuning still work" in reason
    base = logits(model, ids)
    for words, part in named.items():
        if words in reason:
            adapter = randomise(attach(model, part))
            assert not torch.allclose(logits(model, ids), base, atol=1e-3), words
            adapter.take_off()
        else:
            assert not known, words
            with pytest.raises(UnsupportedModelError):
                attach(model, part)
    for part in (LlamaAdapter(tokens=2), LoRA(rank=2)):
        with pytest.raises(UnsupportedModelError, match="still work"):
            attach(model, part)


def test_a_model_that_attends_in_both_directions_takes_what_the_message_names(build: Build) -> None:
    model = build("llama")
    for layer in model.model.layers:
        layer.self_attn.is_causal = False
    with pytest.raises(UnsupportedModelError, match="Use prefix or llama_adapter"):
        attach(model, SoftPrompt(tokens=2))
    for part in (PrefixTuning(tokens=2), LlamaAdapter(tokens=2)):
        attach(model, part).detach()


def test_a_backend_that_takes_no_prefix_names_one_that_the_model_has(build: Build) -> None:
    for supported, name in ((True, "sdpa"), (False, "eager")):
        model = build("llama")
        model.model._supports_sdpa = supported
        model.config._attn_implementation = "flex_attention"
        with pytest.raises(UnsupportedModelError, match=rf'call model.set_attn_implementation\("{name}"\)'):
            attach(model, PrefixTuning(tokens=2))
        model.set_attn_implementation(name)
        attach(model, PrefixTuning(tokens=2))
