"""A specification is read as it was written, and everything wrong with it is said at once."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from transfix.adapters.methods import LlamaAdapter, LoRA, PrefixTuning
from transfix.data.sources import FilesSource, HubSource, SnapshotSource
from transfix.errors import ProblemsError, TransfixError
from transfix.runs.specification import RunSpec

MINIMAL: dict[str, Any] = {"model": "tiny", "adapter": "llama_adapter", "train": {"task": "mnli"}}

FULL = """
model: org/Some Model
revision: "1234567"
dtype: float32
device: cuda:1
adapter:
  - {method: prefix, tokens: 7, layers: [0, 3], norm: layer, learning_rate: 1e-2}
  - {method: lora, rank: 8, targets: [q, v], layers: 2}
train:
  task: mnli
  data: {files: "rows/{lang}.tsv", columns: {premise: s1}, labels: {0: entailment}}
  template: "{{premise}} — {{hypothesis}}\\n# so:"
  verbaliser: {entailment: yes, neutral: maybe, contradiction: no}
  languages: [en, no]
  rows: 1e3
  learning_rate: 3E-4
  max_grad_norm: null
  gradient_checkpointing: true
evaluate:
  - {task: xnli, data: {hub: facebook/xnli, revision: 12e4567}, languages: [de, zh-CN], split: dev, limit: 10}
  - {task: afrixnli}
seed: 4_000
"""


def problems(source: Any, *overrides: str) -> dict[str, str]:
    """Where -> the rest of each problem's line."""
    with pytest.raises(ProblemsError) as caught:
        RunSpec.load(source, overrides)
    return {item.where: f"{item.what} (allowed: {item.allowed})" for item in caught.value.problems}


def changed(**changes: Any) -> dict[str, Any]:
    return {**MINIMAL, **changes}


def file(directory: Path, text: str) -> Path:
    path = directory / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# ---- reading


def test_every_value_arrives(tmp_path: Path) -> None:
    spec = RunSpec.load(file(tmp_path, FULL))
    assert spec.adapter == (
        PrefixTuning(tokens=7, layers=(0, 3), norm="layer", learning_rate=0.01),
        LoRA(rank=8, targets=("q", "v"), layers=2),
    )
    assert spec.revision == "1234567"
    assert spec.train is not None
    assert isinstance(spec.train.data, FilesSource)
    assert spec.train.data.labels == {"0": "entailment"}
    assert spec.train.verbaliser == {"entailment": "yes", "neutral": "maybe", "contradiction": "no"}
    assert spec.train.languages == ("eng_Latn", "nob_Latn"), "`no` is Norwegian, not false"
    assert (spec.train.rows, spec.train.learning_rate, spec.train.max_grad_norm) == (1000, 3e-4, None)
    assert spec.seed == 4000
    first, second = spec.evaluate
    assert isinstance(first.data, HubSource)
    assert first.data.revision == "12e4567", "a commit hash is no number"
    assert (first.languages, first.split, first.limit) == (("deu_Latn", "zho_Hans"), "validation", 10)
    assert (second.languages, second.data, second.split) == ("all", SnapshotSource(), None)


@pytest.mark.parametrize(
    "source", [FULL, "model: m\nadapter: base\n", "model: m\nadapter: lora\ntrain: {task: mnli}\n"]
)
def test_yaml_round_trip(tmp_path: Path, source: str) -> None:
    spec = RunSpec.load(file(tmp_path, source))
    again = RunSpec.load(file(tmp_path, spec.to_yaml()))
    assert again == spec
    assert again.to_yaml() == spec.to_yaml()
    assert again.identity() == spec.identity()


def test_short_forms() -> None:
    part = LlamaAdapter()
    for form in ("llama_adapter", {"method": "llama_adapter"}, ["llama_adapter"], part, [part], (part,)):
        assert RunSpec.load(changed(adapter=form)).adapter == (part,)
        assert RunSpec(model="tiny", adapter=form, train={"task": "mnli"}).adapter == (part,)  # type: ignore[arg-type]
    hybrid = RunSpec.load(changed(adapter="prefix+lora"))
    assert hybrid.adapter == (PrefixTuning(), LoRA(learning_rate=LoRA.usual_rate))
    assert RunSpec.load(changed(adapter=["prefix", {"method": "lora"}])) == hybrid
    assert RunSpec.load(changed(evaluate={"task": "xnli"})) == RunSpec.load(changed(evaluate=[{"task": "xnli"}]))
    assert RunSpec.load(changed(evaluate=None)).evaluate == ()


