from .predictions import COLUMNS as COLUMNS
from .run import Run as Run
from .run_store import RunStore as RunStore
