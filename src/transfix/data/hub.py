"""Reads examples from a dataset on the hub through `datasets.load_dataset`, and explains what goes wrong on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from transfix.data.benchmarks import ENGLISH, IDENTIFIER, LANGUAGE, Benchmark, HubHome
from transfix.data.example import BadRows, DataError, Rows
from transfix.data.hub_failures import advice
from transfix.data.label_names import names_of
from transfix.data.pairs import TARGET, check_side, pair
from transfix.data.rows import Reading, read_table
from transfix.data.sources import HubSource
from transfix.data.tables import Record, Table
from transfix.languages.spellings import choose

BATCH = 1000
TEXT = "text"
"""The column of a dataset of sentences in one language."""


def read_hub(source: HubSource, reading: Reading) -> Rows:
    """The rows of one language and split of a hub dataset (downloaded once into the cache of `datasets`).

    Raises:
        DataError: if it cannot be reached or has no such configuration, split or columns; or with all bad rows.
    """
    benchmark = reading.benchmark
    check_hub(source, benchmark, reading.language)
    home = benchmark.hub.get(source.hub, HubHome())
    config = _config(source.config or home.configs.get(reading.split, home.config), reading, reading.language)
    split = source.split or home.splits.get(reading.split, reading.split)
    if source.config is not None and "{lang}" in source.config:
        config = _respelt(source, config, reading)
    name = _name(source, config, split)
    reading.check(name)
    dataset = _load(source, config, split, name, home.instead)
    if benchmark.parallel is None:
        table = _table(dataset, reading)
    else:
        pattern = next((each for each in (source.config, home.config) if each and "{lang}" in each), None)
        table = _pairs(dataset, source, _config(pattern, reading, ENGLISH), split, name, reading)
    return read_table(table, reading, BadRows(name, unit="row"))


def _config(pattern: str | None, reading: Reading, language: str) -> str | None:
    if pattern is None:
        return None
    return pattern.replace("{lang}", reading.benchmark.own_code(language)).replace("{split}", reading.split)


def _respelt(source: HubSource, config: str | None, reading: Reading) -> str | None:
    """The configuration of a language of one's own task, however the dataset spells it.

    Raises:
        DataError: if it is not clear which.
    """
    benchmark, language = reading.benchmark, reading.language
    if not benchmark.written or source.config is None:
        return config
    import datasets

    try:
        names = datasets.get_dataset_config_names(source.hub, revision=source.revision)
    except Exception:  # loading it says what is wrong, see `_load`
        return config
    if config in names:
        return config
    first, *others = map(re.escape, source.config.replace("{split}", reading.split).split("{lang}"))
    form = re.compile(f"{first}(?P<lang>.+?)" + "(?P=lang)".join(others))
    texts = {match["lang"]: name for name in names if (match := form.fullmatch(name)) is not None}
    found, what = choose(tuple(texts), language, benchmark.written.get(language))
    if len(found) > 1 or what is not None:
        said = what or f"{' and '.join(found)} are all configurations of {language}"
        raise DataError(f"{source}: {said}: write the code that is meant in `languages:`")
    return texts[found[0]] if found else config


def _name(source: HubSource, config: str | None, split: str) -> str:
    return f"{source}{f', config {config}' if config else ''}, split {split}"


def _pairs(
    dataset: Any, source: HubSource, english_config: str | None, split: str, name: str, reading: Reading
) -> Table:
    """The pairs of a FLORES dataset: both sentences of a row in one dataset, or one dataset a language."""
    benchmark, language = reading.benchmark, reading.language
    columns = tuple(dataset.features)
    sentences = (f"sentence_{ENGLISH}", f"sentence_{benchmark.own_code(language)}")
    if set(sentences) <= set(columns):
        sides = ((row.values[sentences[0]], row.values[sentences[1]]) for row in _records(dataset))
    elif TEXT in columns and english_config is not None:
        english = _load(source, english_config, split, _name(source, english_config, split))
        if len(english) != len(dataset):
            raise DataError(f"{name}: has {len(dataset):,} rows, but its English configuration has {len(english):,}")
        rows = [
            [(row.values.get(IDENTIFIER), row.values.get(TEXT)) for row in _records(side)]
            for side in (english, dataset)
        ]
        if any(one[0] != other[0] for one, other in zip(*rows, strict=True)):
            raise DataError(f"{name}: its ids are not those of its English configuration, row by row")
        sides = ((one[1], other[1]) for one, other in zip(*rows, strict=True))
    else:
        raise DataError(
            f"{name}: has the columns {', '.join(columns)}; expected {' and '.join(sentences)}, or {TEXT!r} with a "
            "configuration for each language (`config:` with {lang})"
        )
    records = (
        Record(number, pair(benchmark, language, english_text, other))
        for number, (english_text, other) in enumerate(sides)
    )
    return Table("hub dataset, sentence pairs", (*benchmark.fields, TARGET), records, is_typed=True)


def _load(source: HubSource, config: str | None, split: str, name: str, instead: str | None = None) -> Any:
    import datasets

    try:
        return datasets.load_dataset(source.hub, name=config, split=split, revision=source.revision)
    except Exception as error:  # the boundary to a library that raises its own, huggingface_hub's, httpx' and OS errors
        reason = " ".join(str(error).split())[:300] or "no reason given"
        what = f"{name}: cannot be loaded: {type(error).__name__}: {reason.rstrip('.')}"
        raise DataError(f"{what}. {advice(error, source, config, instead)}") from error


def _table(dataset: Any, reading: Reading) -> Table:
    features = dataset.features
    if _is_multilingual(features):
        columns = (*features, LANGUAGE)
        records = _translations(dataset, reading)
        layout = "hub dataset, all languages of a row together"
    else:
        columns, records, layout = tuple(features), _records(dataset), "hub dataset"
    return Table(layout, columns, records, names=names_of(features.to_dict()), is_typed=True)


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
                yield Record(record.where, {**record.values, **chosen, LANGUAGE: code})
                break
        else:
            for code in texts[reading.benchmark.fields[0]]:
                yield Record(record.where, {**record.values, LANGUAGE: code})


def _by_language(value: Any) -> dict[str, str]:
    if isinstance(value, dict) and {"language", "translation"} <= value.keys():
        return dict(zip(value["language"], value["translation"], strict=True))
    return dict(value) if isinstance(value, dict) else {}


def check_hub(source: HubSource, benchmark: Benchmark, language: str) -> None:
    """Raise `DataError` if a language cannot be asked of a dataset; nothing is fetched."""
    if benchmark.files_only is not None:
        raise DataError(benchmark.files_only)
    home = benchmark.hub.get(source.hub)
    if home is not None:
        allowed = [code for code in benchmark.languages if code not in home.missing]
        if language not in allowed:
            raise DataError(f"{source.hub} has no {language} (allowed: {', '.join(allowed)})")
    if benchmark.parallel is not None:
        check_side(benchmark, language)