def test_a_specification_is_frozen() -> None:
    spec = RunSpec.load(MINIMAL)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        spec.seed = 1  # type: ignore[misc]
    assert "llama_adapter" in str(RunSpec.model_json_schema())


def test_reading_one_imports_nothing_heavy() -> None:
    code = (
        "import sys; from transfix.runs.specification import RunSpec\n"
        f"RunSpec.load({ {**MINIMAL, 'evaluate': [{'task': 'xnli', 'languages': ['de']}]}!r}).check_data()\n"
        "print([name for name in ('torch', 'transformers', 'pandas', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    assert done.stdout.strip() == "[]"


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


# ---- overrides


def test_overrides() -> None:
    source = changed(adapter=["prefix", "lora"], evaluate=[{"task": "xnli"}])
    spec = RunSpec.load(
        source,
        [
            "adapter.0.tokens=20",
            "adapter[1].rank=2",
            "train.learning_rate=1e-3",
            "train.rows=null",
            "evaluate.limit=5",
            "evaluate.0.languages=[de, sw]",
            "train.data={files: x.tsv}",
            'train.template="{{premise}}={{hypothesis}}"',
            "seed=3",
        ],
    )
    assert spec.adapter == (PrefixTuning(tokens=20), LoRA(rank=2))
    assert spec.train is not None
    assert (spec.train.learning_rate, spec.train.rows, spec.train.template) == (
        1e-3,
        None,
        "{{premise}}={{hypothesis}}",
    )
    assert (spec.evaluate[0].limit, spec.evaluate[0].languages, spec.seed) == (5, ("deu_Latn", "swh_Latn"), 3)
    assert source == changed(adapter=["prefix", "lora"], evaluate=[{"task": "xnli"}]), "the given mapping is left alone"


def test_overrides_of_short_forms() -> None:
    assert RunSpec.load(MINIMAL, ["adapter.tokens=3"]).adapter == (LlamaAdapter(tokens=3),)
    assert RunSpec.load(MINIMAL, ["adapter=lora", "adapter.rank=3"]).adapter == (LoRA(rank=3),)
    assert RunSpec.load(MINIMAL, ["adapter=base", "train=null"]).train is None
    untrained = {"model": "m", "adapter": "lora"}
    assert RunSpec.load(untrained, ["train.task=mnli", "train.rows=5"]).train is not None


def test_wrong_overrides_are_all_reported() -> None:
    found = problems(
        changed(adapter=["prefix", "lora"]),
        "adapter.2.rank=1",
        "adapter.tokens=1",
        "train.rosw=5",
        "model.name=x",
        "seed",
        "=3",
        "train.epochs=[1",
        "modle=x",
    )
    assert "has no entry 2: it has 2" in found["adapter.2.rank"]
    assert "adapter.0.tokens, adapter.1.tokens" in found["adapter.tokens"]
    assert "did you mean 'rows'" in found["train.rosw"]
    assert "has no keys" in found["model.name"]
    assert "path=value" in found["--set seed"]
    assert "path=value" in found["--set =3"]
    assert "not valid YAML" in found["train.epochs"]
    assert "did you mean 'model'" in found["modle"]


# ---- problems


def test_all_problems_at_once() -> None:
    found = problems(
        {
            "modle": "x",
            "dtype": "float23",
            "device": "gpu",
            "seed": -1,
            "adapter": [
                {"method": "lama_adapter"},
                {"method": "prefix", "tokns": 3, "layers": "topp", "tokens": "ten"},
                {"method": "lora", "rank": 0, "targets": ["q", "z"]},
                {"rank": 4},
            ],
            "train": {
                "task": "mlni",
                "data": {"fils": "x"},
                "languages": ["eng_Latn", "klingon"],
                "rows": True,
                "epochs": 1.5,
                "learning_rate": -0.01,
                "schedule": "cosin",
                "warmup": 1,
                "template": 3,
                "checkpoint_every": None,
            },
            "evaluate": [
                {"task": "xnli", "languages": ["de", "deu_Latn"], "limit": 0, "split": "tset"},
                {"task": "afrixnli", "languages": ["deu_Latn"], "data": {"hub": "x", "splt": "test"}},
                7,
            ],
        }
    )
    expected = {
        "model": "missing",
        "modle": "did you mean 'model'",
        "dtype": "'float23'.*did you mean 'float32'.*auto, float32, bfloat16 or float16",
        "device": "'gpu'.*auto, cpu, cuda",
        "seed": "-1.*at least 0",
        "adapter[0].method": "'lama_adapter'.*did you mean 'llama_adapter'.*soft_prompt",
        "adapter[1].tokns": "did you mean 'tokens'",
        "adapter[1].layers": "'topp'.*all or a whole number.*or a list of",
        "adapter[1].tokens": "'ten'.*a whole number, at least 1",
        "adapter[2].rank": "0.*at least 1",
        "adapter[2].targets[1]": "'z'.*q, k, v or o",
        "adapter[3]": "no method",
        "train.task": "'mlni'.*did you mean mnli",
        "train.data": "snapshot.*files.*hub",
        "train.languages[1]": "'klingon'",
        "train.rows": "true.*a whole number, at least 1 or null",
        "train.epochs": "1.5.*a whole number",
        "train.learning_rate": "-0.01.*above 0",
        "train.schedule": "did you mean 'cosine'",
        "train.warmup": "1.*below 1",
        "train.template": "3.*quotes",
        "train.checkpoint_every": "null.*a whole number",
        "evaluate[0].languages": "deu_Latn more than once",
        "evaluate[0].limit": "0.*at least 1",
        "evaluate[0].split": "'tset'.*validation",
        "evaluate[1].languages": "no rows in deu_Latn.*swh_Latn",
        "evaluate[1].data.splt": "did you mean 'split'",
        "evaluate[2]": "7.*a mapping with task",
    }
    assert set(found) == set(expected)
    for where, pattern in expected.items():
        assert re.search(pattern, found[where]), f"{where}: {found[where]}"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value: float) -> None:
    assert "finite" in problems(changed(train={"task": "mnli", "learning_rate": value}))["train.learning_rate"]


