"""Which READMEs are suggested for labelling."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tagger.errors import UsageError
from tagger.evaluation.label import Label
from tagger.learning.suggest import farthest_first, suggest
from tagger.methods.rank.rank import Rank
from tagger.models.load import load
from tagger.readme.readme import Readme
from tagger.vocabulary import Vocabulary

LINE = np.array([[0.0], [1.0], [10.0], [4.0], [9.0]])


def test_each_choice_is_as_far_as_possible_from_those_before() -> None:
    assert farthest_first(LINE, 4) == [0, 2, 3, 1]


def test_the_first_choice_is_far_from_what_is_labelled() -> None:
    assert farthest_first(LINE, 3, np.array([[10.0], [0.5]])) == [3, 4, 0]


@given(
    arrays(float, st.tuples(st.integers(0, 12), st.just(2)), elements=st.floats(-9, 9)),
    st.integers(1, 15),
)
def test_no_readme_is_chosen_twice_and_a_smaller_choice_begins_a_larger_one(
    features: np.ndarray, size: int
) -> None:
    chosen = farthest_first(features, size)
    assert len(set(chosen)) == len(chosen) == min(size, len(features))
    assert farthest_first(features, size + 1)[: len(chosen)] == chosen


@pytest.mark.slow
def test_what_is_labelled_is_not_suggested_and_equal_readmes_come_last(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAGGER_HOME", str(tmp_path))
    vocabulary = Vocabulary.from_json('[{"id":1,"name":"3d"},{"id":2,"name":"cli"}]')
    rank = Rank(load(str(tiny_folder)), vocabulary, head=None)
    texts = ["one engine", "a parser", "a parser\n", "something else altogether"]
    readmes = [Readme.from_text(text, f"r{n}", "readme") for n, text in enumerate(texts)]
    labelled = [Label(id="x", readme="one engine", tags=("3d",))]
    taggings = suggest(rank, readmes, 9, labelled)
    ids = [tagging.id for tagging in taggings]
    assert sorted(ids) == ["r1", "r2", "r3"]
    assert ids[-1] in ("r1", "r2"), "by then its like has been chosen"
    assert all(tagging.tags for tagging in taggings)
    assert [tagging.id for tagging in suggest(rank, readmes, 1, labelled)] == ids[:1]
    with pytest.raises(UsageError, match="2 READMEs have the id 'r1'"):
        suggest(rank, [*readmes, Readme.from_text("another", "r1", "readme")], 1)
