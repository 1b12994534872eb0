"""Which way tags are found, as the command line asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tagger.cli import models
from tagger.cli.options import MethodOptions, ModelOptions, PromptOptions
from tagger.errors import UsageError
from tagger.types import DEFAULT_MODEL

if TYPE_CHECKING:
    from tagger.methods.endpoint import Endpoint
    from tagger.methods.rank.calibration_file import CalibrationFile
    from tagger.models.language import LanguageModel
    from tagger.prompts.prompt import PromptTemplate
    from tagger.selection import Choice
    from tagger.tagger import Tagger
    from tagger.vocabulary import Vocabulary
    from tagger.writer import Writer


@dataclass(frozen=True)
class Request:
    """What the options of `run`, `batch` and `eval` say of model and method.

    Attributes:
        method: the way tags are found; an endpoint always writes.
        model: the model, here or there.
        prompt: what is said to it.
        quiet: show no progress.

    Raises:
        UsageError: options that do not go together.

    """

    method: MethodOptions
    model: ModelOptions
    prompt: PromptOptions
    quiet: bool

    def __post_init__(self) -> None:
        if self.method.grammar and (self.method.endpoint or self.method.method == "rank"):
            raise UsageError("--grammar goes with --method generate and a model that runs here")
        if self.method.concurrency and not self.method.endpoint:
            raise UsageError("--concurrency goes with --endpoint")
        if self.method.calibration and self.writes:
            raise UsageError("--calibration goes with --method rank: a written reply has none")
        if self.method.endpoint == "":
            raise UsageError("--endpoint is empty: name an address such as http://host:8000/v1")
        if self.method.endpoint and self.model.model in ("", DEFAULT_MODEL):
            raise UsageError("--endpoint needs --model: what the server calls its model")
        if self.method.endpoint and self.model.offline:
            raise UsageError("--endpoint needs the network, which --offline forbids")

    @property
    def writes(self) -> bool:
        """Whether the model writes its reply."""
        return self.method.method == "generate" or self.method.endpoint is not None

    def check(self, choice: "Choice", *, scores: bool = False) -> None:
        """Refuse what a written reply has not.

        Raises:
            UsageError: options that a written reply has no answer to.

        """
        if self.writes and (scores or choice.threshold is not None):
            raise UsageError(
                "a written reply has no confidences: leave out --scores and --threshold, or use "
                "--method rank with a model that runs here"
            )

    def template(self) -> "PromptTemplate":
        """Load the prompt template; raises `PromptError`."""
        from tagger.prompts.prompt import DEFAULT_TEMPLATE, WRITTEN_TEMPLATE, PromptTemplate

        return PromptTemplate.load(
            self.prompt.prompt, WRITTEN_TEMPLATE if self.writes else DEFAULT_TEMPLATE
        )

    def fitted(self, vocabulary: "Vocabulary", prompt: str, model: str) -> "CalibrationFile | None":
        """Read the calibration, as `read_calibration` does, if one is asked for."""
        return read_calibration(self.method.calibration, vocabulary, prompt, model)

    def load(self) -> "LanguageModel":
        """Load the model; raises as `tagger.models.load.load`."""
        return models.load(self.model, quiet=self.quiet)

    def open(
        self, vocabulary: "Vocabulary", choice: "Choice", template: "PromptTemplate"
    ) -> "Opened":
        """Load the model, or make ready for the server; raises as they do."""
        from tagger.writer import Writer

        if self.method.endpoint:
            method = self._endpoint(self.method.endpoint, vocabulary, choice, template)
            return Opened(
                Writer(method, vocabulary, choice.max_tags),
                identity=[self.model.model, method.settings["endpoint"]],
                shown=f"{self.model.model} at {method.settings['endpoint']}",
                at_once=4 * method.concurrency,
            )
        from tagger.tagger import Tagger

        calibration = self.fitted(vocabulary, template.digest, self.model.model)
        model = self.load()
        room = model.batch_tokens()
        if self.writes:
            from tagger.methods.written.generate import Generate

            generate = Generate(
                model,
                vocabulary,
                template,
                self.prompt.readme_tokens,
                max_tags=choice.max_tags,
                min_tags=choice.min_tags,
                grammar=self.method.grammar != "off",
            )
            writer = Writer(generate, vocabulary, choice.max_tags)
            return Opened(writer, identity=model.weights, shown=self.model.model, room=room)
        tagger = Tagger(
            model,
            vocabulary,
            choice=choice,
            readme_tokens=self.prompt.readme_tokens,
            template=template,
            calibration=calibration,
        )
        return Opened(tagger, identity=model.weights, shown=self.model.model, room=room)

    def _endpoint(
        self, url: str, vocabulary: "Vocabulary", choice: "Choice", template: "PromptTemplate"
    ) -> "Endpoint":
        from tagger.methods.endpoint import CONCURRENCY, Endpoint

        return Endpoint(
            url,
            self.model.model,
            vocabulary,
            template,
            self.prompt.readme_tokens,
            max_tags=choice.max_tags,
            min_tags=choice.min_tags,
            concurrency=self.method.concurrency or CONCURRENCY,
        )


def read_calibration(
    path: Path | None, vocabulary: "Vocabulary", prompt: str, model: str
) -> "CalibrationFile | None":
    """Read a calibration, if there is one, before its model is loaded.

    Args:
        path: the file, if there is one.
        vocabulary: what it must belong to, and so must the following.
        prompt: the digest of a prompt.
        model: the name of a model.

    Raises:
        CalibrationError: it cannot be read, or belongs to others.

    """
    if path is None:
        return None
    from tagger.methods.rank.calibration_file import CalibrationFile

    found = CalibrationFile.load(path, vocabulary)
    found.check_prompt(prompt)
    found.check_model(model)
    return found


@dataclass(frozen=True)
class Opened:
    """What tags READMEs, ready to.

    Attributes:
        tagger: the thing itself.
        identity: tells its model from others.
        shown: what people call it.
        room: how many tokens a pass may hold, where that is what limits it.
        at_once: how many READMEs go at once where tokens are not.

    """

    tagger: "Tagger | Writer"
    identity: str | Sequence[str | int]
    shown: str
    room: int | None = None
    at_once: int = 1
