from .objectives import Choices as Choices
from .objectives import Classes as Classes
from .objectives import Objective as Objective
from .objectives import Texts as Texts
from .rows import split as split
from .trainer import AdapterTrainer as AdapterTrainer
from .trainer import Settings as Settings
