"""Several threads on one model, each with adapters of its own: every answer is that of the same call made alone."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from transfix import Adapter, LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, attach, use
from transfix.adapters.host import Host
from transfix.adapters.methods import METHODS
from transfix.adapters.methods.prefix_tuning.layer import PrefixTuningMethod
from transfix.adapters.state import AdapterState
from transfix.errors import TransfixError

PARTS: dict[str, Any] = {
    "prefix": [PrefixTuning(tokens=3)],
    "free_prefix": [PrefixTuning(tokens=3, projection="none")],
    "llama_adapter": [LlamaAdapter(tokens=3)],
    "soft_prompt": [SoftPrompt(tokens=3)],
    "lora": [LoRA(rank=2)],
    "prefix+lora": [PrefixTuning(tokens=2), LoRA(rank=2)],
    "soft_prompt+lora": [SoftPrompt(tokens=2), LoRA(rank=2)],
}
assert set(METHODS) - {"base", "full", "task_head"} <= {part.method for parts in PARTS.values() for part in parts}, (
    "every method"
)
ROUNDS = 8
VOCABULARY = 64
Choice = str | Sequence[str | None] | None


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    """Threads take turns many times within a forward."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def shake(adapter: Adapter, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in adapter.parameters():
            tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.5)


def two(model: PreTrainedModel, method: str) -> PreTrainedModel:
    """A model with two adapters of a method, `a` and `b`; `b` is the default."""
    for seed, name in enumerate("ab", start=1):
        shake(attach(model, *PARTS[method], name=name), seed)
    return model.eval()


def rows(seed: int, length: int = 7) -> Tensor:
    return torch.randint(3, VOCABULARY, (2, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def scores(model: PreTrainedModel, choice: Choice, ids: Tensor, chosen: bool = True) -> Tensor:
    with use(model, choice) if chosen else nullcontext():
        logits: Tensor = model(ids).logits
    return logits


@torch.no_grad()
def written(model: PreTrainedModel, choice: Choice, ids: Tensor, chosen: bool = True) -> Tensor:
    with use(model, choice) if chosen else nullcontext():
        found: Tensor = model.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)  # type: ignore[operator]
    return found


Ask = Callable[..., Tensor]


def together(calls: Sequence[Callable[[], Tensor]], rounds: int = ROUNDS) -> list[list[Tensor]]:
    """What each call gives in a thread of its own, over and over, all at once."""
    gate = threading.Barrier(len(calls))

    def work(call: Callable[[], Tensor]) -> list[Tensor]:
        gate.wait()
        return [call() for _ in range(rounds)]

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(work, call) for call in calls]]


@pytest.mark.parametrize("ask", [scores, written])
@pytest.mark.parametrize("method", PARTS)
def test_threads_do_not_take_each_others_adapters(build: Any, method: str, ask: Ask) -> None:
    model = two(build("llama", 2), method)
    choices: list[Choice] = ["a", "b", None] if ask is written else ["a", "b", None, ["a", None], ["b", "a"]]
    alone = [ask(model, choice, rows(seed)) for seed, choice in enumerate(choices)]
    assert len({tuple(found.flatten().tolist()) for found in alone}) == len(alone)
    calls = [lambda c=choice, s=seed: ask(model, c, rows(s)) for seed, choice in enumerate(choices)]
    for expected, found in zip(alone, together(calls), strict=True):
        assert all(torch.equal(expected, answer) for answer in found)


@pytest.mark.parametrize("ask", [scores, written])
@pytest.mark.parametrize("method", PARTS)
def test_rows_of_threads_without_a_choice(build: Any, method: str, ask: Ask) -> None:
    """One adapter, nothing chosen: positions and a prompt's states are of the forward, not of the model."""
    model = two(build("mistral", 2), method)
    inputs = [rows(seed, length) for seed, length in enumerate((4, 9, 7))]
    alone = [ask(model, None, ids, chosen=False) for ids in inputs]
    calls = [lambda ids=ids: ask(model, None, ids, chosen=False) for ids in inputs]
    for expected, found in zip(alone, together(calls), strict=True):
        assert all(torch.equal(expected, answer) for answer in found)


