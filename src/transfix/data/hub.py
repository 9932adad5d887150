"""Reads examples from a dataset on the hub through `datasets.load_dataset`, and explains what goes wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transfix.data.benchmarks import Benchmark, HubHome
from transfix.data.example import BadRows, DataError, Rows
from transfix.data.rows import LANGUAGE, Reading, examples
from transfix.data.sources import HubSource
from transfix.data.tables import Record, Table

BATCH = 1000


def read_hub(source: HubSource, reading: Reading) -> Rows:
    """The rows of one language and split of a hub dataset (downloaded once into the cache of `datasets`).

    Raises:
        DataError: if it cannot be reached or has no such configuration, split or columns; or with all bad rows.
    """
    if problem := check_languages(source, reading.benchmark, reading.language):
        raise DataError(f"{problem} (allowed: {', '.join(reading.benchmark.languages)})")
    home = reading.benchmark.hub.get(source.hub, HubHome())
    config = source.config or home.config
    if config is not None:
        own_code = reading.benchmark.own_code(reading.language)
        config = config.replace("{lang}", own_code).replace("{split}", reading.split)
    split = source.split or reading.split
    name = f"{source}{f', config {config}' if config else ''}, split {split}"
    reading.check(name)
    dataset = _load(source, config, split, name)
    bad = BadRows(name, unit="row")
    table = _table(dataset, reading)
    found, dropped = examples(table, reading, bad)
    return Rows(found, name, table.layout, dropped)


def _load(source: HubSource, config: str | None, split: str, name: str) -> Any:
    import datasets

    try:
        return datasets.load_dataset(source.hub, name=config, split=split, revision=source.revision)
    except Exception as error:  # the boundary to a library that raises its own, huggingface_hub's, httpx' and OS errors
        reason = " ".join(str(error).split())[:300] or "no reason given"
        raise DataError(f"{name}: cannot be loaded: {type(error).__name__}: {reason}. {_advice(error)}") from error


def _advice(error: Exception) -> str:
    from datasets.exceptions import DatasetNotFoundError

    if isinstance(error, DatasetNotFoundError):
        return "Check its name; a gated one needs `hf auth login`; without a network use `data: snapshot` or files."
    if isinstance(error, ValueError) and ("BuilderConfig" in str(error) or "Config name" in str(error)):
        return "Name one of the dataset's configurations with `config:`."
    if isinstance(error, ValueError) and "split" in str(error).lower():
        return "Name one of the dataset's splits with `split:`."
    if type(error) is FileNotFoundError:
        return "Check the dataset's path."
    return "If this machine is offline, use `data: snapshot` or local files (`data: {files: ...}`)."


def _table(dataset: Any, reading: Reading) -> Table:
    features = dataset.features
    if _is_multilingual(features):
        columns = (*features, LANGUAGE)
        records = _translations(dataset, reading)
        layout = "hub dataset, all languages of a row together"
    else:
        columns, records, layout = tuple(features), _records(dataset), "hub dataset"
    label = reading.columns.get("label")
    labels = [label] if label else [name for name in reading.benchmark.columns["label"] if name in features]
    names = getattr(features.get(labels[0]), "names", None) if labels else None
    return Table(layout, columns, records, class_names=tuple(names) if names else None, is_typed=True)


def _records(dataset: Any) -> Iterator[Record]:
    number = 0
    for batch in dataset.iter(batch_size=BATCH):
        for values in zip(*batch.values(), strict=True):
            yield Record(number, dict(zip(batch, values, strict=True)))
            number += 1


def _is_multilingual(features: Any) -> bool:
    """Whether this is laid out as XNLI's `all_languages`: premise {code: text}, hypothesis {language, translation}."""
    return type(features.get("hypothesis")).__name__ == "TranslationVariableLanguages"


def _translations(dataset: Any, reading: Reading) -> Iterator[Record]:
    codes = reading.benchmark.codes(reading.language)
    for record in _records(dataset):
        texts = {field: _by_language(record.values[field]) for field in reading.benchmark.fields}
        for code in codes:
            if all(code in by_language for by_language in texts.values()):
                chosen = {field: by_language[code] for field, by_language in texts.items()}
                yield Record(record.number, {**record.values, **chosen, LANGUAGE: code})
                break
        else:
            for code in texts[reading.benchmark.fields[0]]:
                yield Record(record.number, {**record.values, LANGUAGE: code})


def _by_language(value: Any) -> dict[str, str]:
    if isinstance(value, dict) and {"language", "translation"} <= value.keys():
        return dict(zip(value["language"], value["translation"], strict=True))
    return dict(value) if isinstance(value, dict) else {}


def check_languages(source: HubSource, benchmark: Benchmark, language: str) -> str | None:
    """What is wrong with asking a known hub dataset for `language`, if anything; nothing is fetched."""
    if source.hub in benchmark.hub and language not in benchmark.languages:
        return f"{source.hub} has no {language}"
    return None
