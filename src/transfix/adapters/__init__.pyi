from .adapter import Adapter as Adapter
from .adapter import attach as attach
from .adapter import load_adapter as load_adapter
from .adapter import use as use
from .architecture import Support as Support
from .architecture import UnsupportedModelError as UnsupportedModelError
from .architecture import support as support
from .files import AdapterFileError as AdapterFileError
