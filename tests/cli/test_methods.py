"""`transfix methods`: what is registered is what is listed, with every setting, and without loading torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field
from typer.testing import CliRunner, Result

from transfix.adapters.methods.part import LayerShape, Part
from transfix.adapters.methods.registry import METHODS, UNUSABLE, register
from transfix.cli.app import app


class Scaling(Part):
    """Scales keys and
    values of every head.

    Attributes:
        of: what is scaled.
    """

    label: ClassVar = "Scaled [keys]"
    implementation: ClassVar = "transfix.adapters.methods.base:Method"
    method: Literal["scaling"] = "scaling"
    of: Literal["keys", "values"]
    steps: tuple[Annotated[int, Field(ge=1)], ...] = Field(default_factory=lambda: (1, 2))
    shared: bool = True

    def kept(self, shape: LayerShape, width: int, cpu: bool) -> int:
        return 0


@pytest.fixture
def scaling() -> Iterator[None]:
    """A method of another package."""
    register(Scaling)
    yield
    del METHODS["scaling"]


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["methods", *arguments])
    assert result.exit_code == 0, result.output
    return result


def test_all_that_are_registered_with_all_settings() -> None:
    found = {entry["method"]: entry for entry in json.loads(call("--json").stdout)}
    assert list(found) == list(METHODS)
    for name, part in METHODS.items():
        listed = {setting["name"]: setting for setting in found[name]["settings"]}
        assert listed.keys() == part.model_fields.keys() - {"method"}
        assert found[name]["label"] == part.label
        defaults = {key: setting["default"] for key, setting in listed.items() if "default" in setting}
        assert part(**defaults) == part(), "the defaults that are listed are those that a part has"
        assert all(setting["allowed"] for setting in listed.values())
    lora = {setting["name"]: setting for setting in found["lora"]["settings"]}
    assert lora["rank"] == {"name": "rank", "default": 4, "allowed": "a whole number, at least 1"}
    assert lora["targets"]["default"] == ["q", "k", "v"]
    assert lora["alpha"] == {"name": "alpha", "default": None, "allowed": "a number, above 0 or null"}
    assert found["lora"]["description"] == "Low-rank adaptation, by PEFT (Hu et al. 2022)."
    assert (found["base"]["learns"], found["full"]["learns"]) == (False, True)
    assert found["base"]["stands_alone"]
    assert not found["prefix"]["stands_alone"]


def test_for_people() -> None:
    shown = call().stdout
    for name, part in METHODS.items():
        assert f"{name}  {part.label}\n" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["tanh", "false", "true", "or", "false"] in lines
    assert ["targets", "[q,", "k,", "v]", "all_linear,", "or", "a", "list", "of", "q,", "k,", "v", "or", "o"] in lines
    assert "It cannot be combined with other methods: it trains nothing." in shown


@pytest.mark.usefixtures("scaling")
def test_a_method_of_another_package() -> None:
    entry = json.loads(call("--json").stdout)[-1]
    assert entry["method"] == "scaling"
    assert entry["description"] == "Scales keys and values of every head."
    assert entry["settings"] == [
        {"name": "of", "allowed": "keys or values"},
        {"name": "steps", "allowed": "a list of: a whole number, at least 1", "default": [1, 2]},
        {"name": "shared", "allowed": "true or false", "default": True},
        {"name": "learning_rate", "allowed": "a number, above 0 or null", "default": None},
    ]
    shown = call().stdout
    assert "scaling  Scaled [keys]\n" in shown
    assert ["of", "(required)", "keys", "or", "values"] in [line.split() for line in shown.splitlines()]


def test_a_method_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UNUSABLE, "broken", "the package x offers it, but it cannot be used: ImportError: y")
    result = call("--json")
    assert result.stderr == "! broken: the package x offers it, but it cannot be used: ImportError: y\n"
    assert "broken" not in result.stdout


def no_default() -> int:
    raise OSError("no [disk]")


class Unlisted(Scaling):
    """Its settings cannot be listed."""

    method: Literal["unlisted"] = "unlisted"
    shared: int = Field(default_factory=no_default)


def test_a_method_whose_settings_cannot_be_listed_is_named_and_the_others_are_listed() -> None:
    register(Unlisted)
    try:
        result = call("--json")
    finally:
        del METHODS["unlisted"]
    assert [entry["method"] for entry in json.loads(result.stdout)] == list(METHODS)
    (line,) = result.stderr.splitlines()
    assert line.startswith("! unlisted: the method 'unlisted' (")
    assert line.endswith(".Unlisted) fails at its settings: OSError: no [disk]")


def test_torch_is_not_loaded() -> None:
    code = (
        "import sys\nfrom transfix.cli.app import app\napp(['methods'], standalone_mode=False)\n"
        "print([name for name in ('torch', 'transformers', 'pandas', 'numpy') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Prefix tuning" in done.stdout
