"""Which methods there are: the built-in ones, and those that other packages bring.

A package adds a method with an entry point, whose name is the method's and whose value is its `Part`:

    [project.entry-points."transfix.methods"]
    kv_scaling = "my_package.scaling:KeyValueScaling"

or, for the time of a process, with `register(KeyValueScaling)`. Everything else that knows methods asks `METHODS`, and asks
a method that may be another package's by `asked`: whatever its code raises becomes one error that names the method.
"""

from __future__ import annotations

import functools
import importlib
import operator
import re
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from transfix.adapters.methods.base_model.config import Base
from transfix.adapters.methods.full.config import FullFineTuning
from transfix.adapters.methods.llama_adapter.config import LlamaAdapter
from transfix.adapters.methods.lora.config import LoRA
from transfix.adapters.methods.part import Part
from transfix.adapters.methods.prefix_tuning.config import PrefixTuning
from transfix.adapters.methods.soft_prompt.config import SoftPrompt
from transfix.adapters.methods.task_head.config import TaskHead
from transfix.config import yaml_dialect
from transfix.errors import TransfixError

if TYPE_CHECKING:
    from transfix.adapters.methods.base import Method

Made = TypeVar("Made")
Answer = TypeVar("Answer")

GROUP = "transfix.methods"
"""The entry points of other packages."""


class _Methods(MutableMapping[str, "type[Part]"]):
    """The methods by name. Those of other packages are looked for when it is first asked, not while modules load.

    Threads that ask at the same time each look, and find the same: none has to wait for another's imports, and none is
    answered before all are there. A package that asks while it is imported is answered with what there is.
    """

    def __init__(self) -> None:
        self.known: dict[str, type[Part]] = {}
        self.looked = False
        self._here = threading.local()

    def _all(self) -> dict[str, type[Part]]:
        if not self.looked and not getattr(self._here, "looking", False):
            self._here.looking = True
            try:
                _of_other_packages()
            finally:
                self._here.looking = False
            self.looked = True
        return self.known

    def __getitem__(self, name: str) -> type[Part]:
        return self._all()[name]

    def __setitem__(self, name: str, part: type[Part]) -> None:
        self._all()[name] = part

    def __delitem__(self, name: str) -> None:
        del self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._all()))  # another thread may register one meanwhile

    def __len__(self) -> int:
        return len(self._all())


METHODS: MutableMapping[str, type[Part]] = (_METHODS := _Methods())
"""The settings of every method by its name, in the order in which tables show them."""

UNUSABLE: dict[str, str] = {}
"""Methods that a package offers and that cannot be used, with the reason."""

_BROUGHT: dict[str, str] = {}
"""The package that brings a method, by the method's name."""


def register(part: Made) -> Made:
    """Adds a method; usable as a decorator of its settings. A class that is defined again takes its own place.

    Raises:
        TransfixError: its class lacks something, or another method has its name.
    """
    _add(_checked(part))
    return part


def implementation(part: Part) -> type[Method]:
    """The class that puts a part on a model.

    Raises:
        TransfixError: if it cannot be imported, or is no `Method`.
    """
    from transfix.adapters.methods.base import Method

    module, _, name = part.implementation.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
        if not (isinstance(found, type) and issubclass(found, Method)):
            raise TypeError(f"{found!r} is no subclass of transfix.adapters.methods.base.Method")
    except (Exception, SystemExit) as error:  # whatever a module raises when it is imported
        script = "__main__" in (type(part).__module__, module)
        hint = ' In a script write implementation = f"{__name__}:CLASS".' if script else ""
        what = f"its implementation {part.implementation!r} cannot be used"
        raise TransfixError(f"{_whole(type(part))}: {what}: {_words(error)}.{hint}") from error
    return found


def asked(part: Part | type[Part], what: str, answer: Callable[[], Answer]) -> Answer:
    """What a method's own code answers, which may be another package's; an error of transfix itself is let through.

    Raises:
        TransfixError: if that code raises anything; it says which method, of which package, and fails at `what`.
    """
    kind = part if isinstance(part, type) else type(part)
    try:
        return answer()
    except (TransfixError, ValidationError):
        raise
    except (Exception, SystemExit) as error:
        if kind.__module__.startswith("transfix."):
            raise
        raise _failing(kind, what, error) from error


def _failing(kind: type[Part], what: str, error: BaseException) -> TransfixError:
    return TransfixError(f"{_whole(kind)} fails at {what}: {_words(error)}")


def titled(part: Part) -> str:
    """A part's title.

    Raises:
        TransfixError: see `asked`; a title refuses nothing, so that it is a fault of the method whatever it raises.
    """

    def title() -> str:
        try:
            return str(part.title)
        except (TransfixError, ValidationError) as error:
            raise _failing(type(part), "its title", error) from error

    return asked(part, "its title", title)


