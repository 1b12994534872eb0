"""`rank`: score every tag of the vocabulary with one pass over the README.

The README is read once, after the list of tags. Branches follow it, each a question that attends to
the list in another order. In a branch

    score(tag) = log p(tag | README, branch) - prior_weight * log p(tag | no README, branch)

lies between the likelihood (weight 0) and the pointwise mutual information of README and tag
(weight 1). How far its score, over all branches, stands above the README's best tags and how often
the README mentions it are weighed by a `Calibration`, which gives the logit of a confidence.

So that the cost of a README hardly grows with the vocabulary, a large list has one branch, and its
tags are searched rather than all scored; to a very large one the README does not even attend. Where
a brief head knows every tag, one branch and the first tokens of names are enough.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from tagger._util.hashing import digest
from tagger.methods.base import Capacity, Identity, ranking_from_bytes, ranking_to_bytes
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import Evidence, ScoredTag, TagLogProbs
from tagger.methods.rank.head import ONE_QUESTION, Confidence, Head
from tagger.methods.rank.identity import CLEANING, scoring_identity
from tagger.methods.rank.layout import MIN_README_TOKENS, Layout
from tagger.methods.rank.mentions import STUFFING_VERSION, Mentions
from tagger.methods.rank.passes import Passes
from tagger.methods.rank.prior import prior
from tagger.methods.rank.probe import Passage, Probe, passages
from tagger.methods.rank.search import LIMIT, search
from tagger.methods.rank.shipped import head_in_force
from tagger.models.kv import KVCache
from tagger.models.language import LanguageModel
from tagger.prompts.prompt import Conversation, PromptTemplate
from tagger.readme.prose import prose_early
from tagger.readme.readme import Readme
from tagger.selection import MAX_TAGS
from tagger.tagging import GivenTag, Ranking
from tagger.types import README_TOKENS
from tagger.vocabulary import Vocabulary

ROUNDS = 2
"""How often a README is read once more, because there are planted passages in what was read."""

_SOUND, _SUSPICIOUS = b"\0", b"\1"
"""What a reading ends with."""

AT_ONCE = 1024
"""Tokens of a README up to which it shares a pass with its questions: with longer ones that saves
hardly anything, and the mask takes memory."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """A README as `Rank` scores it.

    Attributes:
        tokens: ids of the part that the model reads.
        ends: for each of these, the index in `text` behind its last character.
        text: the README's plain text, with prose early, without what was left out.
        mentions: [tags, 2] log(1 + mentions) of each tag, anywhere and in the lead.
        left_out: passages that were planted; see `probe`.

    """

    tokens: list[int]
    ends: list[int]
    text: str = field(repr=False)
    mentions: Tensor
    left_out: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """The number of tokens to be read."""
        return len(self.tokens)


class Rank:
    """Ranks the tags of a vocabulary for READMEs; a `Method`.

    Args:
        model: the language model.
        vocabulary: the tags.
        template: the prompt; by default the package's own.
        calibration: turns evidence into confidences; by default what ships for the model.
        readme_tokens: the most tokens that are read of a README; lowered, with a warning, where the
            model's context is too short.
        head: what was learned from labels; by default what ships for the model, where it fits.
        probe: finds planted passages, which are left out, beside those that repeat a tag; by
            default what ships for the model. With None, nothing is left out.
        keep_features: whether readings hold what another head or calibration would need; without
            that they are a tenth as large. Where a brief head knows every tag, READMEs are read as
            it needs them, and readings suit only such heads.

    Attributes:
        model: the language model.
        vocabulary: the tags.
        layout: the prompt, the lists and the trees of tags, in the model's tokens.
        calibration: turns evidence into confidences.
        confidence: the calibration and the head, for this vocabulary.
        readme_tokens: the most tokens that are read of a README.
        scoring_identity: what priors and calibrations depend on.

    Raises:
        VocabularyError: the vocabulary leaves no room for a README in the model's context.
        CalibrationError: the calibration belongs to another model, prompt or vocabulary.
        HeadError: the head belongs to another model, prompt, README budget or calibration.

    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        template: PromptTemplate | None = None,
        calibration: Calibration | None = None,
        readme_tokens: int = README_TOKENS,
        head: Head | Literal["shipped"] | None = "shipped",
        probe: Probe | Literal["shipped"] | None = "shipped",
        *,
        keep_features: bool = True,
    ) -> None:
        self.model = model
        self.vocabulary = vocabulary
        template = template or PromptTemplate.load()
        self.calibration = calibration or Calibration.shipped(model.name)
        self.scoring_identity = scoring_identity(vocabulary, template, model.weights)
        self.calibration.check(self.scoring_identity, model.name)
        self.calibration.warn(model.name, vocabulary)
        self._mentions = Mentions(vocabulary)
        self._leaves_out = probe is not None
        self._probe = Probe.shipped(model.name) if probe == "shipped" else probe
        self.layout = Layout(template, vocabulary, model.tokenizer, one_list=model.recurrent)
        # Of a large vocabulary the calibration decides which tags are scored.
        self._keeps_evidence = keep_features and self.layout.small
        self.calibration.check_shape(len(self.layout.branches), len(vocabulary))
        self._passes = Passes(model, self.layout, self._key("lists"))
        self._all = torch.ones(len(vocabulary), dtype=torch.bool)
        self.readme_tokens = min(readme_tokens, self.layout.room(model.context_length))
        if self.readme_tokens < readme_tokens:
            log.warning(
                "%d tokens of each README are read, not %d: the model's context holds no more",
                self.readme_tokens,
                readme_tokens,
            )
        self._head: Head | None = None  # which the identity asks for, as for this:
        self._brief = False
        # The tags of a large list are searched, and built-in heads are for small ones.
        if head != "shipped" or self.layout.small:
            self._head = head_in_force(head, model.name, self.identity, vocabulary, model.width)
        self.confidence = Confidence.of(self.calibration, self._head, vocabulary)
        self._brief = self.confidence.complete

    @property
    def name(self) -> str:
        """What people call the model."""
        return self.model.name

    @property
    def identity(self) -> Identity:
        """What a ranking depends on; see `Method`."""
        which = "the last root" if self.layout.small else "the only root"
        features = replace(
            self.scoring_identity.features,
            cleaning=CLEANING,
            readme_tokens=self.readme_tokens,
            layers=f"{which} after layer {self.model.feature_layer}",
        )
        return replace(
            self.scoring_identity,
            method=self.scoring_identity.method + (ONE_QUESTION if self._brief else ""),
            features=features,
            machine=self.model.machine,
            calibration=self.calibration.digest,
            probe=self._left_out_by,
            head=self._head.digest if self._head else "none",
        )

    @property
    def _left_out_by(self) -> str:
        """What decides which passages are left out."""
        if not self._leaves_out:
            return ""
        return f"{STUFFING_VERSION} {self._probe.digest if self._probe else ''}".strip()

    @property
    def reading_identity(self) -> Identity:
        """What a reading depends on; see `Method`."""
        if not self._keeps_evidence:
            return self.identity
        return replace(self.identity, calibration="", head="")

    @property
    def evidence_identity(self) -> Identity:
        """What evidence depends on."""
        return replace(self.reading_identity, method=self.scoring_identity.method)

    @property
    def capacity(self) -> Capacity:
        """How many tokens a pass may hold; on a CPU, one README."""
        overhead = sum(self.prompt_tokens.values()) + (0 if self._brief else self.layout.nodes)
        return Capacity(self.model.batch_tokens(), overhead=overhead)

    @property
    def _asked(self) -> Layout:
        """What is asked about READMEs."""
        return self.layout.of_last_question() if self._brief else self.layout

    @property
    def threshold(self) -> float:
        """The confidence from which a tag is given by default."""
        return self.confidence.threshold

    @property
    def limit(self) -> float | None:
        """The limit of evidence; see `Evidence`."""
        return None if self.layout.small else LIMIT

    @property
    def prompt_tokens(self) -> dict[str, int]:
        """How many tokens the parts of the prompt have, without the README."""
        return self._asked.tokens

    def conversations(self, readme: Readme) -> list[Conversation]:
        """Return the conversation about a README in each branch."""
        return self._asked.conversations(self.encode(readme).tokens)

    def prepare(self, *, reading: bool = True) -> None:
        """Compute the prior and, to read, prefill the list of tags, unless they are cached.

        A cached prior takes no weights, and so ranking by what was read before takes none.
        """
        if reading:
            self._passes.prepare()
        _ = self.prior

    def stop(self) -> None:
        """Do nothing: a pass of the model takes seconds, and ends by itself."""

    def encode(self, readme: Readme) -> Encoded:
        """Encode a README's plain text, cut to the token budget."""
        return self._encode(readme.plain_text)

    def _encode(self, text: str, left_out: tuple[str, ...] = ()) -> Encoded:
        text = text or " "  # A row of the pass needs at least one token.
        tokens, ends = self.layout.prompt.fit_with_ends(text, self.readme_tokens)
        if (early := prose_early(text, ends[-1])) != text:
            text = early
            tokens, ends = self.layout.prompt.fit_with_ends(text, self.readme_tokens)
        return Encoded(tokens, ends, text, self._mentions.count(text), left_out)

    def read(self, readmes: Sequence[Encoded]) -> list[bytes]:
        """Return the evidence for each README, or of a large vocabulary the ranking.

        All READMEs go through the model together.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.
            LoadError: the model's probabilities are not numbers.

        """
        if self._keeps_evidence:
            readmes, evidence = self._read(readmes, brief=self._brief)
            return [
                content + (_SUSPICIOUS if readme.left_out else _SOUND)
                for readme, content in zip(readmes, evidence.to_bytes(), strict=True)
            ]
        return [
            ranking_to_bytes(_best(scored, bool(readme.left_out)), self.vocabulary)
            for readme, scored in zip(*self._score(readmes), strict=True)
        ]

    def rank(self, readings: Sequence[bytes]) -> list[Ranking]:
        """Return the best tags by each reading. Raises `ValueError`."""
        if not self._keeps_evidence:
            return [ranking_from_bytes(reading, self.vocabulary) for reading in readings]
        if not readings:
            return []
        if any(reading[-1:] not in (_SOUND, _SUSPICIOUS) for reading in readings):
            raise ValueError("not readings of this method")
        contents = [reading[:-1] for reading in readings]
        prior = self.prior.of_last_question() if self._brief else self.prior
        evidence = Evidence.from_bytes(contents, prior, self.model.width)
        return [
            Ranking(tags, reading[-1:] == _SUSPICIOUS)
            for reading, tags in zip(readings, self.best(evidence), strict=True)
        ]

    def best(self, evidence: Evidence) -> list[tuple[GivenTag, ...]]:
        """Return the best tags of each README by the evidence for all tags."""
        logits = self.confidence.logits(evidence)
        best = logits.sort(dim=-1, descending=True, stable=True).indices[:, :MAX_TAGS]
        highest = logits.gather(-1, best)
        return [
            tuple(map(self._given, places, values))
            for places, values in zip(best.tolist(), highest.tolist(), strict=True)
        ]

    def _given(self, place: int, logit: float) -> GivenTag:
        tag = self.vocabulary.tags[place]
        return GivenTag(id=tag.id, name=tag.name, confidence=_sigmoid(logit))

    def score(self, readmes: Sequence[Encoded]) -> list[list[ScoredTag]]:
        """Return the best tags of the vocabulary in order, ten at least, for each README.

        All READMEs go through the model together. Ties keep the vocabulary's order. With a small
        vocabulary all tags are returned. A large one is searched: the ten best tags and their
        confidences are those that scoring all tags would give. Raises as `read`.
        """
        return self._score(readmes)[1]

    def _score(self, readmes: Sequence[Encoded]) -> tuple[Sequence[Encoded], list[list[ScoredTag]]]:
        """Return READMEs as they were read in the end, and the best tags of each."""
        if self.layout.small or self._brief:
            readmes, evidence = self._read(readmes, brief=self._brief)
            return readmes, self._score_evidence(evidence, self._all)
        readmes, prefix = self._prefill(readmes)
        return readmes, self._score_evidence(*self._search(readmes, prefix))

    def _score_evidence(self, evidence: Evidence, mask: Tensor) -> list[list[ScoredTag]]:
        """Rank a mask of [tags] for each README."""
        logits = self.confidence.logits(evidence)
        calibration = self.calibration.of_last_question() if self._brief else self.calibration
        expected = calibration.expected(evidence.prior).full.mean(dim=-2)
        log_probs = evidence.log_probs.full.mean(dim=-2)
        added = self.confidence.learned(evidence)
        learned = torch.full_like(logits, torch.nan) if added is None else added
        columns = (log_probs, expected.expand_as(logits), learned, logits)
        tags = [tag for tag, keep in zip(self.vocabulary, mask.tolist(), strict=True) if keep]
        covered = (self.confidence.rows >= 0)[mask].tolist()
        return [
            sorted(
                (
                    ScoredTag(
                        tag, log_prob, prior, by_head if known else None, logit, _sigmoid(logit)
                    )
                    for tag, known, log_prob, prior, by_head, logit in zip(
                        tags, covered, *row, strict=True
                    )
                ),
                key=lambda scored: -scored.logit,
            )
            for row in zip(*(column[:, mask].tolist() for column in columns), strict=True)
        ]

    def evidence(self, readmes: Sequence[Encoded]) -> Evidence:
        """Return all evidence for every tag of each README; raises as `read`."""
        return self._read(readmes)[1]

    def states(self, readmes: Sequence[Encoded]) -> list[Tensor]:
        """Return the hidden states of each README's tokens, [tokens, hidden]. Raises as `read`."""
        _, states = self._passes.prefill([readme.tokens for readme in readmes])
        return [
            of_tokens[: readme.length] for of_tokens, readme in zip(states, readmes, strict=True)
        ]

    def read_and_score(self, readme: Encoded) -> tuple[Encoded, list[ScoredTag]]:
        """Return a README as it is read in the end, without planted passages, and its best tags.

        Raises as `read`.
        """
        (read,), (scored,) = self._score([readme])
        return read, scored

    def _read(
        self, readmes: Sequence[Encoded], *, brief: bool = False
    ) -> tuple[Sequence[Encoded], Evidence]:
        """Return READMEs as they were read in the end, and all evidence for every tag of each.

        Or, faster, what `Evidence.of_last_question` keeps of it.
        """
        in_view = self.layout.small or (brief and self.layout.in_view)
        if len(readmes) == 1 and in_view and readmes[0].length <= AT_ONCE:
            readme, log_probs, features = self._read_at_once(readmes[0], brief=brief)
            return [readme], self._evidence([readme], log_probs, features, brief=brief)
        readmes, prefix = self._prefill(readmes)
        log_probs, features = (
            self._passes.ask_last(prefix) if brief else self._passes.score(prefix, self._all)
        )
        return readmes, self._evidence(readmes, log_probs, features, brief=brief)

    def _read_at_once(self, readme: Encoded, *, brief: bool) -> tuple[Encoded, TagLogProbs, Tensor]:
        """Read a README, and one with planted passages again; ask about it in the same pass."""
        for again in reversed(range(ROUNDS + 1)):
            log_probs, features, states = self._passes.read_and_score(readme.tokens, brief=brief)
            planted = self._planted(readme, states) if again else []
            if not planted:
                break
            readme = self._cut(readme, planted)
        return readme, log_probs, features

    def _prefill(self, readmes: Sequence[Encoded]) -> tuple[list[Encoded], KVCache]:
        """Read READMEs, and those with planted passages once more without these.

        Returns:
            What was read in the end, and the KV cache of everything before the questions.

        """
        read = list(readmes)
        prefix, states = self._passes.prefill([readme.tokens for readme in read])
        rows = list(range(len(read)))
        for _ in range(ROUNDS):
            found = {
                row: self._planted(read[row], of_tokens)
                for row, of_tokens in zip(rows, states, strict=True)
            }
            rows = [row for row in rows if found[row]]
            if not rows:
                break
            for row in rows:
                read[row] = self._cut(read[row], found[row])
            again, states = self._passes.prefill([read[row].tokens for row in rows])
            prefix = prefix.replace(rows, again)
        return read, prefix

    def _planted(self, readme: Encoded, states: Tensor) -> list[Passage]:
        """Return the passages of a README that were planted."""
        if not self._leaves_out:
            return []
        found = passages(readme.text, readme.ends)
        planted = [each for each in found if self._mentions.stuffed(readme.text[each.text])]
        if self._probe is not None:
            known = bool(planted or readme.left_out)
            planted += self._probe.find(readme.text, readme.ends, states, suspicious=known)
        return [each for each in found if each in planted]

    def _cut(self, readme: Encoded, planted: Sequence[Passage]) -> Encoded:
        """Return a README without some passages; what follows them is read instead."""
        kept, start = [], 0
        for passage in planted:
            kept.append(readme.text[start : passage.text.start])
            start = passage.text.stop
        left_out = tuple(readme.text[passage.text].strip() for passage in planted)
        text = "".join((*kept, readme.text[start:])).strip()
        return self._encode(text, readme.left_out + left_out)

    def _search(self, readmes: Sequence[Encoded], prefix: KVCache) -> tuple[Evidence, Tensor]:
        """Return the evidence for tags that may be among the best, and a mask of those [tags]."""
        bounds = self._evidence(readmes, *self._passes.score(prefix, ~self._all))
        return search(
            lambda tags: self._passes.score(prefix, tags)[0],
            self.layout.trees,
            bounds,
            self.confidence,
        )

    def _evidence(
        self,
        readmes: Sequence[Encoded],
        log_probs: TagLogProbs,
        features: Tensor,
        *,
        brief: bool = False,
    ) -> Evidence:
        mentions = torch.stack([readme.mentions for readme in readmes])
        prior = self.prior.of_last_question() if brief else self.prior
        return Evidence(log_probs, prior, mentions, features, self.limit)

    @cached_property
    def prior(self) -> TagLogProbs:
        """The prior of every tag, [branches, tags] in nats."""

        # The token budget of READMEs does not apply: the cached prior must not depend on it.
        def score(text: str) -> TagLogProbs:
            tokens = self.layout.prompt.fit(text, MIN_README_TOKENS)
            prefix, _ = self._passes.prefill([tokens])
            return self._passes.score(prefix, self._all)[0].select(0)

        shape = (len(self.layout.branches), len(self.vocabulary))
        return prior(self._key("prior"), shape, score)

    def _key(self, what: str) -> str:
        """Return the name under which something of this model, prompt and vocabulary is cached."""
        identity = replace(self.scoring_identity, machine=self.model.machine)
        return digest([what, identity.digest])


def _sigmoid(logit: float) -> float:
    """Return the logistic function. PyTorch's differs in its last digits within a tensor."""
    return (1 + math.tanh(logit / 2)) / 2


def _best(scored: Sequence[ScoredTag], suspicious: bool) -> Ranking:
    tags = (
        GivenTag(id=each.tag.id, name=each.tag.name, confidence=each.confidence)
        for each in scored[:MAX_TAGS]
    )
    return Ranking(tuple(tags), suspicious)
