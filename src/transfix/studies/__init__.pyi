from .directory import StudyDirectory as StudyDirectory
from .expansion import StudyRun as StudyRun
from .running import run_study as run_study
from .specification import StudySpec as StudySpec
