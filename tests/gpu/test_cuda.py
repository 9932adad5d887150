"""On a GPU: the numbers of the CPU, whatever is fast there. Skipped where there is none."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, PreTrainedTokenizerFast

from transfix import FullFineTuning, LlamaAdapter, LoRA, PrefixTuning, SoftPrompt, attach, batches, use
from transfix.batches import Encoded, TokenSequence
from transfix.evaluation.generation import Decoding, attention, engine, forward, generate
from transfix.evaluation.scoring import log_likelihoods, score_choices
from transfix.training import AdapterTrainer, Choices, Texts
from transfix.training.kept import KeptLayers
from transfix.training.trainer import Settings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

VOCABULARY = 256
METHODS: dict[str, Any] = {
    "prefix": [PrefixTuning(tokens=5)],
    "unprojected": [PrefixTuning(tokens=5, projection="none")],
    "llama_adapter": [LlamaAdapter(tokens=5)],
    "soft_prompt": [SoftPrompt(tokens=5)],
    "lora": [LoRA(rank=4)],
    "hybrid": [PrefixTuning(tokens=3, layers=2), LoRA(rank=2)],
    "full": [FullFineTuning()],
}
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.1,
}


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    """float32 products in float32."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture(params=["llama", "gemma3"])
def base(request: pytest.FixtureRequest) -> Any:
    """A small random model on the CPU, in float32; Gemma's window is shorter than the rows."""
    torch.manual_seed(0)
    if request.param == "llama":
        config: Any = LlamaConfig(**SIZES)
    else:
        kinds = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]
        config = Gemma3TextConfig(**SIZES, sliding_window=24, layer_types=kinds)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def _rows(count: int = 12) -> list[tuple[int, ...]]:
    """Rows of different lengths; every second begins like the one before."""
    generator = torch.Generator().manual_seed(1)
    found: list[tuple[int, ...]] = []
    for number in range(count):
        tokens = torch.randint(
            3, VOCABULARY, (int(torch.randint(8, 40, (1,), generator=generator)),), generator=generator
        )
        row = tuple(tokens.tolist())
        found.append((*found[-1][:6], *row[6:]) if number % 2 else row)
    return found


def _both(base: Any, method: str) -> list[Any]:
    """The same adapter on a CPU and on a GPU; what is zero at the start no longer is."""
    made = []
    for device in ("cpu", "cuda"):
        model = copy.deepcopy(base).to(device)
        adapter = attach(model, *METHODS[method], seed=3)
        generator = torch.Generator().manual_seed(5)
        for name, tensor in adapter.tensors().items():
            if "gate" in name or method in ("lora", "hybrid"):
                tensor.data += 0.1 * torch.randn(tensor.shape, generator=generator).to(device)
        made.append(adapter)
    return made


def _settings(output: Path, checkpointing: bool = False) -> Settings:
    return Settings(output, 1e-2, 0.0, "constant", 0.0, 1.0, 10**9, None, 10**9, checkpointing, 0)