def test_numbers_are_no_text() -> None:
    assert "quotes" in problems(changed(revision=1234567))["revision"]
    assert "quotes" in problems(changed(train={"task": "mnli", "template": {"premise": None}}))["train.template"]


def test_a_template_and_a_verbaliser_fit_the_task() -> None:
    words = {"entailment": "yes", "neutral": "yes", "other": "no"}
    found = problems(
        changed(train={"task": "mnli", "template": "{{premise}} {{hypotesis}}", "verbaliser": words}), "seed=-1"
    )
    assert "contradiction" in found.pop("train.verbaliser")
    assert "'other'" in found.pop("train.verbaliser.other")
    assert "'yes'" in found.pop("train.verbaliser.neutral")
    assert set(found) == {"train.template", "seed"}


@pytest.mark.parametrize(
    "template", ["{{premise", "{{}}", "{{0}} {{1}}", "{{premise}} {{hypothesis}} {{label}}", "no texts"]
)
def test_templates_that_are_none(template: str) -> None:
    assert set(problems(changed(train={"task": "mnli", "template": template}))) == {"train.template"}


@pytest.mark.parametrize(
    ("changes", "where", "pattern"),
    [
        ({"adapter": "base"}, "train", "base trains nothing.*--set train=null"),
        ({"train": None}, "train", "missing: llama_adapter has to be trained"),
        ({"adapter": ["prefix", "base"]}, "adapter", "base cannot be combined"),
        ({"adapter": "full+lora"}, "adapter", "full cannot be combined"),
        ({"adapter": "prefix+lora+prefix"}, "adapter", "has prefix twice: an adapter can have each method once"),
        ({"adapter": []}, "adapter", "empty"),
        ({"adapter": 3}, "adapter", "a list"),
        ({"adapter": ["prefix", 3]}, "adapter[1]", "method"),
        ({"train": {"task": "afrixnli"}}, "train", "no training split"),
        ({"train": {"task": "mnli", "development_rows": 0, "early_stopping": 3}}, "train", "development_rows"),
        ({"train": {"task": "mnli", "development_rows": 0, "evaluate_every": 3}}, "train", "evaluate_every"),
        ({"train": {"task": "mnli", "languages": []}}, "train.languages", "not allowed"),
        ({"train": {"task": "mnli", "languages": ["de"]}}, "train.languages", "mnli has no rows in deu_Latn"),
        ({"evaluate": [{"task": "xnli"}, {"task": "xnli", "languages": ["de"]}]}, "evaluate", "entries 0 and 1"),
        ({"adapter": {"method": "prefix", "norm": "layer", "projection": "none"}}, "adapter[0]", "norm"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, Any], where: str, pattern: str) -> None:
    found = problems(changed(**changes))
    assert set(found) == {where}
    assert re.search(pattern, found[where])


def test_what_does_go_together() -> None:
    RunSpec.load(changed(train={"task": "mnli", "data": {"files": "x.tsv"}, "languages": ["de"]}))
    RunSpec.load(changed(train={"task": "afrixnli", "split": "validation", "languages": ["ee"]}))
    RunSpec.load(changed(evaluate=[{"task": "xnli", "languages": [code]} for code in ("de", "sw")]))


def test_data_that_is_not_there(tmp_path: Path) -> None:
    source = {"files": str(tmp_path / "{lang}.tsv")}
    spec = RunSpec.load(changed(evaluate=[{"task": "xnli", "data": source, "languages": ["de", "sw"]}]))
    with pytest.raises(ProblemsError) as caught:
        spec.check_data()
    assert [item.where for item in caught.value.problems] == [
        "evaluate[0].data: deu_Latn",
        "evaluate[0].data: swh_Latn",
    ]


def test_what_offload_allows() -> None:
    assert list(problems(changed(offload="disk"))) == ["train"]
    assert "gradient_checkpointing: true" in problems(changed(offload="disk"))["train"]
    train = {"task": "mnli", "gradient_checkpointing": True}
    assert RunSpec.load(changed(offload="cpu", train=train)).offload == "cpu"
    assert "leave offload out" in problems(changed(offload="disk", adapter="full", train=train))["adapter"]
    assert problems(changed(offload="ram"))["offload"] == "'ram' is not allowed (allowed: none, cpu or disk)"
    assert "leave one of them out" in problems(changed(offload="cpu", quantization="int8", train=train))["offload"]
    assert RunSpec.load({"model": "tiny", "adapter": "base", "offload": "disk"}).offload == "disk"


# ---- identity


def test_identity_is_what_decides_the_adapter() -> None:
    spec = RunSpec.load(MINIMAL)
    same = [{"device": "cpu"}, {"evaluate": [{"task": "xnli"}]}, {"adapter": {"method": "llama_adapter", "tokens": 10}}]
    same += [{"train": {"task": "mnli", "languages": ["en"], "learning_rate": 0.01}}]
    checkpointed = {"train": {"task": "mnli", "gradient_checkpointing": True}}
    offloaded = RunSpec.load(changed(**checkpointed, offload="disk"))
    assert offloaded.identity() == RunSpec.load(changed(**checkpointed)).identity()
    other = [{"seed": 1}, {"model": "tiny2"}, {"dtype": "float32"}, {"revision": "a"}, {"adapter": "lora"}]
    other += [{"train": {"task": "mnli", "rows": 5}}, {"adapter": {"method": "llama_adapter", "tokens": 11}}]
    assert {RunSpec.load(changed(**change)).identity() for change in same} == {spec.identity()}
    assert len({RunSpec.load(changed(**change)).identity() for change in other} | {spec.identity()}) == len(other) + 1
    assert re.fullmatch("[0-9a-f]{12}", spec.identity())


def test_what_came_later_leaves_the_names_of_earlier_runs_alone() -> None:
    """The identity of MINIMAL before there was `quantization`, with the defaults of then."""
    then = {"method": "llama_adapter", "norm": "none", "init": "normal", "learning_rate_scale": "absolute"}
    now = changed(adapter=then)
    assert RunSpec.load(now).identity() == RunSpec.load({**now, "quantization": "none"}).identity() == "4e05f3ee08dc"
    names = {RunSpec.load(changed(quantization=q)).identity() for q in ("none", "int8", "int4")}
    assert len(names) == 3
    assert RunSpec.load(changed(quantization="int4")).title.endswith(", int4 base")


def test_quantised_weights_cannot_be_trained() -> None:
    with pytest.raises(ProblemsError, match="full cannot train weights in int8"):
        RunSpec.load(changed(adapter="full", quantization="int8"))


def test_identity_is_the_same_in_another_process() -> None:
    code = f"from transfix.runs.specification import RunSpec; print(RunSpec.load({MINIMAL!r}).identity())"
    environment = {**_environment(), "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == RunSpec.load(MINIMAL).identity()


def test_resolved() -> None:
    spec = RunSpec.load(MINIMAL)
    resolved = spec.resolved(dtype="bfloat16", device="cuda:0")
    assert (resolved.dtype, resolved.device) == ("bfloat16", "cuda:0")
    assert resolved.identity() == spec.resolved(dtype="bfloat16", device="cpu").identity() != spec.identity()


@pytest.mark.parametrize(
    ("adapter", "title", "start"),
    [
        ("llama_adapter", "LLaMA-Adapter, 10 tokens", "llama_adapter"),
        ({"method": "lora", "rank": 4}, "LoRA r=4", "lora"),
        (
            {"method": "prefix", "tokens": 1, "layers": 30, "projection": "none"},
            "Prefix tuning, 1 token, unprojected, top 30 layers",
            "prefix",
        ),
        (
            {"method": "prefix", "norm": "layer", "init": "text", "layers": [1, 2]},
            "Prefix tuning, 10 tokens, layers 1, 2",
            "prefix",
        ),
        (
            {"method": "prefix", "norm": "none", "init": "normal"},
            "Prefix tuning, 10 tokens, no norm, normal start",
            "prefix",
        ),
        ("soft_prompt+lora", "Soft prompt, 10 tokens + LoRA r=4", "soft_prompt+lora"),
        ("full", "Full fine-tuning", "full"),
    ],
)
def test_names(adapter: Any, title: str, start: str) -> None:
    spec = RunSpec.load(changed(adapter=adapter, model="google/gemma 3-270m/"))
    assert spec.title == title
    assert spec.name == f"{start}-gemma-3-270m-{spec.identity()}"


def test_the_name_of_base() -> None:
    assert RunSpec.load({"model": "../..", "adapter": "base"}).name.startswith("base-model-")


@pytest.mark.parametrize(
    ("adapter", "rates"),
    [
        ("prefix", [1e-2]),
        ("lora", [2e-3]),
        ("full", [2e-5]),
        ({"method": "lora", "rank": 8, "learning_rate": 0.5}, [0.5]),
        ("prefix+lora", [1e-2, 2e-3]),
        ([{"method": "lora"}, {"method": "prefix", "learning_rate": 0.3}], [2e-3, 0.3]),
        ([LoRA(rank=2), PrefixTuning(tokens=3)], [2e-3, 1e-2]),
    ],
)
def test_a_learning_rate_belongs_to_its_method(adapter: Any, rates: list[float]) -> None:
    """Where nobody says one; what is said holds for every part."""
    content = {"model": "gemma-3-270m", "adapter": adapter, "train": {"task": "mnli"}}
    for spec in (RunSpec.load(content), RunSpec.load(yaml.safe_load(RunSpec.load(content).to_yaml()))):
        assert spec.train is not None
        assert [part.learning_rate or spec.train.learning_rate for part in spec.adapter] == rates
    said = RunSpec.load({**content, "train": {"task": "mnli", "learning_rate": 0.25}})
    own = [part.learning_rate for part in RunSpec.load({**content, "train": {"task": "mnli"}}).adapter]
    assert said.train is not None
    assert said.train.learning_rate == 0.25
    assert [part.learning_rate for part in said.adapter] == [
        part["learning_rate"] if isinstance(part, dict) and "learning_rate" in part else None
        for part in (adapter if isinstance(adapter, list) else [adapter] * len(own))
    ]


def test_the_usual_language_is_one_of_the_task(content: Callable[..., dict[str, Any]]) -> None:
    """Else what is written of a specification could not be read again."""
    with pytest.raises(TransfixError, match="train: flores_to_english has no rows in eng_Latn"):
        RunSpec.load(content(train={"task": "flores_to_english", "development_rows": 0}))
