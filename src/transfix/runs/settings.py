"""What a specification says about training and about evaluation, each on the rows of one task.

Tasks and languages are looked up when a specification is read, not when this module is imported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from transfix.config import limits
from transfix.config.validation import FieldError
from transfix.data.sources import DataSource, FilesSource, SnapshotSource
from transfix.errors import TransfixError

if TYPE_CHECKING:
    from transfix.tasks import Task

Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]


def _line(error: TransfixError) -> str:
    return "; ".join(str(error).splitlines()).replace("?; ", "? ")


def _language(code: str) -> str:
    """The FLORES-style code of a code, alias or name."""
    from transfix import languages

    try:
        return languages.get(code).code
    except TransfixError as error:
        raise ValueError(_line(error)) from error


def _task_name(name: str) -> str:
    """The name of a built-in task, or the path of a task file as it was given."""
    from transfix import tasks

    try:
        task = tasks.get(name)
    except TransfixError as error:
        raise ValueError(_line(error)) from error
    return name if task.origin else task.name


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) and value != "all" else value


LanguageCode = Annotated[str, AfterValidator(_language)]
Languages = Annotated[
    Literal["all"] | Annotated[tuple[LanguageCode, ...], Field(min_length=1)], BeforeValidator(_one_or_many)
]


class Frozen(BaseModel):
    """What all parts of a specification have in common: no field can be changed, none is unknown, none is infinite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OnTask(Frozen):
    """What is asked, of which rows.

    Attributes:
        task: its name, or the path of a task file.
        data: where the rows come from: `snapshot`, `{files: ...}` or `{hub: ...}`; left out, the task's own.
        split: `None` is the task's default.
        template: the name of one of the task's templates, or a prompt with the task's fields as `{{field}}`; `None` is the
            task's own.
        verbaliser: for every class the word that stands for it; `None` is the template's.
        on_bad_rows: `error` names all bad rows and stops, `skip` leaves them out and counts them.
    """

    purpose: ClassVar[Literal["train", "test"]] = "test"
    task: Annotated[str, AfterValidator(_task_name)]
    data: DataSource = Field(default=None, validate_default=True)
    split: str | None = None
    template: str | None = None
    verbaliser: dict[str, str] | None = None
    on_bad_rows: Literal["error", "skip"] = "error"
    languages: Languages  # after `task` and `data`, which say what is allowed

    @property
    def codes(self) -> tuple[str, ...]:
        """FLORES-style codes of the languages, `all` written out."""
        from transfix import tasks

        return tasks.get(self.task).languages if self.languages == "all" else tuple(self.languages)

    @field_validator("data", mode="before")
    @classmethod
    def _own_data(cls, source: Any, info: ValidationInfo) -> Any:
        if source is not None:
            return source
        task = _task_of(info)
        return SnapshotSource() if task is None else task.source(cls.purpose)

    @field_validator("split")
    @classmethod
    def _split_exists(cls, split: str | None, info: ValidationInfo) -> str | None:
        task = _task_of(info)
        if split is not None and task is not None and not isinstance(info.data.get("data"), FilesSource):
            try:
                return task.benchmark.split(split)
            except TransfixError as error:
                raise ValueError(str(error)) from error
        return split

    @field_validator("template")
    @classmethod
    def _template_fits(cls, template: str | None, info: ValidationInfo) -> str | None:
        task = _task_of(info)
        if template is not None and task is not None and (found := task.problems(template=template)):
            raise FieldError(found)
        return template

    @field_validator("verbaliser")
    @classmethod
    def _verbaliser_fits(cls, words: dict[str, str] | None, info: ValidationInfo) -> dict[str, str] | None:
        task = _task_of(info)
        if words is not None and task is not None and (found := task.problems(verbaliser=words)):
            raise FieldError(found)
        return words

    @field_validator("languages", mode="before", check_fields=False)
    @classmethod
    def _regions_fit(cls, written: Any, info: ValidationInfo) -> Any:
        task, split = _task_of(info), info.data.get("split")
        if task is not None and split is None and cls.purpose == "train":
            split = task.train_split
        return _of_its_region(written, task, info.data.get("data"), split)

    @field_validator("languages", check_fields=False)
    @classmethod
    def _languages_fit(cls, codes: str | tuple[str, ...], info: ValidationInfo) -> str | tuple[str, ...]:
        if isinstance(codes, str):
            return codes
        if repeated := _repeated(codes):
            raise ValueError(f"{', '.join(repeated)} more than once (aliases of one language count as one)")
        task = _task_of(info)
        # files may hold any language; the snapshot and the hub have the benchmark's own
        if task is None or isinstance(info.data.get("data"), FilesSource):
            return codes
        if foreign := [code for code in codes if code not in task.languages]:
            allowed = ", ".join(task.languages)
            raise ValueError(f"{task.name} has no rows in {', '.join(foreign)} (allowed: all, {allowed})")
        return codes


