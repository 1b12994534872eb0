"""Put tags from your own list on repositories, with a local Qwen chat model.

>>> from tagger import Readme, Tagger, Vocabulary
>>> tagger = Tagger("qwen2.5-coder-0.5b", Vocabulary.load("tags.json"))
>>> for tagging in tagger.tag([Readme.read("README.md")]):
...     print(tagging.to_json())
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagger.errors import TaggerError
    from tagger.methods.rank.calibration_file import CalibrationFile
    from tagger.models.load import load
    from tagger.readme.readme import Readme
    from tagger.selection import Choice
    from tagger.tagger import Tagger
    from tagger.tagging import GivenTag, Tagging
    from tagger.vocabulary import Tag, Vocabulary

__version__ = "0.1.0"

__all__ = [
    "CalibrationFile",
    "Choice",
    "GivenTag",
    "Readme",
    "Tag",
    "Tagger",
    "TaggerError",
    "Tagging",
    "Vocabulary",
    "load",
]

_HOMES = {
    "CalibrationFile": "tagger.methods.rank.calibration_file",
    "Choice": "tagger.selection",
    "GivenTag": "tagger.tagging",
    "Readme": "tagger.readme.readme",
    "Tag": "tagger.vocabulary",
    "Tagger": "tagger.tagger",
    "TaggerError": "tagger.errors",
    "Tagging": "tagger.tagging",
    "Vocabulary": "tagger.vocabulary",
    "load": "tagger.models.load",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: PyTorch takes seconds."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