def test_a_choice_is_of_its_thread(build: Any) -> None:
    """A thread begins with the model's default, also one started inside a block; a copied context takes its choice."""
    model, ids = two(build("llama", 2), "prefix+lora"), rows(0)
    default, a = scores(model, "b", ids), scores(model, "a", ids)
    with use(model, "a"), ThreadPoolExecutor(1) as pool:
        assert torch.equal(pool.submit(scores, model, None, ids, False).result(), default)
        context = contextvars.copy_context()
        assert torch.equal(pool.submit(context.run, scores, model, None, ids, False).result(), a)
        assert torch.equal(scores(model, None, ids, chosen=False), a)
    assert torch.equal(scores(model, None, ids, chosen=False), default)


def test_a_choice_is_of_its_task(build: Any) -> None:
    """Tasks of asyncio that wait inside their blocks do not see each other's."""
    model, ids = two(build("llama", 2), "prefix+lora"), rows(0)
    alone = {name: scores(model, name, ids) for name in ("a", "b", None)}

    async def ask(name: str | None) -> list[Tensor]:
        found = []
        with use(model, name):
            for _ in range(3):
                await asyncio.sleep(0)
                found.append(scores(model, None, ids, chosen=False))
        return found

    async def everybody() -> list[list[Tensor]]:
        return await asyncio.gather(*map(ask, alone))

    for expected, found in zip(alone.values(), asyncio.run(everybody()), strict=True):
        assert all(torch.equal(expected, answer) for answer in found)


def test_a_generator_that_is_left_open_leaves_nothing_on(build: Any) -> None:
    model, ids = two(build("llama", 2), "prefix"), rows(0)
    default = scores(model, "b", ids)

    def answers() -> Iterator[Tensor]:
        with use(model, "a"):
            yield scores(model, None, ids, chosen=False)

    begun = answers()
    next(begun)
    closing = threading.Thread(target=begun.close)
    closing.start()
    closing.join()
    with ThreadPoolExecutor(1) as pool:
        assert torch.equal(pool.submit(scores, model, None, ids, False).result(), default)


