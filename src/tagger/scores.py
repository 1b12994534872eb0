"""Raw scores of READMEs, kept as Parquet, so that what costs minutes is not done twice."""

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
from tagger.methods.answers import Answers
from tagger.methods.calibration import Calibration
from tagger.output import reporting
from tagger.text import printable
from tagger.vocabulary import Vocabulary

_COLUMNS = {
    "readme",
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
        ids: [READMEs] their ids.
        answers: [READMEs, branches, tags] what the model says of them.
        prior: [branches, tags] what it says of texts without content.
        mentions: [READMEs, tags, 2] log(1 + mentions), anywhere and in the lead.

    """

    model: str
    ids: tuple[str, ...]
    answers: Answers
    prior: Answers
    mentions: Tensor

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return those of some of the READMEs."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            answers=Answers(self.answers.names[rows], self.answers.starts[rows]),
            mentions=self.mentions[rows],
        )

    def confidences(self, calibration: Calibration) -> NDArray[np.float64]:
        """Return what a calibration makes of them, [READMEs, tags]."""
        logits = calibration.logits(self.answers, self.prior, self.mentions)
        confidences: NDArray[np.float64] = logits.sigmoid().double().numpy()
        return confidences

    def save(self, path: Path, vocabulary: Vocabulary) -> None:
        """Write a row for each README and tag.

        Raises:
            OutputError: it cannot be written.
            UsageError: pyarrow is not installed.

        """
        arrow = parquet.arrow()
        count, tags = len(self.ids), len(vocabulary)
        names = [tag.label for tag in vocabulary]
        columns: dict[str, Any] = {
            "readme": np.repeat(np.array(self.ids, dtype=object), tags),
            "tag": names * count,
            "names": self.answers.names.transpose(1, 2).flatten(0, 1).tolist(),
            "starts": self.answers.starts.transpose(1, 2).flatten(0, 1).tolist(),
            "prior_names": self.prior.names.T.tolist() * count,
            "prior_starts": self.prior.starts.T.tolist() * count,
            "mentions": self.mentions[..., 0].flatten().numpy(),
            "lead": self.mentions[..., 1].flatten().numpy(),
        }
        table = arrow.table(columns).replace_schema_metadata({"model": self.model})
        with reporting(printable(str(path))):
            arrow.parquet.write_table(table, path)

    @classmethod
    def load(cls, path: Path, vocabulary: Vocabulary, ids: Sequence[str]) -> Self:
        """Read the scores of these READMEs and tags, in this order.

        Raises:
            LabelsError: not such a file, or of other READMEs or tags.

        """
        arrow = parquet.arrow()
        with _reading(path, arrow):
            table = arrow.parquet.read_table(path)
        if set(table.column_names) != _COLUMNS:
            raise LabelsError(f"{printable(str(path))}: holds no scores of tagger eval --dump")
        tags = len(vocabulary)
        names = [tag.label for tag in vocabulary]
        found = table["readme"].to_pylist()[::tags]
        if table["tag"].to_pylist() != names * len(found):
            raise LabelsError(f"{printable(str(path))}: holds scores of another vocabulary")
        row = {id_: index for index, id_ in enumerate(found)}
        missing = [id_ for id_ in ids if id_ not in row]
        if missing:
            raise LabelsError(
                f"{printable(str(path))}: holds no scores of {len(missing)} of the labels, such as "
                f"{missing[0]!r}"
            )
        order = [row[id_] for id_ in ids]

        def column(name: str) -> Tensor:
            values = torch.tensor(table[name].to_pylist(), dtype=torch.float32)
            return values.reshape(len(found), tags, -1)[order].transpose(1, 2)

        mentions = torch.cat([column("mentions"), column("lead")], dim=1)
        return cls(
            model=(table.schema.metadata or {}).get(b"model", b"").decode(),
            ids=tuple(ids),
            answers=Answers(column("names"), column("starts")),
            prior=Answers(column("prior_names")[0], column("prior_starts")[0]),
            mentions=mentions.transpose(1, 2),
        )


@contextmanager
def _reading(path: Path, arrow: Any) -> Iterator[None]:
    try:
        yield
    except (OSError, arrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise LabelsError(f"{printable(str(path))}: cannot be read: {reason}") from error
