"""Raw scores of READMEs, kept as Parquet, so that what costs minutes is not done twice."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tagger import parquet
from tagger.errors import LabelsError
from tagger.evaluate import Label
from tagger.methods.answers import Answers
from tagger.methods.calibration import Calibration
from tagger.output import check_target as check
from tagger.text import printable
from tagger.vocabulary import Vocabulary

_COLUMNS = {
    "readme",
    "text",
    "read",
    "tag",
    "names",
    "starts",
    "prior_names",
    "prior_starts",
    "mentions",
    "lead",
}


@dataclass(frozen=True)
class Scores:
    """What `rank` knows of every README and tag before a calibration.

    Attributes:
        model: the model's name.
        prompt: a digest of the prompt template.
        labels: [READMEs] what was scored, and what is right.
        answers: [READMEs, branches, tags] what the model says of them.
        prior: [branches, tags] what it says of texts without content.
        mentions: [READMEs, tags, 2] log(1 + mentions), anywhere and in the lead.
        read: [READMEs] what the model has read of them.
        limit: as of `Calibration.scores`.

    """

    model: str
    prompt: str
    labels: tuple[Label, ...]
    answers: Answers
    prior: Answers
    mentions: Tensor
    read: tuple[str, ...]
    limit: float | None = None

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return those of some of the READMEs."""
        return replace(
            self,
            labels=tuple(self.labels[row] for row in rows),
            answers=Answers(self.answers.names[rows], self.answers.starts[rows]),
            mentions=self.mentions[rows],
            read=tuple(self.read[row] for row in rows),
        )

    def logits(self, calibration: Calibration) -> Tensor:
        """Return the evidence that a calibration sees, [READMEs, tags] in nats."""
        return calibration.logits(self.answers, self.prior, self.mentions, self.limit)

    def confidences(self, calibration: Calibration) -> NDArray[np.float64]:
        """Return what a calibration makes of them, [READMEs, tags]."""
        logits = self.logits(calibration)
        confidences: NDArray[np.float64] = logits.sigmoid().double().numpy()
        return confidences

    def save(self, path: Path, vocabulary: Vocabulary) -> None:
        """Write a row for each README and tag.

        Raises:
            OutputError: it cannot be written.
            UsageError: pyarrow is not installed.

        """
        arrow = parquet.arrow()
        count, tags = len(self.labels), len(vocabulary)
        ids = [label.id for label in self.labels]
        names = [tag.label for tag in vocabulary]
        columns: dict[str, Any] = {
            "readme": np.repeat(np.array(ids, dtype=object), tags),
            "text": np.repeat(np.array([*map(_digest, self.labels)], dtype=object), tags),
            "read": np.repeat(np.array(self.read, dtype=object), tags),
            "tag": names * count,
            "names": self.answers.names.transpose(1, 2).flatten(0, 1).tolist(),
            "starts": self.answers.starts.transpose(1, 2).flatten(0, 1).tolist(),
            "prior_names": self.prior.names.T.tolist() * count,
            "prior_starts": self.prior.starts.T.tolist() * count,
            "mentions": self.mentions[..., 0].flatten().numpy(),
            "lead": self.mentions[..., 1].flatten().numpy(),
        }
        about = {
            "model": self.model,
            "prompt": self.prompt,
            "vocabulary": vocabulary.wording,
        }
        if self.limit is not None:
            about["limit"] = str(self.limit)
        table = arrow.table(columns).replace_schema_metadata(about)
        with parquet.replacing(path) as part:
            arrow.parquet.write_table(table, part)

    @classmethod
    def load(cls, path: Path, vocabulary: Vocabulary, labels: Sequence[Label]) -> Self:
        """Read the scores of these READMEs and tags, in this order.

        Raises:
            LabelsError: not such a file, damaged, or of other READMEs or tags.

        """
        arrow = parquet.arrow()
        name = printable(str(path))
        with _reading(name, arrow):
            table = arrow.parquet.read_table(path)
            about = {
                key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
            }
            if set(table.column_names) != _COLUMNS:
                raise LabelsError(f"{name}: holds no scores of tagger eval --dump")
            if about["vocabulary"] != vocabulary.wording:
                raise LabelsError(f"{name}: holds scores of other tags or descriptions")
            tags = len(vocabulary)
            ids, digests, read = (
                table[key].to_pylist()[::tags] for key in ("readme", "text", "read")
            )
            texts = dict(zip(ids, digests, strict=True))
            row = {id_: index for index, id_ in enumerate(texts)}
            missing = [label.id for label in labels if texts.get(label.id) != _digest(label)]
            if missing:
                raise LabelsError(
                    f"{name}: holds no scores of {len(missing)} of the READMEs, such as "
                    f"{printable(missing[0])!r}"
                )
            order = [row[label.id] for label in labels]

            def column(key: str) -> Tensor:
                values = torch.tensor(table[key].to_pylist(), dtype=torch.float32)
                if not values.isfinite().all():
                    raise LabelsError(f"{name}: is damaged: {key} are not all numbers")
                return values.reshape(len(texts), tags, -1)[order].transpose(1, 2)

            mentions = torch.cat([column("mentions"), column("lead")], dim=1)
            answers = Answers(column("names"), column("starts"))
            prior = Answers(column("prior_names")[0], column("prior_starts")[0])
            branches = {part.shape[-2] for part in (*vars(answers).values(), *vars(prior).values())}
            if len(branches) != 1 or 0 in branches:
                raise LabelsError(f"{name}: is damaged: its columns do not fit together")
            return cls(
                model=about["model"],
                prompt=about["prompt"],
                labels=tuple(labels),
                answers=answers,
                prior=prior,
                mentions=mentions.transpose(1, 2),
                read=tuple(str(read[place]) for place in order),
                limit=float(about["limit"]) if "limit" in about else None,
            )


def check_target(path: Path) -> None:
    """Make sure, before anything is scored, that scores can be kept in a file.

    Raises:
        OutputError: it cannot be written.
        UsageError: there is another file, or pyarrow is not installed.

    """
    arrow = parquet.arrow()

    def ours() -> bool:
        try:
            return set(arrow.parquet.read_schema(path).names) == _COLUMNS
        except (OSError, arrow.ArrowException):
            return False

    check(path, ours, "file of scores")


def _digest(label: Label) -> str:
    return hashlib.sha256(label.readme.encode("utf-8", "replace")).hexdigest()


@contextmanager
def _reading(name: str, arrow: Any) -> Iterator[None]:
    """Turn whatever a damaged file may lead to into one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise LabelsError(f"{name}: no such file of scores") from error
    except (OSError, arrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise LabelsError(f"{name}: cannot be read: {reason}") from error
    except (ValueError, TypeError, RuntimeError, LookupError) as error:
        raise LabelsError(f"{name}: is damaged: its columns do not fit together") from error
