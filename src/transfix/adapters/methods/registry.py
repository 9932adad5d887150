"""Which methods there are: the built-in ones, and those that other packages bring.

A package adds a method with an entry point, whose name is the method's and whose value is its `Part`:

    [project.entry-points."transfix.methods"]
    kv_scaling = "my_package.scaling:KeyValueScaling"

or, for the time of a process, with `register(KeyValueScaling)`. Everything else that knows methods asks `METHODS`.
"""

from __future__ import annotations

import functools
import importlib
import operator
import re
from collections.abc import Iterator, Mapping, MutableMapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from transfix.adapters.methods.base_model.config import Base
from transfix.adapters.methods.full.config import FullFineTuning
from transfix.adapters.methods.llama_adapter.config import LlamaAdapter
from transfix.adapters.methods.lora.config import LoRA
from transfix.adapters.methods.part import Part
from transfix.adapters.methods.prefix_tuning.config import PrefixTuning
from transfix.adapters.methods.soft_prompt.config import SoftPrompt
from transfix.errors import TransfixError

if TYPE_CHECKING:
    from transfix.adapters.methods.base import Method

GROUP = "transfix.methods"
"""The entry points of other packages."""

_TAKEN = ("clear", "items", "keys", "pop", "update", "values")
"""Names that torch's module containers keep for themselves."""


class _Methods(MutableMapping[str, "type[Part]"]):
    """The methods by name. Those of other packages are looked for when it is first asked, not while modules load."""

    def __init__(self) -> None:
        self.known: dict[str, type[Part]] = {}
        self.looked = False

    def _all(self) -> dict[str, type[Part]]:
        if not self.looked:
            self.looked = True
            _of_other_packages()
        return self.known

    def __getitem__(self, name: str) -> type[Part]:
        return self._all()[name]

    def __setitem__(self, name: str, part: type[Part]) -> None:
        self._all()[name] = part

    def __delitem__(self, name: str) -> None:
        del self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


METHODS: MutableMapping[str, type[Part]] = (_METHODS := _Methods())
"""The settings of every method by its name, in the order in which tables show them."""

UNUSABLE: dict[str, str] = {}
"""Methods that a package offers and that cannot be used, with the reason."""


def register(part: Any) -> type[Part]:
    """Adds a method; usable as a decorator of its settings.

    Raises:
        TransfixError: its class lacks something, or another method has its name.
    """
    kind = isinstance(part, type) and issubclass(part, Part)
    name = part.model_fields["method"].default if kind else None
    if not isinstance(name, str):
        raise TransfixError(
            f'{part!r} is no method: a subclass of Part with method: Literal["NAME"] = "NAME" is needed.'
        )
    whole = f"{part.__module__}.{part.__qualname__}"
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in _TAKEN:
        allowed = f"small letters, digits and _, and none of {', '.join(_TAKEN)}"
        raise TransfixError(f"the method {name!r} ({whole}) cannot be called so: use {allowed}.")
    missing = [key for key in ("label", "implementation") if not hasattr(part, key)]
    missing += ["kept"] if part.kept is Part.kept else []
    if missing:
        raise TransfixError(f"the method {name!r} ({whole}) lacks {', '.join(missing)}: see docs/extending.md.")
    other = _METHODS.known.setdefault(name, part)
    if other is not part:
        raise TransfixError(f"the method {name!r} is there twice: {other.__module__}.{other.__qualname__} and {whole}.")
    made: type[Part] = part
    return made


def implementation(part: Part) -> type[Method]:
    """The class that puts a part on a model."""
    module, _, name = part.implementation.partition(":")
    return cast("type[Method]", getattr(importlib.import_module(module), name))


def _of_other_packages() -> None:
    for point in entry_points(group=GROUP):
        try:
            part = register(point.load())
            if part.named() != point.name:
                del _METHODS.known[part.named()]
                raise TransfixError(f"its name is {part.named()!r}")
        except Exception as error:  # whatever a package raises when it is imported
            UNUSABLE[point.name] = (
                f"{_package(point)} offers it, but it cannot be used: {type(error).__name__}: {error}"
            )


def _package(point: EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist else point.value


for _part in (Base, SoftPrompt, PrefixTuning, LlamaAdapter, LoRA, FullFineTuning):
    register(_part)


class _ByMethod:
    """A part of whichever method its `method` names, those included that are registered later."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        dump = core_schema.plain_serializer_function_ser_schema(_plain, info_arg=True)
        return core_schema.no_info_plain_validator_function(_part_of, serialization=dump)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        every: Any = Annotated[functools.reduce(operator.or_, METHODS.values()), Field(discriminator="method")]
        return handler(TypeAdapter(every).core_schema)


def _plain(part: Part, info: Any) -> dict[str, Any]:
    return part.model_dump(mode=info.mode)


def _part_of(value: object) -> Part:
    if isinstance(value, Part):
        return value
    if not isinstance(value, Mapping) or "method" not in value:
        raise PydanticCustomError("union_tag_not_found", "no method is named", {"discriminator": "'method'"})
    name = str(value["method"])
    if name not in METHODS and name in UNUSABLE:
        raise PydanticCustomError("value_error", "{error}", {"error": f"the method {name!r}: {UNUSABLE[name]}"})
    if name not in METHODS:
        known = ", ".join(map(repr, METHODS))
        context = {"discriminator": "'method'", "tag": name, "expected_tags": known}
        message = "there is no method '{tag}' (is its package installed?); there are {expected_tags}"
        raise PydanticCustomError("union_tag_invalid", message, context)
    return METHODS[name].model_validate(value)


AnyPart = Annotated[Part, _ByMethod()]
"""A part as a field of a pydantic model: a mapping with its `method`, or a part."""
