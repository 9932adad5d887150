"""Where rows come from: a hub dataset, files in the benchmark's own layout, or the shipped snapshot."""

from transfix.data.benchmarks import Benchmark
from transfix.data.example import DataError, Example, OnBadRows, Rows
from transfix.data.reading import check, load, read
from transfix.data.sources import DataSource, FilesSource, HubSource, SnapshotSource, parse_source
from transfix.data.unlabelled import read_unlabelled

__all__ = [
    "Benchmark",
    "DataError",
    "DataSource",
    "Example",
    "FilesSource",
    "HubSource",
    "OnBadRows",
    "Rows",
    "SnapshotSource",
    "check",
    "load",
    "parse_source",
    "read",
    "read_unlabelled",
]
