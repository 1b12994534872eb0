"""From options to a method: all that can be checked is checked before a model is loaded."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from tagger.cli import models
from tagger.cli.options import MethodOptions, ModelOptions, PromptOptions, log
from tagger.errors import HeadError, UsageError
from tagger.types import DEFAULT_EFFORT, EFFORTS

if TYPE_CHECKING:
    from pathlib import Path

    from tagger.evaluation.scores import Scores
    from tagger.methods.base import Method
    from tagger.methods.endpoint.endpoint import Endpoint
    from tagger.methods.rank.calibration import Calibration
    from tagger.methods.rank.head import Head
    from tagger.methods.rank.rank import Rank
    from tagger.methods.written.generate import Generate
    from tagger.prompts.prompt import PromptTemplate
    from tagger.selection import Selection
    from tagger.vocabulary import Vocabulary

NO_HEAD = "none"
KEY_VARIABLE = "TAGGER_API_KEY"


def check(
    method: MethodOptions,
    model: ModelOptions,
    selection: "Selection | None" = None,
    *,
    scores: bool = False,
    on_cluster: bool = False,
) -> None:
    """Refuse options that do not go together. Raises `UsageError`."""
    if method.grammar and (method.endpoint or method.method == "rank"):
        raise UsageError("--grammar works only with --method generate and a local model")
    if method.concurrency and not (method.endpoint or on_cluster):
        raise UsageError("--concurrency works only with --endpoint, or with --ray in a batch")
    if method.calibration and is_written(method):
        raise UsageError("--calibration works only with --method rank, without --endpoint")
    if names_head(method) and is_written(method):
        raise UsageError("--head works only with --method rank, without --endpoint")
    if (
        method.endpoint
        and model.effort != DEFAULT_EFFORT
        and _set_by(model.effort, "--effort") == "--effort"
    ):
        raise UsageError("--effort works only with a local model, without --endpoint")
    if method.endpoint and model.quantize and _set_by(model.quantize) == "--quantize":
        raise UsageError("--quantize works only with a local model, without --endpoint")
    if method.endpoint == "":
        raise UsageError("--endpoint is empty: name an address such as http://host:8000/v1")
    if method.endpoint and model.model in ("", *(each.model for each in EFFORTS.values())):
        raise UsageError("--endpoint needs --model: what the server calls its model")
    if method.endpoint and model.offline:
        raise UsageError("--endpoint needs the network, which --offline forbids")
    threshold = selection.threshold if selection else None
    if is_written(method) and (scores or threshold is not None):
        raise UsageError(
            "a generated reply has no confidences: leave out --scores and --threshold, or use "
            "--method rank with a model that runs here"
        )


def names_head(method: MethodOptions) -> bool:
    """Say whether the command line names a head; a setting is for commands that have use for it."""
    return method.head not in (None, NO_HEAD) and _set_by(method.head) == "--head"


def is_written(method: MethodOptions) -> bool:
    """Say whether the model writes its reply; that of an endpoint always does."""
    return method.method == "generate" or method.endpoint is not None


def opener(
    vocabulary: "Vocabulary",
    prompt: PromptOptions,
    model: ModelOptions,
    method: MethodOptions,
    selection: "Selection | None" = None,
    *,
    quiet: bool,
    keep_features: bool = True,
) -> "Callable[[], Method[Any]]":
    """Return what loads the model, if it runs here, and makes the method.

    Raises:
        PromptError: the prompt template cannot be used.
        CalibrationError: the calibration cannot be read, or belongs to something else.
        HeadError: the head cannot be read, or belongs to something else.

    """
    if not is_written(method):
        return rank_opener(
            vocabulary,
            prompt,
            model,
            method.calibration,
            method.head,
            quiet=quiet,
            keep_features=keep_features,
        )
    from tagger.prompts.prompt import WRITTEN_TEMPLATE, PromptTemplate

    template = PromptTemplate.load(prompt.prompt, WRITTEN_TEMPLATE)
    if method.endpoint:
        return partial(_endpoint, vocabulary, template, prompt, model, method, selection)

    def load() -> "Generate":
        from tagger.methods.written.generate import Generate

        return Generate(
            models.open_model(model, quiet=quiet),
            vocabulary,
            template,
            selection,
            prompt.readme_tokens,
            grammar=method.grammar != "off",
        )

    return load


def rank_opener(
    vocabulary: "Vocabulary",
    prompt: PromptOptions,
    model: ModelOptions,
    calibration: "Path | None" = None,
    head: str | None = None,
    *,
    quiet: bool,
    keep_features: bool = True,
) -> "Callable[[], Rank]":
    """Return what loads the model and ranks with it.

    Raises:
        PromptError: the prompt template cannot be used.
        CalibrationError: the calibration cannot be read, or belongs to something else.
        HeadError: the head cannot be read, or belongs to something else.

    """
    from tagger.prompts.prompt import PromptTemplate

    template = PromptTemplate.load(prompt.prompt)
    known = None
    if calibration:
        from tagger.methods.rank.calibration import Calibration
        from tagger.methods.rank.identity import scoring_identity

        known = Calibration.load(calibration)
        known.check(scoring_identity(vocabulary, template), model.model)

    learned = _wanted_head(head)

    def load() -> "Rank":
        from tagger.methods.rank.head import Head
        from tagger.methods.rank.rank import Rank

        language_model = models.open_model(model, quiet=quiet)
        try:
            return Rank(
                language_model,
                vocabulary,
                template,
                known,
                prompt.readme_tokens,
                learned,
                keep_features=keep_features,
            )
        except HeadError as error:
            same = []
            if isinstance(learned, Head):
                tokens = learned.identity.readme_tokens
                if tokens != prompt.readme_tokens:
                    same.append(f"pass --readme-tokens {tokens} to match it")
                if known and known.digest != learned.base:
                    same.append("leave out --calibration to match it")
            raise _with_hint(error, head, *same) from error

    return load


def head_for_scores(
    name: str | None, scores: "Scores", calibration: "Calibration", vocabulary: "Vocabulary"
) -> "Head | None":
    """Return the head by which scores that were kept are ranked; see `rank_opener`."""
    from tagger.methods.rank.shipped import head_in_force

    features = scores.evidence.features
    if features is None:
        log.info("these scores hold no features: the tags are ranked without a head")
        return None
    identity = replace(scores.identity, calibration=calibration.digest)
    head = _wanted_head(name)
    try:
        return head_in_force(head, scores.model, identity, vocabulary, features.shape[-1])
    except HeadError as error:
        raise _with_hint(error, name) from error


def _wanted_head(name: str | None) -> "Head | Literal['shipped'] | None":
    """Read the head that --head names, if it names one."""
    from tagger.methods.rank.head import Head

    if name is None:
        return "shipped"
    if not name:
        raise UsageError(f"--head is empty: name a file, or {NO_HEAD}")
    if name == NO_HEAD:
        return None
    try:
        return Head.load(name)
    except HeadError as error:
        raise _with_hint(error, name) from error


def say_coverage(method: "Method[Any]") -> None:
    """Say of how many tags something was learned, if a head counts."""
    confidence = getattr(method, "confidence", None)
    if confidence is not None and confidence.head:
        log.info(
            "the head covers %d of the list's %d tags", confidence.known, len(method.vocabulary)
        )


def _set_by(value: str | None, option: str = "--head") -> str:
    """Return what has set an option: itself, a variable or a settings file."""
    by: str = getattr(value, "by", option)
    return by


def _with_hint(error: HeadError, name: str | None, *same: str) -> HeadError:
    """Say what has named a head that cannot be used, and how to do without it."""
    hints = [
        *same,
        f"{_set_by(name)} selects this head",
        f"pass --head {NO_HEAD} to run without it",
    ]
    return HeadError(f"{error} ({'; '.join(hints)})")


def _endpoint(
    vocabulary: "Vocabulary",
    template: "PromptTemplate",
    prompt: PromptOptions,
    model: ModelOptions,
    method: MethodOptions,
    selection: "Selection | None",
) -> "Endpoint":
    from tagger.methods.endpoint.endpoint import CONCURRENCY, Endpoint

    return Endpoint(
        method.endpoint or "",
        model.model,
        vocabulary,
        template,
        selection,
        prompt.readme_tokens,
        key=os.environ.get(KEY_VARIABLE, ""),
        concurrency=method.concurrency or CONCURRENCY,
    )
