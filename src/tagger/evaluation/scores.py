"""Raw scores of labelled READMEs, saved as Parquet, so that they need not be computed twice."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tagger._util.extras import arrow as pyarrow
from tagger._util.files import check_target as check
from tagger._util.files import replacing, reporting
from tagger._util.text import printable
from tagger.errors import LabelsError
from tagger.evaluation.labels import Label
from tagger.methods.base import Identity
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.methods.rank.head import Confidence
from tagger.methods.rank.rank import Rank
from tagger.types import Progress, no_progress
from tagger.vocabulary import Vocabulary

_COLUMNS = {
    "readme",
    "text",
    "read",
    "tag",
    "full",
    "first",
    "prior_full",
    "prior_first",
    "mentions",
    "lead",
    "features",
}


@dataclass(frozen=True)
class Scores:
    """The evidence for every tag of labelled READMEs, before a calibration.

    Attributes:
        model: the model's name.
        identity: what the scores depend on.
        labels: [READMEs] the READMEs and their right tags.
        evidence: the evidence for every tag of each README.
        read: [READMEs] the text that the model has read of each README.
        left_out: digests of READMEs that were left out because a head was fitted to them.

    """

    model: str
    identity: Identity
    labels: tuple[Label, ...]
    evidence: Evidence
    read: tuple[str, ...]
    left_out: frozenset[str] = frozenset()

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return the scores of some of the READMEs."""
        return replace(
            self,
            labels=tuple(self.labels[row] for row in rows),
            evidence=self.evidence.select(rows),
            read=tuple(self.read[row] for row in rows),
        )

    def logits(self, confidence: Calibration | Confidence) -> Tensor:
        """Return the logits of confidences, [READMEs, tags] in nats."""
        return confidence.logits(self.evidence)

    def confidences(self, confidence: Calibration | Confidence) -> NDArray[np.float64]:
        """Return confidences, [READMEs, tags]."""
        logits = self.logits(confidence)
        confidences: NDArray[np.float64] = logits.sigmoid().double().numpy()
        return confidences

    def save(self, path: Path, vocabulary: Vocabulary) -> None:
        """Write a row for each README and tag.

        Raises:
            OutputError: the file cannot be written.
            MissingPackageError: pyarrow is not installed.

        """
        arrow = pyarrow()
        evidence = self.evidence
        count, tags = len(self.labels), len(vocabulary)
        ids = [label.id for label in self.labels]
        names = [tag.label for tag in vocabulary]
        columns: dict[str, Any] = {
            "readme": np.repeat(np.array(ids, dtype=object), tags),
            "text": np.repeat(
                np.array([label.text_digest for label in self.labels], dtype=object), tags
            ),
            "read": np.repeat(np.array(self.read, dtype=object), tags),
            "tag": names * count,
            "full": evidence.log_probs.full.transpose(1, 2).flatten(0, 1).tolist(),
            "first": evidence.log_probs.first.transpose(1, 2).flatten(0, 1).tolist(),
            "prior_full": evidence.prior.full.T.tolist() * count,
            "prior_first": evidence.prior.first.T.tolist() * count,
            "mentions": evidence.mentions[..., 0].flatten().numpy(),
            "lead": evidence.mentions[..., 1].flatten().numpy(),
            "features": self._features(tags),
        }
        about = {
            "model": self.model,
            "identity": self.identity.to_json(),
            "left out": " ".join(sorted(self.left_out)),
        }
        if evidence.limit is not None:
            about["limit"] = str(evidence.limit)
        table = arrow.table(columns).replace_schema_metadata(about)
        with reporting(printable(str(path))), replacing(path) as part:
            arrow.parquet.write_table(table, part)

    def _features(self, tags: int) -> list[bytes | None]:
        """Return the features of each README in the first of its rows, as float16."""
        if self.evidence.features is None:
            return [None] * (len(self.labels) * tags)
        rows = (row.half().numpy().tobytes() for row in self.evidence.features)
        return [cell for row in rows for cell in (row, *[None] * (tags - 1))]

    @classmethod
    def load(cls, path: Path, vocabulary: Vocabulary, labels: Sequence[Label]) -> Self:
        """Read the scores of these READMEs and tags, in this order, but for those left out.

        Raises:
            LabelsError: the file holds no scores, is damaged, or is about other READMEs or tags.

        """
        arrow = pyarrow()
        name = printable(str(path))
        with _reading(name, arrow):
            with arrow.parquet.ParquetFile(path) as file:
                table = file.read()
            about = {
                key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
            }
            if set(table.column_names) != _COLUMNS:
                raise LabelsError(f"{name}: is not a file of scores from `tagger eval --dump`")
            identity = Identity.from_json(about["identity"])
            if identity.vocabulary != vocabulary.wording:
                raise LabelsError(f"{name}: holds scores for other tags or descriptions")
            tags = len(vocabulary)
            ids, digests, read = (
                table[key].to_pylist()[::tags] for key in ("readme", "text", "read")
            )
            texts = dict(zip(ids, digests, strict=True))
            row = {id_: index for index, id_ in enumerate(texts)}
            left_out = frozenset(about.get("left out", "").split())
            labels = [label for label in labels if label.text_digest not in left_out]
            missing = [label.id for label in labels if texts.get(label.id) != label.text_digest]
            if not labels:
                raise LabelsError(f"{name}: has no scores for any of these READMEs")
            if missing:
                raise LabelsError(
                    f"{name}: has no scores for {len(missing)} of the READMEs, such as "
                    f"{printable(missing[0])!r}"
                )
            order = [row[label.id] for label in labels]

            def column(key: str) -> Tensor:
                values = torch.tensor(table[key].to_pylist(), dtype=torch.float32)
                if not values.isfinite().all():
                    raise LabelsError(f"{name}: is damaged: {key} has values that are not numbers")
                return values.reshape(len(texts), tags, -1)[order].transpose(1, 2)

            mentions = torch.cat([column("mentions"), column("lead")], dim=1)
            log_probs = TagLogProbs(column("full"), column("first"))
            prior = TagLogProbs(column("prior_full"), column("prior_first")).select(0)
            parts = (log_probs.full, log_probs.first, prior.full, prior.first)
            branches = {part.shape[-2] for part in parts}
            if len(branches) != 1 or 0 in branches:
                raise LabelsError(f"{name}: is damaged: its columns do not fit together")
            limit = float(about["limit"]) if "limit" in about else None
            kept = table["features"].to_pylist()[::tags]
            features = _features_of([kept[place] for place in order], branches.pop())
            return cls(
                model=about["model"],
                identity=identity,
                labels=tuple(labels),
                evidence=Evidence(log_probs, prior, mentions.transpose(1, 2), features, limit),
                read=tuple(str(read[index]) for index in order),
                left_out=left_out,
            )