def _of_its_region(written: Any, task: Task | None, source: object, split: str | None) -> Any:
    """Languages as they are written; refused where one is of another region than the task's rows."""
    from transfix.tasks.regions import other_region

    names = [written] if isinstance(written, str) else written if isinstance(written, list | tuple) else []
    if task is not None and (why := other_region(task, names, source, split)):
        raise ValueError(why)
    return written


def _repeated(codes: Sequence[str]) -> list[str]:
    return sorted(code for code, count in Counter(codes).items() if count > 1)


def _task_of(info: ValidationInfo) -> Task | None:
    """The task that the fields checked so far name, or None if its name was wrong (which is reported already)."""
    from transfix import tasks

    return tasks.get(info.data["task"]) if "task" in info.data else None


def _task_or_none(name: object) -> Task | None:
    from transfix import tasks

    try:
        return tasks.get(name) if isinstance(name, str) else None
    except TransfixError:  # which is reported where it stands
        return None


class Exemplars(Frozen):
    """Rows with their answers, shown before each question (few-shot prompting).

    Attributes:
        shots: how many.
        language: `english`, `target` (the language that is asked in), or a language.
        task: whose rows they are; `None` is the task's usual source of exemplars.
        data, split: where they come from; never the split that is measured.
        seed: of the draw; balanced over the classes of a choice.
    """

    shots: Count
    language: Literal["english", "target"] | LanguageCode | None = None
    task: Annotated[str, AfterValidator(_task_name)] | None = None
    data: DataSource | None = None
    split: str | None = None
    seed: CountOrNone = 0


class Exposure(Frozen):
    """Labelled rows of other languages, trained on besides the English ones.

    Attributes:
        rows: how many of each language.
        languages: which.
        task: whose rows they are; `None` is the one that is trained on.
        data, split: where they come from.
    """

    rows: Count
    languages: Annotated[
        tuple[LanguageCode, ...], Field(min_length=1), BeforeValidator(lambda v: [v] if isinstance(v, str) else v)
    ]
    task: Annotated[str, AfterValidator(_task_name)] | None = None
    data: DataSource | None = None
    split: str | None = None


