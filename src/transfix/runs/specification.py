"""What a run is: one frozen object that is the YAML file, the Python argument and the record stored with the run.

    spec = RunSpec.load("run.yaml", ["train.rows=500"])

`RunSpec.load` checks everything that can be checked without a model and without data, and reports all of it at once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from transfix.adapters.methods import METHODS, AnyPart, Part
from transfix.adapters.methods.registry import titled, unregistered
from transfix.config import limits, paths, validation, yaml_dialect
from transfix.config.reading import read_mapping
from transfix.config.validation import Allowed
from transfix.data.sources import FilesSource, HubSource
from transfix.errors import Problem, ProblemsError
from transfix.models.quantised import Quantization
from transfix.runs.settings import Evaluation, Exemplars, Exposure, Frozen, Train

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
DEVICE = r"^(auto|cpu|mps|(cuda|xpu)(:\d+)?)$"


def as_parts(value: object) -> object:
    """An adapter as its list of parts, from its short forms: a part, a name, `prefix+lora`, or a list of those."""
    if isinstance(value, str):
        return [{"method": name.strip()} for name in value.split("+")]
    if isinstance(value, Mapping | Part):
        return [value]
    if isinstance(value, Sequence):
        return [part for item in value for part in (as_parts(item) if isinstance(item, str) else [item])]  # type: ignore[attr-defined]
    return value


def _parts_fit(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    if not parts:
        raise ValueError(f"is empty (allowed: {', '.join(METHODS)}, or a list of them; base trains nothing)")
    if len(parts) > limits.PARTS:
        raise ValueError(f"has {len(parts):,} parts (allowed: at most {limits.PARTS})")
    methods = [part.method for part in parts]
    if twice := sorted({method for method in methods if methods.count(method) > 1}):
        raise ValueError(f"has {', '.join(twice)} twice: an adapter can have each method once")
    for part in parts:
        if len(parts) > 1 and part.stands_alone:
            raise ValueError(f"{part.method} cannot be combined with other parts: {part.stands_alone}")
    return parts


def _with_rates(data: Any) -> Any:
    """A specification with the learning rate of its method, where it says none; in a hybrid each part has its own."""
    train: Any = data.get("train") if isinstance(data, Mapping) else None
    said = set(train) if isinstance(train, Mapping) else train.model_fields_set if isinstance(train, Train) else None
    parts = as_parts(data.get("adapter")) if said is not None and "learning_rate" not in said else None
    if not isinstance(parts, list):
        return data
    rates = [_usual_rate(part) for part in parts]
    rate = next((rate for rate in rates if rate is not None), None)
    if rate is None:
        return data
    own = [_with_rate(part, own) if own not in (None, rate) else part for part, own in zip(parts, rates, strict=True)]
    trained = (
        train.model_copy(update={"learning_rate": rate})
        if isinstance(train, Train)
        else {**train, "learning_rate": rate}
    )
    return {**data, "train": trained, **({"adapter": own} if own != parts else {})}


def _usual_rate(part: Any) -> float | None:
    """Of a part that learns, as it is or as a mapping; None where it is not known."""
    kind = (
        type(part)
        if isinstance(part, Part)
        else METHODS.get(str(part.get("method")))
        if isinstance(part, Mapping)
        else None
    )
    return kind.usual_rate if kind is not None and kind.learns else None


def _with_rate(part: Any, rate: float | None) -> Any:
    """A part with a rate of its own, unless it has one."""
    if isinstance(part, Part):
        return part if part.learning_rate is not None else part.model_copy(update={"learning_rate": rate})
    return {**part, "learning_rate": rate} if part.get("learning_rate") is None else part


def _as_evaluations(value: object) -> object:
    return [] if value is None else [value] if isinstance(value, Mapping | Evaluation) else value


def _methods_allowed() -> str:
    return f"a method ({', '.join(METHODS)}), a mapping with one, or a list of those"


Parts = Annotated[tuple[AnyPart, ...], BeforeValidator(as_parts), AfterValidator(_parts_fit)]
Evaluations = Annotated[tuple[Evaluation, ...], BeforeValidator(_as_evaluations)]


class RunSpec(Frozen):
    """One run: a model, an adapter, how it is trained and what it is measured on.

    Attributes:
        model: a hub name, a local directory, or the name of a packaged model.
        revision: the hub's branch, tag or commit.
        dtype: of the base weights; `auto` is what is fast on the device (see `resolved`).
        quantization: `none`, or the base's linear layers in `int8` or `int4` (see `models.quantised`).
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`. Not part of the run's identity.
        offload: where the layers' weights stay while they do not run: `none` on the device, `cpu` in main memory (beside a
            GPU), `disk` in the model's files. Not part of the run's identity.
        adapter: the parts of the adapter.
        train: must be given for a trained adapter, and left out (or null) for `base`.
        evaluate: not part of the run's identity: the same adapter can be measured on more later.
    """

    model: str = Field(
        min_length=1, description="a hub name, a local directory, or a packaged model such as gemma-3-270m"
    )
    revision: str | None = None
    dtype: Dtype = "auto"
    quantization: Quantization = "none"
    device: str = Field("auto", pattern=DEVICE, description="auto, cpu, cuda, cuda:1, mps or xpu")
    offload: Literal["none", "cpu", "disk"] = "none"
    adapter: Annotated[Parts, Allowed(_methods_allowed)]
    train: Train | None = Field(default=None, validate_default=True)
    evaluate: Evaluations = ()
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="before")
    @classmethod
    def _rates_of_methods(cls, data: Any) -> Any:
        return _with_rates(data)

    @field_validator("adapter")
    @classmethod
    def _quantised_base_stays(cls, parts: tuple[Part, ...], info: ValidationInfo) -> tuple[Part, ...]:
        quantization = info.data.get("quantization", "none")
        if quantization != "none" and (training := _training_base(parts)):
            raise ValueError(
                f"{training} cannot train weights in {quantization}: use quantization: none, or another method"
            )
        return parts

    @field_validator("train", mode="before")
    @classmethod
    def _train_fits_adapter(cls, train: object, info: ValidationInfo) -> object:
        parts: Sequence[Part] = info.data.get("adapter", ())
        methods, learns = "+".join(part.method for part in parts), any(part.learns for part in parts)
        if methods and not learns and train is not None:
            raise ValueError(f"adapter {methods} trains nothing: leave train out, or set it to null (--set train=null)")
        if learns and train is None:
            raise ValueError(f"is missing: {methods} has to be trained (adapter: base measures the model as it is)")
        return train

    @field_validator("offload")
    @classmethod
    def _one_way_to_be_smaller(cls, offload: str, info: ValidationInfo) -> str:
        quantization = info.data.get("quantization", "none")
        if offload != "none" and quantization != "none":
            raise ValueError(f"{offload} does not go with quantization {quantization}: leave one of them out")
        return offload

    @field_validator("adapter")
    @classmethod
    def _weights_that_learn_stay(cls, parts: tuple[Part, ...], info: ValidationInfo) -> tuple[Part, ...]:
        if info.data.get("offload", "none") != "none" and (training := _training_base(parts)):
            raise ValueError(
                f"{training} trains every weight, which offload keeps away from the device: leave offload out"
            )
        return parts

    @field_validator("train")
    @classmethod
    def _offloaded_weights_are_let_go(cls, train: Train | None, info: ValidationInfo) -> Train | None:
        offload = info.data.get("offload", "none")
        if train is not None and offload != "none" and not train.gradient_checkpointing:
            raise ValueError(
                f"offload: {offload} needs gradient_checkpointing: true (without it the backward pass holds on to every "
                "layer's weights, and nothing is saved)"
            )
        if train is not None and offload != "none" and train.compile:
            raise ValueError(
                f"offload: {offload} brings weights in while layers run, which compile: true cannot: use one"
            )
        return train

    @field_validator("evaluate")
    @classmethod
    def _results_do_not_collide(cls, evaluations: tuple[Evaluation, ...]) -> tuple[Evaluation, ...]:
        if len(evaluations) > limits.EVALUATIONS:
            raise ValueError(f"has {len(evaluations):,} entries (allowed: at most {limits.EVALUATIONS:,})")
        for index, second in enumerate(evaluations):
            for earlier, first in enumerate(evaluations[:index]):
                if second.result == first.result and _overlap(first.languages, second.languages):
                    what = f"entries {earlier} and {index} both evaluate {first.result}"
                    raise ValueError(f"{what} in the same language: give one of them a name of its own (name: ...)")
        return evaluations

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()) -> Self:
        """Reads and checks a specification.

        Args:
            source: a YAML file, or what such a file would hold.
            overrides: `path=value` settings in YAML, applied in order: `train.rows=500`, `adapter.0.tokens=20`.

        Raises:
            ProblemsError: with every problem of the specification and the overrides.
            TransfixError: the file is missing or not YAML.
        """
        data, name, problems = read_mapping(source, "the specification", cls.model_fields, unregistered)
        for setting in overrides:
            expand(data)
            paths.override(data, setting, problems)
        expand(data)

        def model_at(path: validation.Path) -> type[BaseModel] | None:
            return _model_at(path, data)

        spec = validation.checked(cls, data, problems, model_at)
        problems += validation.boolean_problems(data, model_at)
        if problems or spec is None:
            count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
            raise ProblemsError(f"{name} has {count}:", problems)
        return spec

    def to_yaml(self) -> str:
        """The specification as YAML, with every default written out; `load` reads it back as an equal object."""
        return yaml_dialect.dump(self.model_dump(mode="json"))

    def identity(self) -> str:
        """12 hexadecimal digits of a SHA-256 over what decides the trained adapter: not `evaluate`, `device`, `offload`.

        Settings that came later count only where they are used, so that the runs from before keep their names.
        """
        content = self.model_dump(mode="json", exclude={"evaluate", "device", "offload"})
        if self.quantization == "none":
            del content["quantization"]
        if self.train is not None and not self.train.compile:
            del content["train"]["compile"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def resolved(
        self, *, dtype: Dtype | None = None, device: str | None = None, rows_digest: str | None = None
    ) -> Self:
        """The specification with what `auto` came to, and the digest of its training rows' files.

        The data type and the digest are part of a run's identity, the device is not.
        """
        content = self.model_dump(mode="json")
        content |= {key: value for key, value in (("dtype", dtype), ("device", device)) if value is not None}
        if rows_digest is not None:
            content["train"]["rows_digest"] = rows_digest
        return self.model_validate(content)

    def check_data(self) -> None:
        """Finds out, before hours of work, whether all rows are there: files, languages, splits. Reads no row.

        Raises:
            ProblemsError: with everything that is missing, for training and for every evaluation.
        """
        from transfix import data, tasks

        problems: list[Problem] = []
        for index, part in enumerate((self.train, *self.evaluate), start=-1):
            if part is None:
                continue
            task = tasks.get(part.task)
            split = part.split or (task.train_split if part is self.train else None) or task.default_split
            try:
                data.check(task.benchmark, part.data, part.codes, split)
            except data.DataError as error:
                where = "train.data" if part is self.train else f"evaluate[{index}].data"
                problems += [Problem(where, error.title)] if not error.problems else []
                problems += [item.at(f"{where}: {item.where}") for item in error.problems]
        if problems:
            raise ProblemsError("the data of this specification is not all there:", problems)

    @property
    def method(self) -> str:
        """`llama_adapter`, `prefix+lora`."""
        return "+".join(part.method for part in self.adapter)

    @property
    def trains_base(self) -> bool:
        """Whether the base's own weights are trained."""
        return bool(_training_base(self.adapter))

    @property
    def trained(self) -> bool:
        """Whether there is anything to train (not for `base`)."""
        return self.train is not None

    @property
    def name(self) -> str:
        """The directory of the run: `llama_adapter-gemma-3-270m-0123456789ab`."""
        model = re.sub(r"[^A-Za-z0-9._]+", "-", Path(self.model.rstrip("/")).name).strip("-.") or "model"
        return f"{self.method}-{model[:60]}-{self.identity()}"

    @property
    def title(self) -> str:
        """The adapter as a table names it: `LLaMA-Adapter, 10 tokens`, `LoRA r=4`, `LoRA r=4, int4 base`."""
        base = "" if self.quantization == "none" else f", {self.quantization} base"
        return " + ".join(titled(part) for part in self.adapter) + base


def _training_base(parts: Sequence[Part]) -> str:
    """The name of the part that trains the base's own weights; empty if there is none."""
    return next((part.method for part in parts if part.trains_base), "")


def _overlap(first: str | tuple[str, ...], second: str | tuple[str, ...]) -> bool:
    return isinstance(first, str) or isinstance(second, str) or bool(set(first) & set(second))


def expand(data: dict[str, Any]) -> None:
    """Writes the short forms of a plain specification out, in place, so that settings and messages can point into them."""
    if "adapter" in data:
        data["adapter"] = as_parts(data["adapter"])
    if "evaluate" in data:
        data["evaluate"] = _as_evaluations(data["evaluate"])


def _model_at(path: validation.Path, data: Mapping[str, Any]) -> type[BaseModel] | None:
    """The model that governs the mapping at a path of a plain specification."""
    match path:
        case ():
            return RunSpec
        case ("train",):
            return Train
        case ("train", "exposure"):
            return Exposure
        case ("evaluate", int()):
            return Evaluation
        case ("evaluate", int(), "few_shot"):
            return Exemplars
        case ("adapter", int(index)):
            part = data["adapter"][index]
            return METHODS.get(str(part.get("method"))) if isinstance(part, Mapping) else None
        case (*outer, "data"):
            here: Any = data
            for key in (*outer, "data"):
                here = here[key]
            return HubSource if "hub" in here else FilesSource if "files" in here else None
    return None