def _choices() -> Choices:
    return Choices(torch.arange(12) % 3, torch.tensor([5, 6, 7]), 0)


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_those_of_the_cpu(base: Any, method: str) -> None:
    prompts = [Encoded(row, False) for row in _rows()]
    on_cpu, on_gpu = (score_choices(a.model, prompts, torch.tensor([5, 6, 7]), 0) for a in _both(base, method))
    torch.testing.assert_close(on_gpu, on_cpu, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_and_neighbours_change_nothing(base: Any, method: str, dtype: torch.dtype) -> None:
    adapter = _both(base.to(dtype), method)[1]
    rows, words = _rows(), torch.tensor([5, 6, 7])
    together = score_choices(adapter.model, [Encoded(row, False) for row in rows], words, 0)
    alone = torch.cat([score_choices(adapter.model, [Encoded(row, False)], words, 0) for row in rows])
    tolerance = 1e-4 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(together, alone, atol=tolerance, rtol=tolerance)


def test_rows_of_several_adapters_are_those_of_each_alone(base: Any) -> None:
    model = base.to("cuda")
    attach(model, PrefixTuning(tokens=5), name="short", seed=1)
    attach(model, PrefixTuning(tokens=9), name="long", seed=2)
    ids = torch.randint(3, VOCABULARY, (3, 10), device="cuda")
    with torch.no_grad():
        with use(model, ["short", None, "long"]):
            mixed = model(ids).logits
        for row, name in enumerate(["short", None, "long"]):
            with use(model, name):
                torch.testing.assert_close(mixed[row], model(ids[row : row + 1]).logits[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_gives_the_weights_of_the_cpu(base: Any, method: str, checkpointing: bool, tmp_path: Path) -> None:
    trained = []
    for adapter in _both(base, method):
        device = adapter.model.device.type
        sequences = [TokenSequence(index, row) for index, row in enumerate(_rows())]
        steps = batches.training_steps(batches.shared(adapter.model, sequences, 128, widest=4), 2, 4, 128, 0)
        AdapterTrainer(adapter, steps, _choices(), _settings(tmp_path / device, checkpointing)).run()
        trained.append({name: tensor.detach().cpu() for name, tensor in adapter.tensors().items()})
    for name, tensor in trained[0].items():
        # Adam divides by the root of the second moment: where a gradient is all but zero its sign decides
        apart = (trained[1][name] - tensor).abs() > 2e-3
        assert apart.float().mean() < 0.02, name


@pytest.mark.parametrize("method", ["prefix", "llama_adapter", "lora"])
def test_learning_texts_and_kept_layers(base: Any, method: str, tmp_path: Path) -> None:
    part = METHODS[method][0].model_copy(update={"layers": 2})
    losses = []
    for device, keep in (("cpu", False), ("cuda", False), ("cuda", True)):
        adapter = attach(copy.deepcopy(base).to(device), part, seed=3)
        rows = _rows()
        objective = Texts([row[-4:] for row in rows], 0)
        sequences = [TokenSequence(index, row[:-1], 4) for index, row in enumerate(rows)]
        steps = batches.training_steps(batches.shared(adapter.model, sequences, 128, widest=4), 2, 4, 128, 0)
        output = tmp_path / f"{device}{keep}"
        kept = KeptLayers.of(adapter, steps, 2, 0, output) if keep else None
        trainer = AdapterTrainer(adapter, steps, objective, _settings(output), None, (), kept)
        trainer.run()
        losses.append(next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_texts_are_those_of_the_cpu(base: Any, method: str) -> None:
    tokenizer = _tokenizer()
    prompts = [Encoded(row, False) for row in _rows()]
    written = [generate(a.model, tokenizer, prompts, Decoding(max_new_tokens=24)) for a in _both(base, method)]
    assert [text.tokens for text in written[1]] == [text.tokens for text in written[0]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_text_depends_on_its_row_alone(base: Any, method: str, dtype: torch.dtype) -> None:
    adapter = _both(base.to(dtype), method)[1]
    prompts, decoding = [Encoded(row, False) for row in _rows()], Decoding(max_new_tokens=24, batch_rows=8)
    together = generate(adapter.model, _tokenizer(), prompts, decoding)
    for number, prompt in enumerate(prompts):
        (alone,) = generate(adapter.model, _tokenizer(), [prompt], decoding)
        assert alone.tokens == together[number].tokens


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_recorded_steps_write_the_same(
    base: Any, method: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        attention, "block_size", lambda device: 16
    )  # several sizes of the cache, each with its own record
    adapter = _both(base.to(dtype), method)[1]
    prompts, made = [Encoded(row, False) for row in _rows(20)], []
    written = {}
    for recording in (True, False):

        class Watched(forward.Forward):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.recording = self.recording and recording  # noqa: B023
                made.append(self)

        monkeypatch.setattr(engine, "Forward", Watched)
        written[recording] = generate(adapter.model, _tokenizer(), prompts, Decoding(max_new_tokens=24, batch_rows=4))
    assert [text.tokens for text in written[True]] == [text.tokens for text in written[False]]
    assert (len(made[0].recorded) > 1) == (method != "soft_prompt")
    assert not made[1].recorded


def test_likelihoods_are_those_of_the_cpu(base: Any) -> None:
    continuations = [(row, 3) for row in _rows()]
    on_cpu, on_gpu = (log_likelihoods(a.model, continuations, 0) for a in _both(base, "prefix"))
    torch.testing.assert_close(on_gpu[0], on_cpu[0], atol=1e-3, rtol=1e-4)
    assert torch.equal(on_gpu[1], on_cpu[1])


def test_transformers_generate_goes_on_as_the_engine_does(base: Any) -> None:
    adapter = _both(base, "prefix")[1]
    row = _rows()[0]
    (text,) = generate(adapter.model, _tokenizer(), [Encoded(row, False)], Decoding(max_new_tokens=12))
    found = adapter.model.generate(torch.tensor([row], device="cuda"), max_new_tokens=12, do_sample=False)
    assert tuple(found[0, len(row) :].tolist()) == tuple(text.tokens)


def _tokenizer() -> PreTrainedTokenizerFast:
    words = {f"w{number}": number for number in range(VOCABULARY)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="w0")), eos_token="w2")
