from .specification import RunSpec as RunSpec
from .store import Run as Run
from .store import RunStore as RunStore
