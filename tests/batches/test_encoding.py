"""Prompts as tokens: the middle of a long one is left out, and that is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from transfix.batches import Encoded, encode

PROMPTS = ["Two men walk.\nNobody walks.\nAnswer:", "Rain.\nIt rains.\nAnswer:"]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model)


def test_the_tokenizers_own_tokens(tokenizer: Any) -> None:
    found = encode(tokenizer, PROMPTS, None)
    assert found == [Encoded(tuple(tokenizer(prompt)["input_ids"]), False) for prompt in PROMPTS]
    assert all(row.tokens[0] == tokenizer.bos_token_id for row in found)
    assert encode(tokenizer, [], 10) == []


def test_a_few_rows_at_a_time(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer gets a part of the rows at a time; what comes out is the same, and what was cut is still said."""
    prompts = [*PROMPTS, PROMPTS[1], PROMPTS[0], "Snow."]
    whole = encode(tokenizer, prompts, 20)
    assert [row.truncated for row in whole] == [True, False, False, True, False]
    monkeypatch.setattr("transfix.batches.encoding.ROWS", 2)
    assert encode(tokenizer, prompts, 20) == whole


@pytest.mark.parametrize("most", [8, 9, 20])
def test_the_middle_is_left_out(tokenizer: Any, most: int) -> None:
    whole = encode(tokenizer, PROMPTS, None)
    assert len(whole[0].tokens) > 20 >= len(whole[1].tokens)
    found = encode(tokenizer, PROMPTS, most)
    for row, uncut in zip(found, whole, strict=True):
        assert row.truncated == (len(uncut.tokens) > most)
        assert len(row.tokens) == min(most, len(uncut.tokens))
        if row.truncated:
            head = most // 2
            assert row.tokens == uncut.tokens[:head] + uncut.tokens[-(most - head) :]


def test_exactly_as_long_as_allowed_is_not_cut(tokenizer: Any) -> None:
    (whole,) = encode(tokenizer, PROMPTS[:1], None)
    assert encode(tokenizer, PROMPTS[:1], len(whole.tokens)) == [whole]
    assert encode(tokenizer, PROMPTS[:1], len(whole.tokens) - 1)[0].truncated


def test_an_end_token_is_dropped() -> None:
    """Some tokenizers close every text; the answer would then follow an end."""
    letters = {"<pad>": 0, "<s>": 1, "</s>": 2, **{chr(code): code for code in range(97, 105)}}
    backend = Tokenizer(models.WordLevel(letters, unk_token="<pad>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    assert tokenizer("ab")["input_ids"] == [1, 97, 98, 2]
    assert encode(tokenizer, ["ab", "c"], None) == [Encoded((1, 97, 98), False), Encoded((1, 99), False)]
    assert encode(tokenizer, ["abcdefgh"], 9) == [Encoded((1, *map(ord, "abcdefgh")), False)]
