"""The parts of generation: settings, attention over rows, the head, the next token, the end of a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedModel

from transfix import models
from transfix.adapters import attach
from transfix.adapters.methods import LoRA
from transfix.batches import encode
from transfix.errors import ProblemsError
from transfix.evaluation.generation import Decoding, Generated, attention, generate, packed
from transfix.evaluation.generation.choosing import choose, draw
from transfix.evaluation.generation.endings import Endings
from transfix.evaluation.generation.head import _highest, precise_head


def test_tests_check_shapes() -> None:
    choose(torch.zeros(2, 5), Decoding(), [])
    with pytest.raises(jaxtyping.TypeCheckError, match="rows vocabulary"):
        choose(torch.zeros(5), Decoding(), [])


def test_settings_out_of_range_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProblemsError) as caught:
        Decoding(max_new_tokens=0, stop=("a", ""), temperature=-1.0, top_p=0.0, batch_rows=0)
    assert [problem.where for problem in caught.value.problems] == [
        *("max_new_tokens", "stop", "temperature", "top_p", "batch_rows")
    ]
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as without the checks of the tests
    with pytest.raises(ProblemsError, match=r"stop: '###' \(allowed: a tuple of texts"):
        Decoding(stop="###")  # type: ignore[arg-type]


# weights in the layout of the product


@pytest.mark.skipif(not packed._supported(), reason="needs oneDNN's products in bfloat16")
def test_packed_weights_change_no_bit_and_leave_nothing(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = models.load(str(tiny_model), dtype="bfloat16", device="cpu")
    model = loaded.model.eval()
    attach(model, LoRA(rank=2))
    ids = torch.randint(5, 90, (3, 7), generator=torch.Generator().manual_seed(0))
    linear = [m for m in model.modules() if type(m) is nn.Linear and m.weight.dtype == torch.bfloat16]
    with torch.inference_mode():
        expected = model(ids).logits
        with packed.packed_weights(model) as taken:
            assert taken == sum(module.weight.nbytes for module in linear)
            assert torch.equal(model(ids).logits, expected)
        assert not any("forward" in vars(module) for module in model.modules())
        monkeypatch.setattr(packed, "MOST", model.get_output_embeddings().weight.nbytes)
        with packed.packed_weights(model) as taken:
            assert taken == packed.MOST  # the head alone
            assert torch.equal(model(ids).logits, expected)
        with packed.packed_weights(model.float()) as taken:
            assert taken == 0


# attention


def _qkv(heads: int, groups: int, size: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = (4, heads, 1, size), (4, groups, keys, size), (4, groups, keys, size)
    query, key, value = (torch.randn(shape, generator=generator) for shape in shapes)
    return query, key, value


@pytest.mark.parametrize(("heads", "groups", "size"), [(4, 2, 16), (4, 1, 32), (3, 3, 8)])
@pytest.mark.parametrize("prefix", [0, 3, 40])
def test_row_attention_is_attention(
    heads: int, groups: int, size: int, prefix: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "block_size", lambda device: 16)
    query, key, value = _qkv(heads, groups, size, prefix + 32)
    seen = torch.arange(prefix + 32) < prefix + torch.tensor([[1], [20], [32], [16]])
    repeated = (tensor.repeat_interleave(heads // groups, dim=1) for tensor in (key, value))
    expected = nn.functional.scaled_dot_product_attention(query, *repeated, attn_mask=seen[:, None, None], scale=0.3)
    columns = key[:, :, :prefix], value[:, :, :prefix], seen[:, None, None, :prefix]

    def attend(rows: slice, slots: slice) -> Tensor:
        return attention.row_attention(
            nn.Identity(),
            query[rows],
            key[rows, :, slots],
            value[rows, :, slots],
            seen[rows, None, None, slots],
            scaling=0.3,
            prefix=(columns[0][rows], columns[1][rows], columns[2][rows]) if prefix else None,
        )[0]

    found = attend(slice(None), slice(prefix, None))
    torch.testing.assert_close(found, expected.transpose(1, 2))
    # the first and the last row alone need fewer keys
    assert torch.equal(attend(slice(0, None, 3), slice(prefix, prefix + 16)), found[::3])


def test_row_attention_with_several_tokens_and_soft_capping() -> None:
    query, key, value = _qkv(4, 4, 8, 6)
    query = torch.cat([query, query.flip(0)], dim=2)
    seen = torch.ones(2, 6, dtype=torch.bool).tril(4)[None, None].expand(4, -1, -1, -1)
    scores = 2 * torch.tanh(query @ key.transpose(-1, -2) * 8**-0.5 / 2)
    expected = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value
    found, _ = attention.row_attention(nn.Identity(), query, key, value, seen, softcap=2.0)
    torch.testing.assert_close(found, expected.transpose(1, 2))


def test_a_window_kept_in_few_slots() -> None:
    def window(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (key > query - 3)

    mask = attention.row_mask(3, 1, 4, torch.tensor([1, 3, 9]), mask_function=window)
    assert mask is not None
    # slots of position 1: 0 1 . . ; of position 3: 0 1 2 3; of position 9: 8 9 6 7
    assert mask[:, 0, 0].int().tolist() == [[1, 1, 0, 0], [0, 1, 1, 1], [1, 1, 0, 1]]


# the head


def test_logits_that_bfloat16_cannot_tell_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(64, 500, bias=True, dtype=torch.bfloat16)
    with torch.no_grad():
        head.weight.copy_(torch.randn(500, 64, generator=generator))
        head.bias.copy_(torch.randn(500, generator=generator))
    hidden = torch.randn(200, 1, 64, generator=generator).bfloat16()
    model = Mock(spec=PreTrainedModel, get_output_embeddings=lambda: head)
    exact = hidden.float() @ head.weight.float().T + head.bias.float()
    with torch.no_grad(), precise_head(model):
        logits = head(hidden)
    assert logits.dtype == torch.float32
    assert torch.equal(logits.argmax(-1), exact.argmax(-1))
    assert not torch.equal(head(hidden).argmax(-1), exact.argmax(-1)), "no ties, so nothing was tested"
    torch.testing.assert_close(logits, exact, atol=0.07, rtol=0.01)
    assert "forward" not in vars(head)
    with torch.no_grad(), precise_head(model, only_best=True) as words:
        best = words.named(head(hidden)[:, -1].argmax(-1))
    assert torch.equal(best, exact[:, -1].argmax(-1))


@pytest.mark.parametrize("vocabulary", [512 * 256, 40 * 64, 4001, 9])
def test_the_highest_logits_are_found_whatever_the_vocabulary(vocabulary: int) -> None:
    logits = torch.randn(7, 2, vocabulary, generator=torch.Generator().manual_seed(1)).bfloat16()
    found, expected = _highest(logits), logits.topk(min(16, vocabulary))
    assert torch.equal(logits.gather(-1, found).sort(-1).values, expected.values.sort(-1).values)
    assert (found.sort(-1).values.diff(dim=-1) > 0).all()


# the next token

SHARES = torch.tensor([0.35, 0.25, 0.2, 0.1, 0.05, 0.03, 0.02])


def _counts(decoding: Decoding, shares: Tensor, many: int = 4000) -> Tensor:
    draws = [draw(decoding.seed, f"row {number % 50}", number // 50) for number in range(many)]
    tokens, highest = choose(shares.log().expand(many, -1), decoding, draws)
    assert torch.equal(highest, shares.log().max().expand(many))
    return torch.bincount(tokens, minlength=len(shares))


def _chi_square(counts: Tensor, shares: Tensor) -> float:
    expected = shares / shares.sum() * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


def test_tokens_are_drawn_with_their_probabilities() -> None:
    order = torch.tensor([3, 6, 0, 5, 1, 4, 2])
    counts = _counts(Decoding(temperature=1.0), SHARES[order])
    assert _chi_square(counts, SHARES[order]) < 22.5  # of 6 degrees of freedom: 1 in 1,000
    warmer = _counts(Decoding(temperature=2.0, seed=1), SHARES)
    assert _chi_square(warmer, SHARES**0.5) < 22.5
    assert _chi_square(warmer, SHARES) > 100


def test_the_nucleus() -> None:
    order = torch.tensor([3, 6, 0, 5, 1, 4, 2])
    for top_p, kept in ((0.3, 1), (0.6, 2), (0.61, 3), (0.85, 4), (1.0, 7)):
        counts = _counts(Decoding(temperature=1.0, top_p=top_p), SHARES[order])
        inside = torch.argsort(order)[:kept]
        assert int(counts[inside].sum()) == counts.sum(), (top_p, counts)
        if kept > 1:
            assert _chi_square(counts[inside], SHARES[:kept]) < 22.5


def test_a_nucleus_of_most_of_a_large_vocabulary() -> None:
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(30, 5000, generator=generator) * 0.1
    peaked = flat.clone()
    peaked[:, 7] = 20.0
    decoding, draws = Decoding(temperature=1.0, top_p=0.9), [draw(0, "a", number) for number in range(30)]
    tokens, _ = choose(flat, decoding, draws)
    mixed, _ = choose(torch.cat([peaked[:15], flat[15:]]), decoding, draws)
    assert torch.equal(mixed[15:], tokens[15:]), "a row's token depends on the other rows"
    assert mixed[:15].tolist() == [7] * 15
    for row, token in enumerate(tokens.tolist()):
        above = flat[row].softmax(-1)[flat[row] > flat[row, token]].sum()
        assert above < 0.9
    ranks = [int((flat[row] > flat[row, token]).sum()) for row, token in enumerate(tokens.tolist())]
    assert max(ranks) > 1024, "all among the likeliest"


def test_a_draw_depends_on_each_of_its_arguments() -> None:
    numbers = {draw(seed, key, position) for seed in range(10) for key in "abcdefghij" for position in range(10)}
    assert len(numbers) == 1000
    assert 0 <= min(numbers) < 0.01
    assert 0.99 < max(numbers) < 1
    assert draw(3, "a", 4) == draw(3, "a", 4)


def test_greedy_is_the_limit_of_low_temperatures() -> None:
    logits = torch.randn(40, 300, generator=torch.Generator().manual_seed(1))
    greedy, _ = choose(logits, Decoding(), [])
    for top_p in (1.0, 0.9):
        drawn, _ = choose(logits, Decoding(temperature=1e-4, top_p=top_p), [draw(0, "", row) for row in range(40)])
        assert torch.equal(drawn, greedy)
    assert torch.equal(greedy, logits.argmax(-1))


# the end of a text


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


def _ended(tokenizer: Any, tokens: list[int], **settings: Any) -> tuple[Generated | None, int]:
    """The text, and after how many tokens it ended."""
    endings = Endings(Mock(spec=PreTrainedModel, generation_config=None), tokenizer, Decoding(**settings))
    for length in range(1, len(tokens) + 1):
        if (found := endings(tokens[:length])) is not None:
            return found, length
    return None, len(tokens)


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("It is so.\n\nQuestion: what?", ("\n\n",), "It is so."),
        ("It is so.\n\nQuestion: what?", ("Question:", "so.\n"), "It is "),
        ("答えは七です。次の問題", ("。",), "答えは七です"),
        ("答えは七です。次の問題", ("で",), "答えは七"),
        ("उत्तर सात है। अगला", ("।", "ग"), "उत्तर सात है"),
        ("คำตอบคือ 7\nคำถาม", ("\n",), "คำตอบคือ 7"),
        ("a 🙂 b", ("🙂",), "a "),
        ("stop", ("stop",), ""),
    ],
)
def test_stop_texts(tokenizer: Any, text: str, stop: tuple[str, ...], expected: str) -> None:
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    found, length = _ended(tokenizer, tokens, stop=stop)
    assert found == Generated(expected, tuple(tokens[:length]), "stop")
    assert not any(word in tokenizer.decode(tokens[: length - 1]) for word in stop), "later than it could be"


def test_a_stop_text_across_tokens(tokenizer: Any) -> None:
    pieces = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("the e", "nd o", "f it")]
    tokens = [token for piece in pieces for token in piece]
    assert tokens != tokenizer("the end of it", add_special_tokens=False)["input_ids"]
    found, length = _ended(tokenizer, tokens, stop=("end of",))
    assert found == Generated("the ", tuple(tokens[:length]), "stop")
    assert _ended(tokenizer, tokens, stop=("END",)) == (None, len(tokens))
    assert _ended(tokenizer, tokens, max_new_tokens=2)[0] == Generated("the", tuple(tokens[:2]), "length")


def test_special_tokens(tokenizer: Any) -> None:
    tokens = [*tokenizer("yes", add_special_tokens=False)["input_ids"], tokenizer.pad_token_id, tokenizer.eos_token_id]
    assert _ended(tokenizer, tokens)[0] == Generated("yes", tuple(tokens), "end")
    assert _ended(tokenizer, tokens, stop=("<eos>",))[0] == Generated("yes", tuple(tokens), "stop")
    assert _ended(tokenizer, tokens, stop=("<pad>",))[0] == Generated("yes", tuple(tokens[:-1]), "stop")


def test_a_model_with_a_tokenizer_of_bytes(tiny_model: Path) -> None:
    """The sizes of blocks and pieces as they are, prompts beyond the sliding window, stop texts taken from the answers."""
    loaded = models.load(tiny_model, dtype="bfloat16", device="cpu")
    texts = ["Why is it so? " * length for length in (1, 9, 40, 3)]
    prompts = encode(loaded.tokenizer, texts, None)
    lengths = [len(prompt.tokens) for prompt in prompts]
    assert min(lengths) < 64 < 128 < max(lengths)
    whole = generate(loaded.model, loaded.tokenizer, prompts, Decoding(max_new_tokens=60))
    alone = [generate(loaded.model, loaded.tokenizer, [prompt], Decoding(max_new_tokens=60))[0] for prompt in prompts]
    assert alone == whole
    stop = tuple(answer.text[9 + row : 13 + row] for row, answer in enumerate(whole))
    stopped = generate(loaded.model, loaded.tokenizer, prompts, Decoding(max_new_tokens=60, stop=stop))
    for answer, long in zip(stopped, whole, strict=True):
        assert answer.finished == "stop"
        assert answer.text == long.text[: min(place for word in stop if (place := long.text.find(word)) >= 0)]
        assert answer.tokens == long.tokens[: len(answer.tokens)]
