"""Studies: many runs from one file. What a study is (`StudySpec`), its runs (`expand`, `runs`), and running them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfix._lazy import lazy

if TYPE_CHECKING:
    from transfix.studies.directory import StudyDirectory as StudyDirectory
    from transfix.studies.expansion import StudyRun as StudyRun
    from transfix.studies.running import run_study as run_study
    from transfix.studies.specification import StudySpec as StudySpec

_WHERE = {
    "StudyDirectory": "transfix.studies.directory",
    "StudyRun": "transfix.studies.expansion",
    "StudySpec": "transfix.studies.specification",
    "run_study": "transfix.studies.running",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)