@pytest.mark.parametrize("method", ["lora", "prefix+lora", "soft_prompt+lora"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_what_is_computed_again_has_the_adapters_of_its_forward(build: Any, method: str, reentrant: bool) -> None:
    """As a GPU's backward does in a thread of its own: another thread recomputes, after the block has ended."""
    if reentrant and "soft_prompt" in method:
        pytest.skip("a prompt's states are shared by all layers, which reentrant checkpointing cannot express")
    model, ids = two(build("llama", 2), method), rows(0)

    def gradients(checkpointing: bool, apart: bool) -> list[Tensor]:
        model.zero_grad()
        model.train()
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": reentrant})
            model.enable_input_require_grads()
        with use(model, "a"):
            loss = model(ids, use_cache=False).logits.square().mean()
            if not apart:
                loss.backward()
        if apart:
            thread = threading.Thread(target=loss.backward)
            thread.start()
            thread.join()
        model.activation_checkpointing_disable()
        model.eval()
        return [p.grad.clone() for n, p in model.named_parameters() if p.grad is not None and ".a." in f"{n}."]

    expected, found = gradients(False, False), gradients(True, True)
    assert len(expected) == len(found) > 0
    for left, right in zip(expected, found, strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("method", PARTS)
def test_a_copy_is_a_model_of_its_own(build: Any, method: str) -> None:
    model, ids = two(build("llama", 2), method), rows(0)
    other = copy.deepcopy(model)
    expected = {name: scores(model, name, ids) for name in ("a", "b", None)}
    with use(model, "a"):
        assert torch.equal(scores(other, None, ids, chosen=False), expected["b"])
    for name, answer in expected.items():
        assert torch.equal(scores(other, name, ids), answer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(scores(other, "a", ids), expected["a"])


def test_adapters_are_not_changed_under_a_running_forward(build: Any) -> None:
    model, ids = two(build("llama", 2), "prefix"), rows(0)
    expected = scores(model, "b", ids)
    inside, go_on = threading.Event(), threading.Event()

    def wait(*_: Any) -> None:
        inside.set()
        assert go_on.wait(30)

    layer = model.get_submodule("model.layers.1")
    hook = layer.register_forward_pre_hook(wait)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(scores, model, None, ids, False)
        assert inside.wait(30)
        for change in (lambda: attach(model, LoRA(rank=2), name="c"), lambda: transfix_adapter(model, "a").detach()):
            with pytest.raises(TransfixError, match="another thread is running the model"):
                change()
        hook.remove()
        go_on.set()
        assert torch.equal(running.result(), expected)
        transfix_adapter(model, "a").detach()
        assert torch.equal(pool.submit(scores, model, None, ids, False).result(), expected)


def test_the_first_adapter_waits_for_no_forward_either(build: Any) -> None:
    """A forward of the base that has begun would end with the adapter."""
    model, ids = build("llama", 2), rows(0)
    expected = scores(model, None, ids, chosen=False)
    inside, go_on = threading.Event(), threading.Event()

    def wait(*_: Any) -> None:
        inside.set()
        assert go_on.wait(30)

    hook = model.get_submodule("model.layers.0").register_forward_pre_hook(wait)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(scores, model, None, ids, False)
        assert inside.wait(30)
        with pytest.raises(TransfixError, match="attach: another thread is running the model"):
            attach(model, PrefixTuning(tokens=3))
        hook.remove()
        go_on.set()
        assert torch.equal(running.result(), expected)
    attach(model, PrefixTuning(tokens=3))


def transfix_adapter(model: PreTrainedModel, name: str) -> Adapter:
    host = Host.of(model)
    return Adapter(name, host.adapters[name], host)


def test_an_adapter_that_is_gone_is_not_the_base(build: Any) -> None:
    model, ids = two(build("llama", 2), "prefix"), rows(0)
    with use(model, "a"):
        transfix_adapter(model, "a").detach()
        with pytest.raises(TransfixError, match="'a' was taken off the model inside a block that uses it"):
            scores(model, None, ids, chosen=False)
    assert torch.isfinite(scores(model, "b", ids)).all()


def test_a_forward_waits_for_an_adapter_that_is_put_on(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the old default as long as the new adapter has not its values."""
    model, ids = two(build("llama", 2), "prefix"), rows(0)
    begun, go_on = threading.Event(), threading.Event()
    whole = PrefixTuningMethod.initialise

    def slowly(self: Any, *args: Any) -> None:
        begun.set()
        assert go_on.wait(30)
        whole(self, *args)

    monkeypatch.setattr(PrefixTuningMethod, "initialise", slowly)
    with ThreadPoolExecutor(2) as pool:
        attaching = pool.submit(attach, model, PrefixTuning(tokens=2), name="c")
        assert begun.wait(30)
        asking = pool.submit(scores, model, None, ids, False)
        go_on.set()
        attaching.result()
        assert torch.equal(asking.result(), scores(model, "c", ids))


def test_an_interrupted_forward_leaves_nothing_on(build: Any) -> None:
    """Ctrl-C passes torch's hooks by."""
    model, ids = two(build("llama", 2), "soft_prompt"), rows(0)
    expected = scores(model, "b", ids)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    hook = model.get_submodule("model.layers.1").register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        scores(model, None, ids)
    hook.remove()
    assert Host.of(model).tokens_ahead(ids.device) == 3
    assert torch.equal(scores(model, None, ids, chosen=False), expected)


def test_an_adapter_goes_on_while_the_last_one_goes_off(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited for a host that is gone by then takes the new one."""
    model = build("llama", 2)
    before = scores(model, None, rows(0), chosen=False)
    first = attach(model, PrefixTuning(tokens=2), name="a")
    asked, ending = threading.Event(), threading.Event()
    whole_of, whole_without = Host.of.__func__, Host._without  # type: ignore[attr-defined]

    def of(cls: type[Host], *args: Any, **kwargs: Any) -> Host:
        host: Host = whole_of(cls, *args, **kwargs)
        if threading.current_thread() is not threading.main_thread():
            asked.set()
        return host

    def without(self: Host, name: str) -> None:
        ending.set()
        assert asked.wait(30)
        whole_without(self, name)

    monkeypatch.setattr(Host, "_without", without)
    monkeypatch.setattr(Host, "of", classmethod(of))
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(lambda: ending.wait(30) and attach(model, SoftPrompt(tokens=2), name="b"))
        first.detach()
        adapter = second.result()
    shake(adapter, 1)
    assert not torch.equal(scores(model, None, rows(0), chosen=False), before)
    adapter.detach()
    assert not hasattr(model, "_transfix")
    assert torch.equal(scores(model, None, rows(0), chosen=False), before)


def test_a_forward_that_waits_while_the_last_adapter_goes_off_is_the_base(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("llama", 2)
    before = scores(model, None, rows(0), chosen=False)
    first = attach(model, PrefixTuning(tokens=2))
    shake(first, 1)
    ending, begun = threading.Event(), threading.Event()
    whole_without, whole_begin = Host._without, AdapterState.begin

    def without(self: Host, name: str) -> None:
        ending.set()
        assert begun.wait(30)
        whole_without(self, name)

    def begin(self: AdapterState) -> Any:
        begun.set()
        return whole_begin(self)

    monkeypatch.setattr(Host, "_without", without)
    monkeypatch.setattr(AdapterState, "begin", begin)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(lambda: ending.wait(30) and scores(model, None, rows(0), chosen=False))
        first.detach()
        assert torch.equal(asking.result(), before)


def gradient_threads(loss: Tensor) -> None:
    """Backward as on a GPU, in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(loss.backward).result()


@pytest.mark.parametrize("method", ["lora", "prefix", "soft_prompt"])
@pytest.mark.parametrize("whole", [False, True])
def test_checkpointing_of_others(build: Any, method: str, whole: bool) -> None:
    """torch's own around layers, or around the model, says nothing of adapters: exact with the default, else refused."""
    model, ids = two(build("llama", 2), method), rows(0)
    model.train()
    expected = gradients_of(model, model(ids, use_cache=False).logits)

    def run() -> Tensor:
        if whole:
            logits: Tensor = checkpoint(lambda x: model(x, use_cache=False).logits, ids, use_reentrant=False)
            return logits
        result: Tensor = model(ids, use_cache=False).logits
        return result

    if not whole:
        for number, layer in enumerate(model.model.layers):
            model.model.layers[number] = checkpoint_wrapper(layer)
    if method == "soft_prompt" and not whole:
        with pytest.raises(TransfixError, match="layer 1 runs outside a forward of its model"):
            gradients_of(model, run())
        return
    for found, one in zip(gradients_of(model, run()), expected, strict=True):
        torch.testing.assert_close(found, one)
    with use(model, "a"):
        logits = run()
    with pytest.raises(TransfixError, match="cannot know the adapters it had"):
        gradients_of(model, logits)


def gradients_of(model: PreTrainedModel, logits: Tensor) -> list[Tensor]:
    model.zero_grad()
    gradient_threads(logits.square().mean())
    return [parameter.grad for parameter in transfix_adapter(model, "b").parameters() if parameter.grad is not None]


def test_a_choice_does_not_reach_copies_of_data_parallel(build: Any) -> None:
    """DataParallel marks its copies so, and runs them in threads of its own."""
    model, ids = two(build("llama", 2), "prefix"), rows(0)
    model.model._is_replica = True
    with ThreadPoolExecutor(1) as pool:
        assert torch.isfinite(pool.submit(scores, model, None, ids, False).result()).all()
        with use(model, "a"), pytest.raises(TransfixError, match="DataParallel"):
            pool.submit(scores, model, None, ids, False).result()
        assert torch.isfinite(pool.submit(scores, model, "a", ids).result()).all()


ORIGINAL = 16
ROPES: dict[str, dict[str, Any]] = {
    "longrope": {
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
        "factor": 4.0,
        "original_max_position_embeddings": ORIGINAL,
    },
    "dynamic": {"factor": 4.0},
}


@pytest.mark.parametrize("kind", ROPES)
def test_positions_that_depend_on_a_forwards_length(kind: str) -> None:
    """transformers keeps on the module what the last forward's length asked for."""
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=VOCABULARY,
        max_position_embeddings=ORIGINAL if kind == "dynamic" else 4 * ORIGINAL,
        rope_parameters={"rope_type": kind, "rope_theta": 1e4, **ROPES[kind]},
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config).eval()
    adapter = attach(model, PrefixTuning(tokens=3))
    inputs = [rows(0, 9), rows(1, 40)]
    alone = [scores(model, None, ids, chosen=False) for ids in inputs]
    calls = [lambda ids=ids: scores(model, None, ids, chosen=False) for ids in inputs]
    for expected, found in zip(alone, together(calls, rounds=40), strict=True):
        assert all(torch.equal(answer, expected) for answer in found)
    other = copy.deepcopy(model)
    assert vars(other.model.rotary_emb)["forward"].module is other.model.rotary_emb
    adapter.detach()
    assert "forward" not in vars(model.model.rotary_emb)
