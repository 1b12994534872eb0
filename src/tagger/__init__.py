"""Put tags from your own list on repositories, with a local Qwen chat model.

>>> from tagger import Readme, Tagger, Vocabulary
>>> tagger = Tagger.load("qwen2.5-coder-0.5b", Vocabulary.load("tags.json"))
>>> for tagging in tagger.tag([Readme.read("README.md")]):
...     print(tagging.to_json())
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagger.batch.batch import Batch
    from tagger.errors import TaggerError
    from tagger.evaluation.evaluate import Evaluation, evaluate
    from tagger.evaluation.explain import explain
    from tagger.evaluation.labels import Label, load_labels
    from tagger.learning.calibrate import Corpus, calibrate
    from tagger.learning.learn import learn
    from tagger.methods.endpoint.endpoint import Endpoint
    from tagger.methods.rank.calibration import Calibration
    from tagger.methods.rank.head import Head
    from tagger.methods.rank.rank import Rank
    from tagger.methods.written.generate import Generate
    from tagger.models.load import load
    from tagger.prompts.prompt import PromptTemplate
    from tagger.readme.readme import Readme
    from tagger.readme.sources import Sources
    from tagger.review.review import Review
    from tagger.selection import Selection
    from tagger.tagger import Tagger
    from tagger.tagging import GivenTag, Tagging
    from tagger.vocabulary import Tag, Vocabulary

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Calibration",
    "Corpus",
    "Endpoint",
    "Evaluation",
    "Explanation",
    "Failure",
    "Generate",
    "GivenTag",
    "Head",
    "Label",
    "Lesson",
    "Method",
    "PromptTemplate",
    "Rank",
    "Readme",
    "Review",
    "Row",
    "Selection",
    "Sources",
    "Tag",
    "Tagger",
    "TaggerError",
    "Tagging",
    "Vocabulary",
    "calibrate",
    "evaluate",
    "explain",
    "learn",
    "load",
    "load_labels",
]

_HOMES = {
    "Batch": "batch.batch",
    "Calibration": "methods.rank.calibration",
    "Corpus": "learning.calibrate",
    "Endpoint": "methods.endpoint.endpoint",
    "Evaluation": "evaluation.evaluate",
    "Explanation": "evaluation.explain",
    "Failure": "tagging",
    "Generate": "methods.written.generate",
    "GivenTag": "tagging",
    "Head": "methods.rank.head",
    "Label": "evaluation.labels",
    "Lesson": "learning.learn",
    "Method": "methods.base",
    "PromptTemplate": "prompts.prompt",
    "Rank": "methods.rank.rank",
    "Readme": "readme.readme",
    "Review": "review.review",
    "Row": "batch.pipeline",
    "Selection": "selection",
    "Sources": "readme.sources",
    "Tag": "vocabulary",
    "Tagger": "tagger",
    "TaggerError": "errors",
    "Tagging": "tagging",
    "Vocabulary": "vocabulary",
    "calibrate": "learning.calibrate",
    "evaluate": "evaluation.evaluate",
    "explain": "evaluation.explain",
    "learn": "learning.learn",
    "load": "models.load",
    "load_labels": "evaluation.labels",
}

_EXTRAS = {"Endpoint": "endpoint", "Generate": "generate", "Lesson": "learn", "learn": "learn"}
"""Names that need the optional packages of an extra."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: PyTorch takes seconds.

    Raises:
        MissingPackageError: it needs a package that is not installed.

    """
    if name in _HOMES:
        if name in _EXTRAS:
            from tagger._util.extras import need

            need(_EXTRAS[name])
        return getattr(import_module(f"tagger.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
