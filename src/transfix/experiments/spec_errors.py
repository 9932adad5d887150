"""What pydantic found wrong with a specification, as problems a person can act on: the names of `model_errors`."""

from __future__ import annotations

from transfix.model_errors import (
    FieldError,
    ModelAt,
    Path,
    boolean_problems,
    describe,
    did_you_mean,
    dotted,
    field_problems,
    real_path,
    show,
)

__all__ = [
    "FieldError",
    "ModelAt",
    "Path",
    "boolean_problems",
    "describe",
    "did_you_mean",
    "dotted",
    "field_problems",
    "real_path",
    "show",
]
