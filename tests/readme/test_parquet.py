"""Tables that a batch writes: every vocabulary fits, and that is known before any work."""

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from tagger.batch import tables
from tagger.tagging import (
    Failure,
    GivenTag,
    Tagging,
    TagsAs,
)
from tagger.vocabulary import Tag, Vocabulary

MANY: dict[str, tuple[list[int | str], str]] = {
    "numbers": ([1, 2], "int64"),
    "text": (["a", "b"], "string"),
    "mixed": ([1, "b"], "string"),
    "large": ([2**63, 2], "string"),
    "odd": (["\x9b", "\u202e"], "string"),
}


@pytest.mark.parametrize("tags_as", ["objects", "ids", "names"])
@pytest.mark.parametrize("scores", [True, False])
@pytest.mark.parametrize(("ids", "kind"), MANY.values(), ids=MANY)
def test_a_table_holds_any_ids_that_a_vocabulary_may_have(
    tmp_path: Path, ids: list[int | str], kind: str, tags_as: TagsAs, scores: bool
) -> None:
    vocabulary = Vocabulary(tuple(Tag(id=id_, name=f"tag {n}") for n, id_ in enumerate(ids)))
    tables.check_table(vocabulary, tags_as, scores=scores)
    given = tuple(GivenTag(id=tag.id, name=tag.name, confidence=0.5) for tag in vocabulary)
    failed = Failure(id="bad", type="ReadmeError", message="caf\ud800")
    lines = [Tagging(id="good", tags=given).to_json(tags_as, scores=scores), failed.to_json()]
    (tmp_path / "lines").write_text("\n".join(lines) + "\n")
    tables.write(tmp_path / "lines", tmp_path / "table", vocabulary, tags_as, scores=scores)
    good, bad = pyarrow.parquet.read_table(tmp_path / "table").to_pylist()
    assert bad["error"] == {"type": "ReadmeError", "message": "caf\\ud800"}
    if tags_as == "ids" and not scores:
        assert list(map(str, good["tags"])) == list(map(str, ids))
    if kind == "int64" and ids == [1, 2]:
        assert good["tags"] == json.loads(lines[0])["tags"]
    schema = pyarrow.parquet.read_schema(tmp_path / "table")
    if tags_as == "ids" and not scores:
        assert str(schema.field("tags").type.value_type) == kind


def test_that_numbers_become_text_is_said(caplog: pytest.LogCaptureFixture) -> None:
    for ids, _ in MANY.values():
        vocabulary = Vocabulary(tuple(Tag(id=id_, name=f"tag {n}") for n, id_ in enumerate(ids)))
        tables.check_table(vocabulary, "objects", scores=False)
        tables.check_table(vocabulary, "names", scores=False)
    assert len(caplog.messages) == 2
    assert "not all 64-bit integers: the table holds them as text" in caplog.text
