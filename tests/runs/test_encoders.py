"""Runs on encoders: the task's classes are the head's, rows are read as pairs, and what they cannot do is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests import tiny
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from transfix import adapters, data, models, tasks
from transfix.errors import TransfixError
from transfix.report import settings
from transfix.runs import answering, classifying, run, training
from transfix.runs.specification import RunSpec
from transfix.runs.store import RunStore

Content = dict[str, Any]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_encoder(tmp_path_factory.mktemp("encoders") / "tiny-bert")


@pytest.fixture
def on(content: Callable[..., Content], encoder: Path) -> Callable[..., RunSpec]:
    return lambda *args, **changes: RunSpec.load(content(*args, **{"model": str(encoder), **changes}))


def test_a_run_is_trained_measured_and_the_same_again(
    on: Callable[..., RunSpec], store: RunStore, encoder: Path
) -> None:
    spec = on("lora", train={"epochs": 2, "learning_rate": 0.01})
    trained = run.train(spec, store)
    record = json.loads((trained.path / "adapter" / "adapter.json").read_text())
    assert [part["method"] for part in record["parts"]] == ["lora", "task_head"]
    assert trained.training is not None
    assert trained.training["head_classes"] == ["entailment", "neutral", "contradiction"]
    shapes = [np.prod(shape) for shape in record["shapes"].values()]
    assert trained.training["trainable_parameters"] == sum(shapes)
    metrics = run.evaluate(trained)
    assert "deu_Latn" in json.dumps(metrics)
    frame = trained.predictions("xnli", "deu_Latn")
    assert frame is not None
    scores = np.array(frame["option_scores"].tolist())
    np.testing.assert_allclose(np.exp(scores).sum(-1), 1, atol=1e-5)
    classes = tasks.get("xnli").classes
    assert [classes[number] for number in scores.argmax(-1)] == frame["answer"].tolist()
    meta = trained.predictions_meta("xnli", "deu_Latn")
    assert meta is not None
    assert meta["scoring"] == "classes of the head"
    said = {setting.name: setting.value for setting in settings.asked([("LoRA", [meta])])}
    assert said["Scoring"] == "classes of the head"
    assert not any("rompt" in name or "abel" in name for name in said)

    # by transformers alone, one row at a time, on a base whose head is another random one
    torch.manual_seed(5)
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=3).eval()
    adapters.load_adapter(model, trained.path / "adapter")
    tokenizer: Any = AutoTokenizer.from_pretrained(encoder)
    for row, found in zip(data.load("xnli", "snapshot", "deu_Latn", "test", 6), scores, strict=True):
        inputs = tokenizer(row.fields["premise"], row.fields["hypothesis"], return_tensors="pt")
        assert 1 in inputs["token_type_ids"]
        with torch.no_grad():
            np.testing.assert_allclose(model(**inputs).logits.log_softmax(-1)[0].numpy(), found, atol=1e-4)

    second = run.train(spec, RunStore(trained.path.parent.with_name("again")))
    assert (second.path / "adapter" / "adapter.safetensors").read_bytes() == (
        trained.path / "adapter" / "adapter.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("kind", "adapter"), [("xlm-roberta", "prefix"), ("modernbert", "llama_adapter"), ("bert", "full")]
)
def test_every_kind_and_method(
    kind: str, adapter: str, on: Callable[..., RunSpec], store: RunStore, tmp_path: Path
) -> None:
    where = tiny.save_encoder(tmp_path / kind, kind)
    trained = run.train(on(adapter, model=str(where)), store)
    run.evaluate(trained)
    frame = trained.predictions("xnli", "eng_Latn")
    assert frame is not None
    assert len(frame) == 6


def test_it_learns(encoder: Path) -> None:
    """What only the second text says: a head on the right pair learns it, on texts cut short too."""
    loaded = models.load(encoder, dtype="float32", device="cpu", classes=("yes", "no"), seed=1)
    task = tasks.get("mnli")
    rows = data.load("mnli", "snapshot", "eng_Latn", "train", 24)
    again = models.load(encoder, dtype="float32", device="cpu", classes=("yes", "no"), seed=1)
    other = models.load(encoder, dtype="float32", device="cpu", classes=("yes", "no"), seed=2)
    heads = [one.model.get_submodule("classifier").weight for one in (loaded, again, other)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert loaded.untrained_head
    with pytest.raises(
        TransfixError, match="mnli chooses among entailment, neutral, contradiction, and the head among yes, no"
    ):
        classifying.texts_as_pairs(loaded, task, rows, 64)


def test_the_loss_is_that_of_the_rows_one_by_one(encoder: Path) -> None:
    from transfix import batches

    task = tasks.get("mnli")
    rows = data.load("mnli", "snapshot", "eng_Latn", "train", 6)
    loaded = models.load(encoder, dtype="float32", device="cpu", classes=task.classes)
    encoded = training.encode_rows(loaded, task, rows, 40)
    assert encoded.truncated > 0
    assert max(len(row.tokens) for row in encoded.sequences) == 40
    trees = batches.shared(loaded.model, encoded.sequences, 4096)
    assert all(len(tree.sequences) == 1 for tree in trees)
    together = encoded.objective.loss(loaded.model, batches.collate(trees, encoded.objective.pad))
    tokenizer: Any = loaded.tokenizer
    total = 0.0
    for row in rows:
        texts = (row.fields["premise"], row.fields["hypothesis"])
        inputs = tokenizer(*texts, return_tensors="pt", truncation="longest_first", max_length=40)
        right = torch.tensor([loaded.classes.index(str(row.label))])
        total += torch.nn.functional.cross_entropy(loaded.model(**inputs).logits, right).item()
    assert together.item() == pytest.approx(total, rel=1e-4)


def test_a_head_that_was_trained_for_the_classes_is_kept_in_its_own_order(
    encoder: Path, tmp_path: Path, on: Callable[..., RunSpec], store: RunStore
) -> None:
    order = ["contradiction", "entailment", "neutral"]
    labels = dict(enumerate(order))
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=3, id2label=labels)
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(tmp_path / "nli")
    AutoTokenizer.from_pretrained(encoder).save_pretrained(tmp_path / "nli")
    task = tasks.get("xnli")
    loaded = models.load(tmp_path / "nli", dtype="float32", device="cpu", classes=task.classes)
    assert (loaded.classes, loaded.untrained_head) == (tuple(order), False)
    base = store.open(run.resolve(on("base", train=None, model=str(tmp_path / "nli"))))
    run.evaluate(base)
    frame = base.predictions("xnli", "eng_Latn")
    assert frame is not None
    row = data.load("xnli", "snapshot", "eng_Latn", "test", 1)[0]
    tokenizer: Any = loaded.tokenizer
    with torch.no_grad():
        inputs = tokenizer(row.fields["premise"], row.fields["hypothesis"], return_tensors="pt")
        scores = model.eval()(**inputs).logits.log_softmax(-1)[0]
    expected = [float(scores[order.index(name)]) for name in task.classes]
    np.testing.assert_allclose(frame["option_scores"][0], expected, atol=1e-5)
    assert (base.predictions_meta("xnli", "eng_Latn") or {})["scoring"] == "classes of the head"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adapter": "base", "train": None}, "hold no head for entailment, neutral, contradiction: without training"),
        ({"evaluate": [{"task": "xquad", "limit": 2}]}, r"evaluate\[0\]: xquad is answered with a text"),
        ({"evaluate": [{"task": "xnli", "template": "lm-eval", "limit": 2}]}, "compares the likelihoods of texts"),
        (
            {"evaluate": [{"task": "xnli", "few_shot": {"shots": 2}, "limit": 2}]},
            r"evaluate\[0\].few_shot: .*no examples",
        ),
        ({"evaluate": [{"task": "belebele", "limit": 2}]}, "offers every row answers of its own"),
        (
            {"evaluate": [{"task": "xnli", "template": "{{premise}} {{hypothesis}}", "limit": 2}]},
            "without a prompt or label words: leave template and verbaliser out",
        ),
        ({"quantization": "int8"}, "is an encoder, which is loaded without quantization"),
        ({"adapter": "soft_prompt"}, "soft_prompt needs a causal decoder"),
        (
            {"train": {"task": "squadshifts"}},
            "is an encoder; it chooses among the classes of a task, .*texts need a decoder",
        ),
    ],
)
def test_what_an_encoder_cannot_do_is_refused_before_any_work(
    changes: Content, said: str, on: Callable[..., RunSpec], store: RunStore
) -> None:
    adapter = changes.pop("adapter", "lora")
    with pytest.raises(TransfixError, match=said):
        run.evaluate(run.train(on(adapter, **changes), store))


def test_control_tokens_in_a_row_are_letters_or_refused(encoder: Path) -> None:
    loaded = models.load(encoder, dtype="float32", device="cpu", classes=("yes", "no"))
    reader = classifying.reader_of(loaded)
    (pair,) = reader.encode([("see <eos> there", "b")], None)
    assert list(pair.tokens).count(2) == 2
    tokenizer: Any = loaded.tokenizer
    assert pair.tokens[0] == 1
    assert tokenizer.decode(pair.tokens[1 : pair.second - 1]) == "see <eos> there"
    assert answering.longest(loaded, None, 0, 0) == 200


def test_xlm_r_reads_two_tokens_fewer_than_it_has_positions(tmp_path: Path) -> None:
    where = tiny.save_encoder(tmp_path / "xlm-roberta", "xlm-roberta")
    loaded = models.load(where, dtype="float32", device="cpu", classes=("yes", "no"))
    most = answering.longest(loaded, None, 0, 0)
    assert most == 199
    (pair,) = classifying.reader_of(loaded).encode([("word " * 300, "b " * 300)], most)
    assert (len(pair.tokens), pair.truncated) == (most, True)
    with torch.no_grad():
        loaded.model(input_ids=torch.tensor([pair.tokens]))
        with pytest.raises((IndexError, RuntimeError)):
            loaded.model(input_ids=torch.tensor([[*pair.tokens, 5, 5]]))