def unregistered(part: object) -> str:
    """Why what is written of a part could not be read back: its class is no registered method's. Empty where it could."""
    if not isinstance(part, Part):
        return ""
    kind, name = type(part), str(part.method)
    known = METHODS.get(name)
    if known is kind:
        return ""
    made = f"{kind.__module__}.{kind.__qualname__}"
    if known is None:
        return f"{made} is not registered: call transfix.adapters.methods.register({kind.__name__}) first"
    if (known.__module__, known.__qualname__) == (kind.__module__, kind.__qualname__):
        return f"this {made} was made before its class was defined again: make it again"
    return (
        f"{made} goes by the name {name!r}, which is that of {known.__module__}.{known.__qualname__}: use that class, or "
        f'give {kind.__name__} a name of its own (method: Literal["NAME"] = "NAME") and register it'
    )


def _checked(part: Any) -> type[Part]:
    """A class that can be a method.

    Raises:
        TransfixError: it lacks something.
    """
    kind = isinstance(part, type) and issubclass(part, Part)
    name = part.model_fields["method"].default if kind else None
    if not isinstance(name, str):
        raise TransfixError(
            f'{part!r} is no method: a subclass of Part with method: Literal["NAME"] = "NAME" is needed.'
        )
    whole = f"the method {name!r} ({part.__module__}.{part.__qualname__})"
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise TransfixError(f"{whole} cannot be called so: use small letters, digits and _.")
    if (read := yaml_dialect.parse(name, "the name")[0]) != name:
        raise TransfixError(f"{whole} cannot be called so: in a specification {name} is read as {read}.")
    missing = [key for key in ("label", "implementation") if not hasattr(part, key)]
    missing += ["kept"] if part.kept is Part.kept else []
    if missing:
        raise TransfixError(f"{whole} lacks {', '.join(missing)}: see docs/extending.md.")
    if wrong := [what for what, fine in _stated(part).items() if not fine]:
        raise TransfixError(f"{whole} cannot be used as it is: {'; '.join(wrong)}. See docs/extending.md.")
    made: type[Part] = part
    return made


def _stated(part: Any) -> dict[str, bool]:
    """What a class has to state of its method, and whether it does."""
    method, name, label, place = part.model_fields["method"].annotation, part.named(), part.label, part.implementation
    speed = part.same_speed
    return {
        f'method has to be a Literal["{name}"]': get_origin(method) is Literal and get_args(method) == (name,),
        "label has to be text": isinstance(label, str) and bool(label.strip()),
        'implementation has to be "module:Class"': isinstance(place, str) and all(place.partition(":")),
        "learns has to be true or false": isinstance(part.learns, bool),
        "trains_base has to be true or false": isinstance(part.trains_base, bool),
        "stands_alone has to be text": isinstance(part.stands_alone, str),
        "same_speed has to be a set of names of its settings": isinstance(speed, set | frozenset)
        and speed <= part.model_fields.keys(),
    }


def _add(part: type[Part]) -> None:
    name = part.named()
    other = _METHODS.known.get(name, part)
    here, there = (f"{kind.__module__}.{kind.__qualname__}" for kind in (part, other))
    if here != there:
        raise TransfixError(f"the method {name!r} is there twice: {there} and {here}.")
    _METHODS.known[name] = part


def _of_other_packages() -> None:
    for point in entry_points(group=GROUP):
        try:
            part = _checked(point.load())
            if part.named() != point.name:
                raise TransfixError(f"its name is {part.named()!r}, and the entry point's has to be the same")
            _add(part)
            _BROUGHT[point.name] = _package(point)
        except (Exception, SystemExit) as error:  # whatever a package raises when it is imported
            UNUSABLE[point.name] = f"{_package(point)} offers it, but it cannot be used: {_words(error)}"


def _package(point: EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist else point.value


def _whole(kind: type[Part]) -> str:
    """A method with its class, and its package where another brings it."""
    package = f" of {_BROUGHT[kind.named()]}" if kind.named() in _BROUGHT else ""
    return f"the method {kind.named()!r} ({kind.__module__}.{kind.__qualname__}{package})"


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": .")


for _part in (Base, SoftPrompt, PrefixTuning, LlamaAdapter, LoRA, TaskHead, FullFineTuning):
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
        if why := unregistered(value):
            raise PydanticCustomError("value_error", "{error}", {"error": why})
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
    try:
        return asked(METHODS[name], "its settings", lambda: METHODS[name].model_validate(value))
    except TransfixError as error:
        raise PydanticCustomError("value_error", "{error}", {"error": str(error)}) from error


AnyPart = Annotated[Part, _ByMethod()]
"""A part as a field of a pydantic model: a mapping with its `method`, or a part."""
