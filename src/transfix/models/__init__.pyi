from .files import check_safetensors as check_safetensors
from .inspect import Inspection as Inspection
from .loading import LoadedModel as LoadedModel
from .loading import automatic_dtype as automatic_dtype
from .loading import load as load
from .registry import MODELS as MODELS
