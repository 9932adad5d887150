"""What a method of another package raises is told of it alone: inspection counts all the others as ever."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from rich.console import Console
from transformers import LlamaConfig

from transfix.adapters.architecture import Layer
from transfix.adapters.methods import LayerShape, Part
from transfix.adapters.methods.base import AdapterLayer, LayerMethod, Method
from transfix.adapters.methods.registry import METHODS, register
from transfix.errors import TransfixError
from transfix.models.inspect import inspect, trainable
from transfix.models.inspect_table import table


class Wrong(LayerMethod):
    """Fails where the settings say so."""

    def __init__(self, part: Any, site: Any) -> None:
        self.fail("constructor")
        super().__init__(part, site)

    def fail(self, where: str) -> None:
        if where in self.part_fails:
            raise OSError(f"{where} [failed]")

    part_fails: ClassVar[tuple[str, ...]] = ()

    def make(self, layer: Layer) -> AdapterLayer:
        self.fail("make")
        return AdapterLayer()

    def place(self) -> None:
        super().place()
        self.fail("place")

    def remove(self) -> None:
        self.fail("remove")
        super().remove()


class WrongConstructor(Wrong):
    part_fails = ("constructor",)


class WrongMake(Wrong):
    part_fails = ("make",)


class WrongPlace(Wrong):
    part_fails = ("place", "remove")


class WrongRemove(Wrong):
    part_fails = ("remove",)


def refuse(*_: object) -> Any:
    raise OSError("settings [failed]")


class Example(Part):
    """Stated in full."""

    label: ClassVar = "Example"
    implementation: ClassVar = f"{__name__}:Wrong"
    method: Literal["example"] = "example"
    steps: int = 1

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        return 0


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "variants": ({"variants": classmethod(refuse)}, "fails at variants(): OSError: settings [failed]"),
    "no_variants": ({"variants": classmethod(lambda *_: None)}, "fails at variants(): AttributeError"),
    "no_parts": ({"variants": classmethod(lambda *_: {"no_parts": 3})}, "attach"),
    "needy": ({"__annotations__": {"size": int}}, "size has no default, so nothing usual can be counted: Needy needs"),
    "moved": ({"implementation": "moved_away:X"}, "ModuleNotFoundError: No module named 'moved_away'"),
    "constructor": ({"implementation": f"{__name__}:WrongConstructor"}, "OSError: constructor [failed]"),
    "make": ({"implementation": f"{__name__}:WrongMake"}, "fails at attach(): OSError: make [failed]"),
    "place": ({"implementation": f"{__name__}:WrongPlace"}, "fails at attach(): OSError: place [failed]"),
    "remove": ({"implementation": f"{__name__}:WrongRemove"}, "fails at attach(): OSError: remove [failed]"),
    "kept": ({"kept": refuse}, "fails at kept(): OSError: settings [failed]"),
    "unset": ({"input_tokens": property(refuse), "described": refuse, "without_text": refuse}, ""),
}


@pytest.fixture
def broken() -> Iterator[None]:
    """A method for each thing that can fail."""
    for name, (body, _) in BROKEN.items():
        annotations = {"method": Literal[name], **body.get("__annotations__", {})}  # type: ignore[valid-type]
        own = {**body, "__annotations__": annotations, "__module__": "elsewhere", "method": name}
        register(type(name.title(), (Example,), own))
    yield
    for name in BROKEN:
        METHODS.pop(name, None)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 8, "num_attention_heads": 2}
    LlamaConfig(**sizes, num_hidden_layers=2).save_pretrained(tmp_path)
    return tmp_path


def test_all_others_are_counted(model: Path, request: pytest.FixtureRequest) -> None:
    before = inspect(model).methods
    request.getfixturevalue("broken")
    found = inspect(model)
    assert found.methods[: len(before)] == before
    counts = {method.name.split()[0]: method for method in found.methods[len(before) :]}
    assert list(counts) == list(BROKEN)
    for name, (_, why) in BROKEN.items():
        assert why in counts[name].reason
        assert bool(why) == bool(counts[name].reason)
        assert "elsewhere." in counts[name].reason or name in ("no_parts", "needy", "unset")
        assert counts[name].trainable == (0 if name in ("kept", "unset") else None)
    assert counts["unset"].memory
    assert not counts["kept"].memory
    console = Console(width=300, file=io.StringIO())
    with console.capture() as capture:
        console.print(table(found))
    shown = capture.get()
    assert "not possible: variants: the method 'variants' (elsewhere.Variants) fails at variants()" in shown
    assert (
        "no memory estimated: kept: the method 'kept' (elsewhere.Kept) fails at kept(): OSError: settings [fail"
        in shown
    )


@pytest.mark.usefixtures("broken")
def test_what_one_adapter_trains(model: Path) -> None:
    with pytest.raises(TransfixError, match=r"'unset' \(elsewhere.Unset\) fails at without_text\(\)"):
        trainable(model, [METHODS["unset"]()])
    with pytest.raises(TransfixError, match=r"'constructor' \(elsewhere.Constructor\) fails at attach\(\)"):
        trainable(model, [METHODS["constructor"]()])


def test_an_own_method_that_fails_is_no_listed_reason(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of transfix is reported as one."""
    monkeypatch.setattr(Method, "place", refuse)
    with pytest.raises(OSError, match="failed"):
        inspect(model)
