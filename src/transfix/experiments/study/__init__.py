"""Studies: many runs from one file. What a study is (`StudySpec`), its runs (`expand`, `runs`), and running them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfix._lazy import lazy

if TYPE_CHECKING:
    from transfix.experiments.study.directory import StudyDirectory as StudyDirectory
    from transfix.experiments.study.expansion import StudyRun as StudyRun
    from transfix.experiments.study.running import run_study as run_study
    from transfix.experiments.study.spec import StudySpec as StudySpec

_WHERE = {
    "StudyDirectory": "transfix.experiments.study.directory",
    "StudyRun": "transfix.experiments.study.expansion",
    "StudySpec": "transfix.experiments.study.spec",
    "run_study": "transfix.experiments.study.running",
}
__getattr__, __dir__ = lazy(__name__, _WHERE)
