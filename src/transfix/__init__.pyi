from .adapters import Adapter as Adapter
from .adapters import attach as attach
from .adapters import load_adapter as load_adapter
from .adapters import use as use
from .adapters.methods import Base as Base
from .adapters.methods import FullFineTuning as FullFineTuning
from .adapters.methods import LlamaAdapter as LlamaAdapter
from .adapters.methods import LoRA as LoRA
from .adapters.methods import PrefixTuning as PrefixTuning
from .adapters.methods import SoftPrompt as SoftPrompt
from .adapters.methods import TaskHead as TaskHead
from .errors import TransfixError as TransfixError

__version__: str
