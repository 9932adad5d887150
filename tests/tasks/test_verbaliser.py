"""Label words must be one token each, right after the prompt, in this model's tokenizer."""

from __future__ import annotations

import os
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from transfix import data, tasks

TASK = tasks.get("xnli")
TEXT = "It rained all day. Yes, no, maybe: is that true or false? " * 20


def wrap(tokenizer: Tokenizer, **tokens: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens)


@pytest.fixture(scope="module")
def byte_level() -> PreTrainedTokenizerFast:
    """As GPT-2, Llama 3, Qwen and SmolLM2 have it: a word's token begins with its space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    corpus = [" yes no maybe true false yes no maybe true false" * 20, TEXT, "Answer:\n a? \n" * 20]
    tokenizer.train_from_iterator(corpus, trainer)
    return wrap(tokenizer)


@pytest.fixture(scope="module")
def whole_words() -> PreTrainedTokenizerFast:
    """A word-level vocabulary with an unknown token."""
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "Answer", ":", "yes", "no", "maybe", "true", "false"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return wrap(tokenizer, unk_token="[UNK]")


def words(entailment: str, neutral: str, contradiction: str) -> dict[str, str]:
    return {"entailment": entailment, "neutral": neutral, "contradiction": contradiction}


def test_token_is_the_one_that_follows(byte_level: PreTrainedTokenizerFast) -> None:
    tokens = tasks.check_verbaliser(TASK, byte_level)
    assert list(tokens) == list(TASK.classes)
    assert len(set(tokens.values())) == 3
    example = data.Example("x", "eng_Latn", {"premise": "It rained.", "hypothesis": "It was dry"}, None)
    prompt = TASK.prompt(example)
    for name, token in tokens.items():
        after = byte_level(prompt + TASK.verbaliser[name])["input_ids"]
        assert after == [*byte_level(prompt)["input_ids"], token]
    assert tasks.check_verbaliser(TASK, byte_level, [example]) == tokens


def test_special_tokens_do_not_count(byte_level: PreTrainedTokenizerFast) -> None:
    from tokenizers.processors import TemplateProcessing

    copy = Tokenizer.from_str(byte_level.backend_tokenizer.to_str())
    copy.add_special_tokens(["<s>", "</s>"])
    ids = [(token, copy.token_to_id(token)) for token in ("<s>", "</s>")]
    copy.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=ids)
    assert tasks.check_verbaliser(TASK, wrap(copy)) == tasks.check_verbaliser(TASK, byte_level)


def test_word_of_several_tokens(byte_level: PreTrainedTokenizerFast) -> None:
    task = TASK.with_options(verbaliser=words(" indubitably", " maybe", " no"))
    with pytest.raises(tasks.VerbaliserError) as error:
        tasks.check_verbaliser(task, byte_level)
    (problem,) = error.value.problems
    assert problem.where == "verbaliser.entailment"
    assert "' indubitably' is" in problem.what
    assert "tokens after the prompt: ' " in problem.what
    assert problem.allowed is not None
    assert problem.allowed.startswith("one token each: ' yes'")


def test_all_bad_words_at_once(byte_level: PreTrainedTokenizerFast) -> None:
    task = TASK.with_options(verbaliser=words(" indubitably", " perchance", " no"))
    with pytest.raises(tasks.VerbaliserError) as error:
        tasks.check_verbaliser(task, byte_level)
    assert [problem.where for problem in error.value.problems] == ["verbaliser.entailment", "verbaliser.neutral"]


def test_word_that_merges_with_the_prompt(byte_level: PreTrainedTokenizerFast) -> None:
    """A template that ends in a space swallows the word's: the prompt's last token changes."""
    task = TASK.with_options("{{premise}}\n{{hypothesis}}\nAnswer: ", words("yes", "maybe", "no"))
    with pytest.raises(tasks.VerbaliserError, match=r"'yes' merges with the end of the prompt.*end the template with"):
        tasks.check_verbaliser(task, byte_level)


def test_merging_is_found_on_the_rows_that_do_it(byte_level: PreTrainedTokenizerFast) -> None:
    """A template that ends in a text is as good as the last character of every text."""
    task = TASK.with_options("{{premise}}\n{{hypothesis}}", words("yes", "maybe", "no"))
    with pytest.raises(tasks.VerbaliserError, match="merges with the end"):
        tasks.check_verbaliser(task, byte_level)


def test_words_that_share_a_token() -> None:
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "answer", ":", "yes", "no", "maybe"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    from tokenizers.normalizers import Lowercase

    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    task = TASK.with_options(verbaliser=words(" yes", " maybe", " YES"))
    with pytest.raises(
        tasks.VerbaliserError, match=r"' YES' is the same token \(3\) as ' yes' .*one token each: ' no'"
    ):
        tasks.check_verbaliser(task, wrap(tokenizer, unk_token="[UNK]"))


def test_word_outside_the_vocabulary(whole_words: PreTrainedTokenizerFast) -> None:
    assert tasks.check_verbaliser(TASK, whole_words) == {"entailment": 3, "neutral": 5, "contradiction": 4}
    task = TASK.with_options(verbaliser=words(" yes", " perchance", " no"))
    with pytest.raises(tasks.VerbaliserError, match="' perchance' is not in the vocabulary"):
        tasks.check_verbaliser(task, whole_words)


def test_rows_of_one_premise_share_their_tokens(byte_level: PreTrainedTokenizerFast) -> None:
    """What makes scoring of the hypotheses of one premise cheap: they differ only after it."""
    premise = "It rained all day, and no one came."
    one, other = (
        byte_level(TASK.prompt(data.Example("x", "eng_Latn", {"premise": premise, "hypothesis": text}, None)))[
            "input_ids"
        ]
        for text in ("Yes, it rained.", "All is true.")
    )
    shared = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert shared >= len(byte_level(premise)["input_ids"])


def test_default_words_in_real_tokenizers() -> None:
    """On a machine that has them: TRANSFIX_TEST_TOKENIZERS lists tokenizer directories."""
    paths = [path for path in os.environ.get("TRANSFIX_TEST_TOKENIZERS", "").split(os.pathsep) if path]
    if not paths:
        pytest.skip("needs tokenizer directories in TRANSFIX_TEST_TOKENIZERS")
    for path in paths:
        tokenizer: Any = AutoTokenizer.from_pretrained(path)
        for name in tasks.names():
            assert len(tasks.check_verbaliser(tasks.get(name), tokenizer)) == 3
