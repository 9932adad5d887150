from .decoding import Decoding as Decoding
from .decoding import Generated as Generated
from .engine import generate as generate
