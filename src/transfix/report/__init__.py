"""Turns a directory of runs into a terminal table, a Markdown table or one self-contained HTML page."""

from transfix.report.collect import ExampleLookup, collect
from transfix.report.contents import Report
from transfix.report.html import page
from transfix.report.output import require_own, write
from transfix.report.tables import markdown, terminal

__all__ = ["ExampleLookup", "Report", "collect", "markdown", "page", "require_own", "terminal", "write"]
