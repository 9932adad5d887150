"""The packages of the extra `generation`, imported when they are first needed, without side effects on the user's machine."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from transfix.errors import TransfixError


def load(module: str) -> Any:
    """A module of one of the extra's packages.

    Raises:
        TransfixError: if it is not installed; the message says how to install it.
    """
    try:
        if module in sys.modules:  # what warns is of the whole process: not changed for every row
            return importlib.import_module(module)
        with warnings.catch_warnings():
            # jieba 0.42.1 has escapes that Python 3.12 warns about whenever it compiles the package.
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise TransfixError(
            f"judging generated text needs the package {package}, which cannot be imported ({error}): "
            "pip install 'transfix[generation]'"
        ) from error


@cache
def chinese_words() -> Callable[[str], list[str]]:
    """Jieba's segmenter with its own dictionary. Builds its table on the first call: half a second.

    jieba would keep that table in the machine's directory for temporary files and trust whatever it finds there, and
    would report on the error stream; building it here does neither.
    """
    segmenter = load("jieba").Tokenizer()
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    cut: Callable[[str], list[str]] = segmenter.lcut
    return cut


@cache
def thai_words() -> Callable[[str], list[str]]:
    """PyThaiNLP's `newmm` segmenter with its own dictionary. Reads that on the first call: half a second."""
    with _read_only():
        segment: Callable[[str], list[str]] = load("pythainlp.tokenize.newmm").segment
        segment("ก")  # reads the dictionary
    return segment


@contextmanager
def _read_only() -> Iterator[None]:
    """Keep PyThaiNLP, while it is imported, from making a directory for downloads in the user's home."""
    name = "PYTHAINLP_READ_ONLY"
    if not {name, "PYTHAINLP_READ_MODE"}.isdisjoint(os.environ):  # the user has decided
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]


@cache
def english_stem() -> Callable[[str], str]:
    """The Porter stemmer that `rouge-score` uses."""
    stem: Callable[[str], str] = load("nltk.stem.porter").PorterStemmer().stem
    return stem