class Train(OnTask):
    """How an adapter is trained.

    Attributes:
        rows: how many labelled rows are used; `None` is all.
        development_rows: rows kept apart, to evaluate on while training.
        exposure: labelled rows of other languages to train on besides.
        max_tokens: prompts longer than this are cut in the middle of the context, and counted; `None` is the task's own.
        learning_rate: parts of the adapter may override it. In a specification that leaves it out it is the method's
            (`Part.usual_rate`), and in a hybrid each part has its own.
        batch_rows: rows an optimiser step.
        batch_tokens: tokens a forward pass; a step with more is accumulated over several.
        warmup: share of the steps.
        evaluate_every: steps between two evaluations on the development rows; 0 is the end of each epoch.
        early_stopping: how many evaluations without a better result end the training; `None` never does.
        checkpoint_every: steps between two checkpoints.
        compile: let torch.compile make the layers, which takes half a minute and needs a C++ compiler; a quarter faster on a
            GPU. Numbers are rounded in other places.
        keep_lower_layers: compute the frozen layers below the lowest adapted one once a row instead of once an epoch.
        rows_digest: of the files that the rows are read from. Filled in when a run is started, so that rows that changed
            under the same path make another run; leave it out.
    """

    purpose: ClassVar[Literal["train", "test"]] = "train"
    languages: Annotated[Languages, Field(validate_default=True)] = ("eng_Latn",)  # which a task may not have
    rows: Count | None = 3000
    development_rows: CountOrNone = 200
    exposure: Exposure | None = None
    max_tokens: Annotated[int, Field(ge=8)] = Field(default=None, validate_default=True)
    epochs: Annotated[int, Field(ge=1, le=limits.EPOCHS)] = 3
    learning_rate: Annotated[float, Field(gt=0)] = 1e-2
    batch_rows: Count = 16
    batch_tokens: Count = 4096
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    evaluate_every: CountOrNone = 0
    early_stopping: Count | None = None
    checkpoint_every: Count = 50
    gradient_checkpointing: bool = False
    compile: bool = False
    keep_lower_layers: bool = True
    rows_digest: str | None = None

    @field_validator("max_tokens", mode="before")
    @classmethod
    def _own_length(cls, tokens: Any, info: ValidationInfo) -> Any:
        task = _task_of(info)
        return (256 if task is None else task.max_tokens) if tokens is None else tokens

    @field_validator("exposure", mode="before")
    @classmethod
    def _exposure_is_of_its_region(cls, exposure: Any, info: ValidationInfo) -> Any:
        if isinstance(exposure, Mapping):
            task = _task_of(info) if exposure.get("task") is None else _task_or_none(exposure["task"])
            source = None if task is None else task.source("train")
            _of_its_region(exposure.get("languages"), task, source, exposure.get("split"))
        return exposure

    @model_validator(mode="after")
    def _rows_to_train_on(self) -> Self:
        from transfix import tasks

        if self.split is None and tasks.get(self.task).train_split is None:
            raise ValueError(f"{self.task} has no training split: name the split to train on, or train on another task")
        return self

    @model_validator(mode="after")
    def _exposure_is_to_other_languages(self) -> Self:
        codes = self.exposure.languages if self.exposure else ()
        if repeated := _repeated(codes):
            raise ValueError(f"exposure: {', '.join(repeated)} more than once (aliases of one language count as one)")
        if both := [code for code in codes if self.languages == "all" or code in self.languages]:
            raise ValueError(f"exposure: {', '.join(both)} is trained on already; name other languages")
        return self

    @model_validator(mode="after")
    def _stopping_needs_rows(self) -> Self:
        if self.development_rows == 0 and (self.early_stopping or self.evaluate_every):
            key = "early_stopping" if self.early_stopping else "evaluate_every"
            raise ValueError(f"{key} needs development_rows above 0: there is nothing to evaluate on")
        return self


class Calibration(BaseModel):
    """Rows from which it is taken which label is preferred in a language whatever the text says.

    Attributes:
        rows: unlabelled rows a language, of those that are not measured; 0 is none.
        content_free: also prompts without content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    rows: CountOrNone = 64
    content_free: bool = False


class Evaluation(OnTask):
    """What an adapter is measured on.

    Attributes:
        languages: `all` of the task, or some; codes, aliases and names are accepted and stored as FLORES-style codes.
        limit: rows a language, the first ones; `None` is all.
        name: what the results are kept as, so that one task can be measured in several ways; `None` is the task's name.
        few_shot: rows with their answers, shown before each question.
        max_tokens: longer prompts are cut in the middle, and counted; `None` is what the model can read.
        max_new_tokens: of a generated answer; `None` is the template's.
        temperature, top_p: of sampling; temperature 0 takes the likeliest token (greedy).
        generation_seed: of sampling.
        calibration: what else is asked so that choices can be calibrated; `None` calibrates on the rows measured.
    """

    languages: Languages = "all"
    limit: Count | None = None
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")] | None = None
    few_shot: Exemplars | None = None
    max_tokens: Annotated[int, Field(ge=8)] | None = None
    max_new_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    generation_seed: CountOrNone = 0
    calibration: Calibration | None = None

    @field_validator("calibration")
    @classmethod
    def _labels_to_calibrate(cls, wanted: Calibration | None, info: ValidationInfo) -> Calibration | None:
        task = _task_of(info)
        if wanted is not None and task is not None and task.kind != "choice":
            raise ValueError(f"{task.name} has no labels to choose from: leave calibration out")
        return wanted

    @property
    def result(self) -> str:
        """What the results are kept as."""
        from transfix import tasks

        return self.name or tasks.get(self.task).name
