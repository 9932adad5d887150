"""Writes a user's rows with their answers: jsonl, csv, tsv, parquet, as the file's name says. Texts are left as they are.

A text that begins with `=` stays one: a spreadsheet may take it for a formula, as in the file it came from.
"""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from transfix.data.columnar import is_columnar, read_columns
from transfix.data.example import DataError
from transfix.data.lines import peek

Form = Literal["jsonl", "csv", "tsv", "parquet"]
_FORMS: Mapping[str, Form] = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet"}


_TABLES = ".xlsx", ".xls", ".xlsm", ".ods", ".arrow", ".feather", ".ipc", ".orc", ".avro", ".pkl", ".sqlite", ".db"
_TEXTS = ".yaml", ".yml", ".xml", ".html"
_ARCHIVES = ".zip", ".tar", ".tgz", ".7z", ".bz2", ".xz", ".zst", ".lz4"
_OTHERS = frozenset((*_TABLES, *_TEXTS, *_ARCHIVES))
"""Endings of forms that are not written: a file of another form under such a name would open nowhere."""


def form_of(path: Path) -> Form:
    """What a file shall be by its name; jsonl if that does not say it.

    Raises:
        DataError: its name says a form that is not written.
    """
    packed = path.suffix.lower() == ".gz"
    ending = (path.with_suffix("") if packed else path).suffix.lower()
    if ending in _OTHERS or (packed and ending == ".parquet"):
        said = f"{ending}.gz" if packed else ending
        raise DataError(
            f"{path}: no {said} is written: name a file .jsonl, .csv, .tsv (with .gz behind it to compress it) or .parquet"
        )
    return _FORMS.get(ending, "jsonl")


def columns_of(form: Form, added: Mapping[str, object]) -> list[str]:
    """The columns that answers become: a table of texts has one for each class in place of `probabilities`."""
    return list(_flat(added) if form in ("csv", "tsv") else added)


def content_of(
    target: Path,
    rows: Sequence[Mapping[str, object]],
    added: Sequence[Mapping[str, object]],
    source: Path,
    places: Sequence[int | str],
) -> bytes:
    """The bytes of a file of rows with their answers.

    Args:
        target: the file they are for.
        rows: the user's own columns.
        added: what is added to each.
        source: where the rows came from: its columns keep their types where both files have some.
        places: of the rows in it.

    Raises:
        DataError: if a column's values have no place in such a file.
    """
    form = form_of(target)
    if form == "parquet":
        return _parquet(rows, added, source, places)
    text = _jsonl(rows, added) if form == "jsonl" else _separated(rows, added, "," if form == "csv" else "\t")
    content = text.encode()
    return gzip.compress(content, mtime=0) if target.suffix.lower() == ".gz" else content


def _jsonl(rows: Sequence[Mapping[str, object]], added: Sequence[Mapping[str, object]]) -> str:
    lines = [_json({**row, **more}) for row, more in zip(rows, added, strict=True)]
    return "\n".join(lines) + "\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> str:
    """A value of a typed column as text."""
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta | decimal.Decimal):
        return str(value) if isinstance(value, datetime.timedelta | decimal.Decimal) else value.isoformat()
    raise DataError(f"a row has a value of type {type(value).__name__}, which no text holds: write parquet")


def _separated(rows: Sequence[Mapping[str, object]], added: Sequence[Mapping[str, object]], mark: str) -> str:
    whole = [{**row, **_flat(more)} for row, more in zip(rows, added, strict=True)]
    own = dict.fromkeys(name for row in rows for name in row)
    columns = [*own, *dict.fromkeys(name for more in added for name in _flat(more))]
    lines = [columns, *([_cell(row.get(name)) for name in columns] for row in whole)]
    return "".join(_line(line, mark) + "\n" for line in lines)


def _flat(added: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in added.items():
        inner = {f"probability_{key}": share for key, share in value.items()} if isinstance(value, Mapping) else None
        found |= {name: value} if inner is None else inner
    return found


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    return _json(value).strip('"') if isinstance(value, datetime.date | decimal.Decimal) else _json(value)


def _line(texts: Sequence[str], mark: str) -> str:
    """A line whose cells are quoted where it is needed; of a single empty one too, which else were an empty line."""
    special = (mark, '"', "\n", "\r")
    quoted = ['"' + text.replace('"', '""') + '"' if any(c in text for c in special) else text for text in texts]
    return '""' if quoted == [""] else mark.join(quoted)


def _parquet(
    rows: Sequence[Mapping[str, object]],
    added: Sequence[Mapping[str, object]],
    source: Path,
    places: Sequence[int | str],
) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if is_columnar(source, peek(source)[0]):
        table: Any = read_columns(source).take(pa.array(places, pa.int64()))
    else:
        names = dict.fromkeys(name for row in rows for name in row)
        table = pa.table({name: _array(name, [row.get(name) for row in rows]) for name in names})
    for name in added[0]:
        table = table.append_column(name, _array(name, [more[name] for more in added]))
    # what `datasets` says of the columns would no longer be whole
    kept = {
        key: value for key, value in (table.schema.metadata or {}).items() if key not in (b"huggingface", b"pandas")
    }
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(kept or None), sink)
    return sink.getvalue()


def _array(name: str, values: Sequence[object]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(
            f"the column {name!r} has values of several types, which parquet has not: write jsonl"
        ) from error
