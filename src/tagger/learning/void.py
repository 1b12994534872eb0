"""Texts that say nothing of a project, written for this program: no tag is right for them.

A title alone, badges, a licence, "coming soon": every catalogue has READMEs like these.
"""

from importlib.resources import files
from pathlib import Path

from tagger.evaluation.label import Label

PATH = Path(str(files(__package__))) / "void.jsonl"


def void_texts() -> list[Label]:
    """Return the texts, as labels without tags."""
    lines = PATH.read_text(encoding="utf-8").splitlines()
    return [Label.model_validate_json(line) for line in lines]