def _features_of(kept: Sequence[bytes | None], branches: int) -> Tensor | None:
    """Return features, [READMEs, branches, hidden], of which some may be missing."""
    rows = [np.frombuffer(row, np.float16) for row in kept if row is not None]
    if len(rows) < len(kept):
        return None
    features = torch.from_numpy(np.stack(rows)).float()
    if not features.isfinite().all():
        raise ValueError("features that are not all numbers")
    return features.reshape(len(kept), branches, -1)


def score(rank: Rank, labels: Sequence[Label], progress: Progress = no_progress) -> Scores:
    """Score labelled READMEs one by one.

    Args:
        rank: scores them.
        labels: the READMEs and their right tags.
        progress: hears how many READMEs are done.

    Raises:
        ReadmeError: a README cannot be read.
        LoadError: the model's probabilities are not numbers.
        OutOfMemoryError: a README needs more memory than there is.

    """
    rank.prepare()
    evidence, read = [], []
    for done, label in enumerate(labels, start=1):
        encoded = rank.encode(label.to_readme())
        evidence.append(rank.evidence([encoded]))
        read.append(rank.model.tokenizer.decode(encoded.tokens))
        progress("scoring", done, len(labels))
    return Scores(
        rank.model.name, rank.evidence_identity, tuple(labels), Evidence.cat(evidence), tuple(read)
    )


def check_target(path: Path) -> None:
    """Check, before anything is scored, that scores can be saved in a file.

    Raises:
        OutputError: the file cannot be written.
        UsageError: it exists and holds something else, or pyarrow is not installed.

    """
    arrow = pyarrow()

    def ours() -> bool:
        try:
            return set(arrow.parquet.read_schema(path).names) == _COLUMNS
        except (OSError, arrow.ArrowException):
            return False

    check(path, ours, "file of scores")


@contextmanager
def _reading(name: str, arrow: Any) -> Iterator[None]:
    """Turn whatever error a damaged file causes into one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise LabelsError(f"{name}: no such file of scores") from error
    except (OSError, arrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise LabelsError(f"{name}: cannot be read: {reason}") from error
    except (ValueError, TypeError, RuntimeError, LookupError) as error:
        raise LabelsError(f"{name}: is damaged: its columns do not fit together") from error
