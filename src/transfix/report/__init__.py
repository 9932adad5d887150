"""Turns a directory of runs into a table (terminal, Markdown, LaTeX, CSV) or one self-contained HTML page."""

from transfix.report.collect import ExampleLookup, collect
from transfix.report.contents import KINDS, Kind, Report
from transfix.report.export import csv, latex
from transfix.report.html import page
from transfix.report.output import require_own, write
from transfix.report.tables import markdown, terminal

__all__ = [
    "KINDS",
    "ExampleLookup",
    "Kind",
    "Report",
    "collect",
    "csv",
    "latex",
    "markdown",
    "page",
    "require_own",
    "terminal",
    "write",
]
