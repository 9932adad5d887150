"""The files of a pattern with `{lang}`, by what they call their languages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from transfix.config import places
from transfix.data.benchmarks import Benchmark
from transfix.data.example import DataError
from transfix.languages.spellings import choose

LANG = "{lang}"


def named_files(pattern: str) -> dict[Path, str]:
    """The files that a pattern with `{lang}` matches, and the text that stands for the language in each."""
    return {path: text for path, text in _walk(Path(), Path(pattern).parts, "") if text and path.is_file()}


def _walk(folder: Path, parts: tuple[str, ...], text: str) -> Iterator[tuple[Path, str]]:
    if not parts:
        yield folder, text
        return
    part, *rest = parts
    if LANG not in part or text:
        yield from _walk(folder / part.replace(LANG, text), tuple(rest), text)
        return
    first, *others = map(re.escape, part.split(LANG))
    form = re.compile(f"{first}(?P<lang>[^/]+?)" + "(?P=lang)".join(others))
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return  # what can be opened by its name is found by its name
    for name in names:
        if (found := form.fullmatch(name)) is not None:
            yield from _walk(folder / name, tuple(rest), found["lang"])


def file_of(pattern: str, benchmark: Benchmark, language: str) -> Path | None:
    """The file of a language, however its code or name is spelt; None if there is none.

    Args:
        pattern: a path without placeholders but `{lang}`.
        benchmark: a file called by its own code of the language is preferred.
        language: FLORES-style code.

    Raises:
        DataError: if it is not clear which of several it is.
        UnusableFileError: if the system does not say what is there.
    """
    if LANG not in pattern:
        path = Path(pattern)
        return path if places.kind(path) == "file" else None
    written = benchmark.written.get(language)
    codes = [code for code in benchmark.codes(language) if "/" not in code]
    known = {path: code for code in codes if places.kind(path := Path(pattern.replace(LANG, code))) == "file"}
    if not benchmark.languages_given:  # of a benchmark whose authors have named its files
        own = Path(pattern.replace(LANG, benchmark.own_code(language)))
        if own in known:
            return own
    there = _apart({**known, **named_files(pattern)})
    paths = {text: path for path, text in there.items()}
    found, what = choose(tuple(paths), language, written, frozenset(codes))
    if len(found) > 1:
        same = " and ".join(str(paths[text]) for text in found)
        said = f"the language {written or language} ({language})"
        raise DataError(f"{same} are all files of {said}: rename or move away all but the one that is meant")
    if what is not None:
        raise DataError(f"{pattern}: {what}: write the code that is meant in `languages:`")
    return paths[found[0]] if found else None


def _apart(paths: Mapping[Path, str]) -> dict[Path, str]:
    """Paths that are different files: where case does not matter, or by a link, two names may be one."""
    found: dict[Path, str] = {}
    for path, text in paths.items():
        if not any(path.samefile(other) for other in found):
            found[path] = text
    return found
