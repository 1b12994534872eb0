"""Why a README gets its tags: every number on the way, for people and for machines."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr

from tagger.methods.rank.rank import Rank
from tagger.readme.readme import MAX_BYTES, Readme
from tagger.selection import Selection

_SHOWN = 60
"""Characters that are shown on either side of the point where reading ended."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Read(_Record):
    """How much of a README was read.

    Attributes:
        characters: characters of the file, at most its first 128 KiB.
        cut: whether the file is longer than that.
        plain_characters: characters of the plain text, without markup.
        tokens: tokens of the plain text.
        read: tokens that the model has read.
        last: the last words that it has read.
        left_out: the first words that it has not read; empty if it has read all.
        planted: passages that were left out; see `Rank`.

    """

    characters: int
    cut: bool
    plain_characters: int
    tokens: int
    read: int
    last: str
    left_out: str
    planted: tuple[str, ...]


class Explained(_Record):
    """One tag.

    Attributes:
        id: its id.
        name: its name.
        log_prob: mean over branches of log p(tag | README), in nats.
        prior: the mean of the same over content-free texts, averaged with the background if there
            is one.
        learned: what the head adds to the score; None for tags that it does not cover.
        mentions: how often the README names it.
        score: the logit of the confidence, which tags are ranked by.
        confidence: the probability that a curator would accept the tag.
        given: whether the reply has it.
        why: the reason why it is given or not.

    """

    id: StrictInt | StrictStr
    name: StrictStr
    log_prob: float
    prior: float
    learned: float | None
    mentions: int
    score: float
    confidence: float
    given: bool
    why: str


class Explanation(_Record):
    """Everything about one README's tags.

    Attributes:
        id: the README's id in the reply.
        model: the model's name.
        dtype: its number format.
        device: the device it runs on.
        calibration: where the numbers behind the confidences come from, for people.
        threshold: the confidence from which on a tag is given.
        max_tags: the most tags that are given.
        min_tags: the fewest.
        readme: how much of it was read.
        prompt_tokens: tokens beside the README's, by part of the prompt.
        seconds: the time that each stage took.
        tags: the ranking, the best first; of a large vocabulary only the tags that were scored.

    """

    id: str
    model: str
    dtype: str
    device: str
    calibration: str
    threshold: float
    max_tags: int
    min_tags: int
    readme: Read
    prompt_tokens: dict[str, int]
    seconds: dict[str, float]
    tags: tuple[Explained, ...]


def explain(
    rank: Rank, selection: Selection, readme: Readme, seconds: dict[str, float] | None = None
) -> Explanation:
    """Tag a README and explain every tag; raises as `Rank.read`.

    Args:
        rank: ranks its tags.
        selection: how many tags are given.
        readme: the README.
        seconds: the time that earlier stages took; the stages of this function are added.

    """
    model = rank.model
    seconds = {} if seconds is None else seconds
    with timed(seconds, "clean and tokenise"):
        text = readme.plain_text
        encoded = rank.encode(readme)
    with timed(seconds, "score"):
        encoded, ranking = rank.read_and_score(encoded)
    threshold = rank.threshold if selection.threshold is None else selection.threshold
    confidences = [scored.confidence for scored in ranking]
    count = selection.count(confidences, threshold)
    mentions = dict(zip(rank.vocabulary, encoded.mentions[:, 0].expm1().tolist(), strict=True))
    tags = tuple(
        Explained(
            id=scored.tag.id,
            name=scored.tag.name,
            log_prob=scored.log_prob,
            prior=scored.prior,
            learned=scored.learned,
            mentions=round(mentions[scored.tag]),
            score=scored.logit,
            confidence=scored.confidence,
            given=place < count,
            why=_why(place < count, scored.confidence >= threshold),
        )
        for place, scored in enumerate(ranking)
    )
    read = model.tokenizer.decode(encoded.tokens)
    return Explanation(
        id=readme.id,
        model=model.name,
        dtype=str(model.dtype).removeprefix("torch.")
        + (f" and {model.quantize}" if model.quantize else ""),
        device=str(model.device),
        calibration=_confidences(rank),
        threshold=threshold,
        max_tags=selection.max_tags,
        min_tags=selection.min_tags,
        readme=Read(
            characters=len(readme.text),
            cut=len(readme.text.encode("utf-8", "replace")) > MAX_BYTES - 4,
            plain_characters=len(text),
            tokens=len(model.tokenizer.encode(text)),
            read=len(encoded.tokens),
            last=_end(read),
            left_out=encoded.text[encoded.ends[-1] :].strip()[:_SHOWN],
            planted=encoded.left_out,
        ),
        prompt_tokens=rank.prompt_tokens,
        seconds=seconds,
        tags=tags,
    )


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time that a stage takes."""
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)


def _confidences(rank: Rank) -> str:
    """Say where the numbers behind the confidences come from."""
    origin = str(rank.calibration.origin or "as shipped")
    confidence = rank.confidence
    if confidence.head is None:
        return origin
    covered = f"{confidence.known} of {len(rank.vocabulary)} tags"
    return f"{confidence.head}, covering {covered}; other tags: {origin}"


def _end(text: str) -> str:
    """Return the last whole words."""
    text = text.rstrip()
    shown = text[-_SHOWN:]
    return shown if len(text) <= _SHOWN else shown.partition(" ")[2] or shown


def _why(given: bool, sure: bool) -> str:
    if given:
        return "over the threshold" if sure else "the least that is given"
    return "more than are given" if sure else "below the threshold"
