"""The registry of methods: what may be one, what other packages bring, and what their code may raise."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from pydantic import Field, TypeAdapter, model_validator
from torch import Tensor, nn
from transformers import PreTrainedModel

import transfix
from transfix import PrefixTuning, SoftPrompt, attach, load_adapter, use
from transfix.adapters.architecture import Layer
from transfix.adapters.attention import LayerAdapters
from transfix.adapters.methods import LayerShape, Part, registry
from transfix.adapters.methods.base import AdapterLayer, LayerMethod, Method
from transfix.adapters.methods.registry import METHODS, UNUSABLE, register
from transfix.adapters.state import AdapterState
from transfix.errors import ProblemsError, TransfixError
from transfix.runs.specification import RunSpec
from transfix.studies.expansion import expand
from transfix.studies.specification import StudySpec

NAMES = sorted(name for name in dir(nn.ModuleDict()) if name[0].islower())
"""What torch's containers keep for themselves."""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    list(METHODS)
    monkeypatch.setattr(registry._METHODS, "known", dict(registry._METHODS.known))
    monkeypatch.setattr(registry, "_BROUGHT", dict(registry._BROUGHT))
    before = dict(UNUSABLE)
    monkeypatch.setattr(registry, "UNUSABLE", before)


class Scaled(AdapterLayer):
    def __init__(self, heads: int, size: int, device: torch.device) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((heads, 1, size), 0.5, device=device))

    def attended(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        return key, value * self.scale


class ScalingMethod(LayerMethod):
    def make(self, layer: Layer) -> Scaled:
        return Scaled(*layer.key_value_shape, layer.device)


class Example(Part):
    """Stated in full; tests make methods of it."""

    label: ClassVar = "Example"
    implementation: ClassVar = f"{__name__}:ScalingMethod"
    method: Literal["example"] = "example"

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        return 0


def called(name: str, **body: Any) -> type[Example]:
    """An example under another name."""
    space = {"__annotations__": {"method": Literal[name]}, "method": name, "__module__": "elsewhere", **body}  # type: ignore[valid-type]
    return type(f"Called_{name}", (Example,), space)


# ---- names


def test_no_name_collides_with_what_torch_keeps_for_itself() -> None:
    assert {"values", "half", "type", "train", "compile"} <= set(NAMES)
    layer, own = LayerAdapters(AdapterState(), 0), {}
    for name in [*NAMES, "prefix"]:
        layer.place("a", name, own.setdefault(name, Scaled(1, 2, torch.device("cpu"))))
    assert [id(module) for module in layer.parts("a", "attended")] == [id(module) for module in own.values()]
    for name in NAMES:
        layer.take_off("a", name)
    assert [path for path, _ in layer.named_parameters()] == ["adapters.a.prefix.scale"], "as it has always been called"
    layer.take_off("a", "prefix")
    assert not len(layer.adapters)


@pytest.mark.parametrize("name", ["half", "values"])
def test_a_method_may_be_called_as_torch_calls_something(build: Any, ids: Tensor, tmp_path: Path, name: str) -> None:
    part = register(called(name))()
    model = build("llama")
    base = model(ids).logits
    adapter = attach(model, part)
    expected = model(ids).logits
    assert not torch.equal(expected, base)
    assert sorted(adapter.tensors()) == [f"{name}.0.scale", f"{name}.1.scale"]
    adapter.save(tmp_path)
    adapter.detach()
    assert torch.equal(model(ids).logits, base)
    load_adapter(model, tmp_path)
    assert torch.equal(model(ids).logits, expected)


@pytest.mark.parametrize(
    ("name", "why"),
    [("null", "is read as None"), ("true", "is read as True"), ("Half", "small letters"), ("a-b", "small")],
)
def test_names_that_a_specification_cannot_hold(name: str, why: str) -> None:
    with pytest.raises(TransfixError, match=rf"cannot be called so: .*{why}"):
        register(called(name))


@pytest.mark.parametrize(
    ("stated", "why"),
    [
        ({"label": 3}, "label has to be text"),
        ({"implementation": "nowhere"}, 'implementation has to be "module:Class"'),
        ({"learns": "no"}, "learns has to be true or false"),
        ({"stands_alone": True}, "stands_alone has to be text"),
        ({"same_speed": {"speed"}}, "same_speed has to be a set of names of its settings"),
        ({"same_speed": "learning_rate"}, "same_speed has to be a set of names of its settings"),
    ],
)
def test_what_is_stated_wrongly(stated: dict[str, Any], why: str) -> None:
    with pytest.raises(TransfixError, match=why):
        register(called("stated", **stated))
    assert "stated" not in METHODS


def test_a_method_whose_name_is_no_constant() -> None:
    class Free(Example):
        method: str = "free"

    with pytest.raises(TransfixError, match=r'method has to be a Literal\["free"\]'):
        register(Free)


def test_a_class_that_is_defined_again_takes_its_place() -> None:
    """As when a notebook's cell is run twice."""
    old, new = called("again"), called("again")
    part = register(old)()
    assert register(new) is new
    assert METHODS["again"] is new
    with pytest.raises(ProblemsError, match="made before its class was defined again"):
        RunSpec.load({"model": "m", "adapter": part})


# ---- other packages


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Modules on the path, with entry points in this order."""

    def offer(points: dict[str, str], **modules: str) -> None:
        for name, code in modules.items():
            (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        found = [EntryPoint(name, value, registry.GROUP) for name, value in points.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: found)
        registry._of_other_packages()

    return offer


def settings(implementation: str = "nowhere:Nothing") -> str:
    """The module of a method's settings."""
    return SETTINGS.format(implementation=implementation)


SETTINGS = """
from typing import ClassVar, Literal
from transfix.adapters.methods import Part

class Scaling(Part):
    label: ClassVar = "Scaling"
    implementation: ClassVar = "{implementation}"
    method: Literal["scaling"] = "scaling"

    def kept(self, shape, width, cpu):
        return 0
"""


def test_an_entry_point_of_another_name_takes_nothing_away(package: Callable[..., None]) -> None:
    package({"scaling": "right_name:Scaling", "other": "right_name:Scaling"}, right_name=settings())
    assert METHODS["scaling"].label == "Scaling"
    assert "other" not in METHODS
    assert "its name is 'scaling', and the entry point's has to be the same" in registry.UNUSABLE["other"]


def test_a_package_that_ends_the_process_when_it_is_imported(package: Callable[..., None]) -> None:
    package({"leaving": "leaving:X", "scaling": "staying:Scaling"}, leaving="raise SystemExit(3)", staying=settings())
    assert "SystemExit: 3" in registry.UNUSABLE["leaving"]
    assert "scaling" in METHODS


@pytest.mark.parametrize(
    ("implementation", "code", "why"),
    [
        ("nowhere_at_all:X", None, "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("layer_0:Missing", "", "AttributeError: module 'layer_0' has no attribute 'Missing'"),
        ("layer_1:dict", "dict = dict", "TypeError: <class 'dict'> is no subclass of .*Method"),
        ("layer_2:X", "1 / 0", "ZeroDivisionError: division by zero"),
        ("layer_3:X", "import sys; sys.exit()", "SystemExit"),
    ],
)
def test_an_implementation_that_cannot_be_had(
    package: Callable[..., None], build: Any, implementation: str, code: str | None, why: str
) -> None:
    place = implementation.partition(":")[0]
    own = f"settings_of_{place}"
    package({"scaling": f"{own}:Scaling"}, **{own: settings(implementation)} | ({} if code is None else {place: code}))
    model = build("llama")
    with pytest.raises(TransfixError, match=why) as caught:
        attach(model, METHODS["scaling"]())
    assert f"the method 'scaling' ({own}.Scaling of {own}:Scaling)" in str(caught.value)
    assert f"its implementation '{implementation}' cannot be used" in str(caught.value)
    assert not hasattr(model, "_transfix")


def test_threads_that_ask_at_once_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is told that there is no such method while another still looks for those of other packages."""
    looking, go_on = threading.Event(), threading.Event()
    methods = registry._Methods()

    def look() -> None:
        looking.set()
        assert "example" not in methods, "a package that asks while it is imported is answered with what there is"
        if threading.current_thread() is not threading.main_thread():
            assert go_on.wait(30)
        methods.known["example"] = Example

    monkeypatch.setattr(registry, "_of_other_packages", look)
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(lambda: list(methods))
        assert looking.wait(30)
        assert list(methods) == ["example"]
        go_on.set()
        assert there.result() == ["example"]


def test_packages_are_not_looked_for_while_transfix_loads(tmp_path: Path) -> None:
    """A package may import any part of transfix, which may be loading just then."""
    (tmp_path / "early-0.1.dist-info").mkdir()
    (tmp_path / "early-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: early\nVersion: 0.1\n")
    points = "[transfix.methods]\nscaling = early:Scaling\n"
    (tmp_path / "early-0.1.dist-info" / "entry_points.txt").write_text(points)
    (tmp_path / "early.py").write_text(f"from transfix.runs.specification import RunSpec\n{settings()}")
    code = (
        "import transfix.cli.app, transfix.runs.specification, transfix.studies.specification, transfix.report.labels\n"
        "from transfix.adapters.methods import registry\n"
        "print(registry._METHODS.looked, 'scaling' in registry.METHODS, registry.UNUSABLE)"
    )
    paths = [str(tmp_path), str(Path(transfix.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout == "False True {}\n", done.stdout + done.stderr


# ---- what a method's own code raises


def test_settings_that_raise_are_a_problem_of_the_specification() -> None:
    class Careless(Example):
        method: Literal["careless"] = "careless"

        @model_validator(mode="after")
        def _look(self) -> Careless:
            raise KeyError("size")

    register(Careless)
    with pytest.raises(
        ProblemsError, match=r"adapter\[0\]: the method 'careless' \(.*Careless\) fails at its settings"
    ):
        RunSpec.load({"model": "m", "adapter": "careless", "train": {"task": "mnli"}})


def test_a_title_that_raises_is_told_of_the_method() -> None:
    def described(self: Part) -> list[str]:
        return self.labels  # type: ignore[attr-defined, no-any-return]

    register(called("untitled", described=described))
    spec = RunSpec.load({"model": "m", "adapter": "untitled", "train": {"task": "mnli"}})
    with pytest.raises(TransfixError, match=r"'untitled' \(elsewhere.*\) fails at its title: AttributeError"):
        _ = spec.title


def test_an_error_of_transfix_itself_is_let_through() -> None:
    with pytest.raises(ZeroDivisionError):
        registry.asked(SoftPrompt, "variants()", lambda: 1 // 0)


# ---- settings


def test_a_default_that_is_made_anew_is_no_unusual_setting() -> None:
    class Made(Example):
        method: Literal["made"] = "made"
        size: int = 2
        sizes: tuple[int, ...] = Field(default_factory=lambda: (1, 2))
        twice: int = Field(default_factory=lambda data: 2 * data["size"])

    assert Made().title == "Example"
    assert Made(sizes=(1, 2), twice=4).title == "Example"
    assert Made(size=3).title == "Example, size 3"
    assert Made(sizes=(3,), twice=5).title == "Example, sizes (3,), twice 5"


def from_mapping(adapter: object) -> RunSpec:
    return RunSpec.load({"model": "m", "adapter": adapter, "train": {"task": "mnli"}})


def from_python(adapter: object) -> RunSpec:
    return RunSpec(model="m", adapter=adapter, train={"task": "mnli"})  # type: ignore[arg-type]


def of_a_study(adapter: object) -> StudySpec:
    return StudySpec.load({"name": "s", "base": {"model": "m"}, "matrix": {"adapter": [adapter]}})


class Short(PrefixTuning):
    """Another class under the name of a method that is there."""


@pytest.mark.parametrize("made", [from_mapping, from_python, of_a_study])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    ("part", "why"),
    [
        (
            called("stranger")(),
            r"elsewhere\.Called_stranger is not registered: call .*register\(Called_stranger\) first",
        ),
        (
            Short(),
            r"Short goes by the name 'prefix', which is that of .*PrefixTuning: use that class, or give Short a name",
        ),
    ],
)
def test_a_part_that_could_not_be_read_back_is_refused(
    made: Callable[[object], object], several: bool, part: Part, why: str
) -> None:
    """Written as YAML it would be another method's, or none's."""
    with pytest.raises((ValueError, TransfixError), match=why):
        made([SoftPrompt(), part] if several else part)


def test_a_part_that_is_not_registered_is_not_attached(build: Any) -> None:
    with pytest.raises(TransfixError, match=r"Called_stranger is not registered: .*Parts: .*PrefixTuning"):
        attach(build("llama"), called("stranger")())


def test_what_runs_at_one_speed_is_stated_by_every_method() -> None:
    own = {name: METHODS[name].same_speed - {"learning_rate"} for name in METHODS}
    prefix = {"init", "init_text", "init_scale", "learning_rate_scale"}
    stated = {
        "soft_prompt": prefix,
        "prefix": prefix,
        "llama_adapter": {*prefix, "gate_learning_rate"},
        "lora": {"dropout"},
    }
    assert {name: settings for name, settings in own.items() if settings} == stated
    assert all("learning_rate" in METHODS[name].same_speed for name in METHODS)


# ---- a method made from another


class OwnPrompt(SoftPrompt):
    label: ClassVar = "Own prompt"
    method: Literal["own_prompt"] = "own_prompt"


def test_a_method_that_is_another_s_subclass_is_counted_beside_it() -> None:
    assert set(OwnPrompt.variants(2)) == {"own_prompt P=10"}
    for method in ("prefix", "llama_adapter", "lora"):
        kind = METHODS[method]
        other = type("Other", (kind,), {"__annotations__": {"method": Literal["other"]}, "method": "other"})
        assert not set(other.variants(2)) & set(kind.variants(2))


@pytest.mark.parametrize("kind", ["soft_prompt", "lora"])
def test_one_adapter_cannot_have_what_is_there_once_twice(build: Any, ids: Tensor, kind: str) -> None:
    first = METHODS[kind]
    space = {"__annotations__": {"method": Literal["other"]}, "method": "other", "__module__": "elsewhere"}
    second = register(type("Other", (first,), space))
    model: PreTrainedModel = build("llama")
    base = model(ids).logits
    with pytest.raises(TransfixError, match="other: the adapter 'default' has"):
        attach(model, first(), second())
    assert not hasattr(model, "_transfix")
    assert torch.equal(model(ids).logits, base)
    attach(model, first(), name="a")
    attach(model, second(), name="b")
    with use(model, ["a", "b"]):
        together = model(ids).logits
    for row, name in enumerate("ab"):
        with use(model, name):
            torch.testing.assert_close(together[row], model(ids[row : row + 1]).logits[0], atol=1e-4, rtol=1e-4)


# ---- what a failed attach leaves


class Failing(Example):
    method: Literal["failing"] = "failing"
    implementation: ClassVar = f"{__name__}:FailingMethod"


class FailingMethod(Method):
    def place(self) -> None:
        raise RuntimeError("no place")

    def remove(self) -> None:
        raise RuntimeError("nothing to remove")


def test_a_failed_attach_leaves_what_was_there(build: Any, ids: Tensor) -> None:
    register(Failing)
    model = build("llama")
    attach(model, PrefixTuning(tokens=2), name="there")
    host, expected = model._transfix, model(ids).logits
    with pytest.raises(RuntimeError, match="no place"):
        attach(model, SoftPrompt(tokens=2), transfix.LoRA(rank=2), Failing())
    assert host.shared == []
    assert list(host.adapters) == ["there"]
    assert torch.equal(model(ids).logits, expected)


def test_an_adapter_is_taken_off_even_if_a_part_cannot_be(
    build: Any, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(Failing)
    monkeypatch.setattr(FailingMethod, "place", Method.place)
    model = build("llama")
    base = model(ids).logits
    adapter = attach(model, PrefixTuning(tokens=2), Failing(), SoftPrompt(tokens=2))
    with pytest.raises(RuntimeError, match="nothing to remove"):
        adapter.detach()
    assert not hasattr(model, "_transfix")
    assert torch.equal(model(ids).logits, base)


def test_a_soft_prompt_takes_off_its_own_prompt_only(build: Any) -> None:
    """Another host's adapter may have come to stand under its name: head and body have adapters of their own."""
    from transfix.adapters.methods.soft_prompt.layer import PromptEmbedding

    model = build("llama")
    adapter = attach(model, SoftPrompt(tokens=2))
    other = PromptEmbedding(3, 32, torch.device("cpu"))
    model.model.get_submodule("transfix").add_module("default", other)
    adapter.detach()
    assert model.model.get_submodule("transfix.default") is other


class Untitled(Part):
    method: Literal["untitled"] = "untitled"
    label: ClassVar[str] = "Untitled"
    implementation: ClassVar[str] = f"{__name__}:ScalingMethod"
    wrong: str = "title"

    @property
    def title(self) -> str:
        return str(_raised(self.wrong))

    def kept(self, *shapes: Any) -> int:
        return 0


class Unmade(Untitled):
    method: Literal["unmade"] = "unmade"  # type: ignore[assignment]

    @model_validator(mode="after")
    def _never(self) -> Unmade:
        _raised(self.wrong)
        return self


def _raised(how: str) -> object:
    if how == "transfix":
        raise TransfixError("own words")
    if how == "exit":
        raise SystemExit(3)
    return 1 / 0 if how == "zero" else TypeAdapter(int).validate_python(how)


@pytest.mark.parametrize("where", ["base", "matrix"])
@pytest.mark.parametrize(
    ("method", "wrong", "what"),
    [
        ("untitled", "zero", "its title: ZeroDivisionError: division by zero"),
        ("untitled", "transfix", "its title: TransfixError: own words"),
        ("untitled", "exit", "its title: SystemExit: 3"),
        ("untitled", "x", "its title: ValidationError: 1 validation error for int"),
        ("unmade", "zero", "its settings: ZeroDivisionError: division by zero"),
        ("unmade", "exit", "its settings: SystemExit: 3"),
    ],
)
def test_a_study_names_the_method_that_fails(where: str, method: str, wrong: str, what: str) -> None:
    register(Untitled)
    register(Unmade)
    registry._BROUGHT[method] = "the package elsewhere"
    part = {"method": method, "wrong": wrong}
    base = {"model": "no/model", "train": {"task": "mnli"}, "evaluate": [{"task": "xnli"}]}
    varied = {"adapter": [part, "lora"]} if where == "matrix" else {}
    study = StudySpec.load({"name": "x", "base": {**base, "adapter": part}, "matrix": varied})
    with pytest.raises(ProblemsError) as caught:
        expand(study)
    place = "matrix.adapter[0]" if where == "matrix" else "base.adapter"
    named = f"the method {method!r} ({__name__}.{method.title()} of the package elsewhere)"
    assert str(caught.value.problems[0]).startswith(f"{place}: {named} fails at {what}")
