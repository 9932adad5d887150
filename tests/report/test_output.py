"""A report replaces reports, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfix import report
from transfix.errors import TransfixError

OTHERWISE = "name another file"


def test_a_report_replaces_reports(study: Path, tmp_path: Path) -> None:
    found = report.collect(study)
    for name, text in (("report.html", report.page(found)), ("report.md", report.markdown(found))):
        report.write(tmp_path / name, text, OTHERWISE)
        written = (tmp_path / name).read_text()
        assert written.endswith(text)
        report.write(tmp_path / name, text, OTHERWISE)
        assert (tmp_path / name).read_text() == written
    assert (tmp_path / "report.md").read_text().startswith("<!-- transfix report -->\n\n**LoRA")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "content",
    ["", "<!doctype html><p>mine</p>", "# Notes\n\nI ran `transfix report runs` and `<!-- transfix report -->`.\n"],
)
@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_other_files_are_left_alone(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(TransfixError, match=f"{name} exists and is no page of transfix: name another file, or move"):
        report.write(path, "text", OTHERWISE)
    assert path.read_text() == content


def test_the_directory_of_a_page_is_made(study: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "folder" / "page.html"
    report.write(page, report.page(report.collect(study)), "name another file")
    assert "transfix report" in page.read_text()


def test_a_directory_is_no_place(tmp_path: Path) -> None:
    with pytest.raises(TransfixError, match="is a directory: name another file, or move it away"):
        report.require_own(tmp_path, OTHERWISE)
    report.require_own(tmp_path / "free", OTHERWISE)
