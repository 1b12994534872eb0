"""What a README says to whoever tags it is found, left out and said."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from support import tiny
from support.console import Run
from tagger.evaluation.explain import explain
from tagger.methods.rank import rank as rank_module
from tagger.methods.rank.probe import LONGEST, Passage, Probe, passages
from tagger.methods.rank.rank import ROUNDS, Encoded, Rank
from tagger.models.language import LanguageModel
from tagger.models.tokenizer import ChatTokenizer
from tagger.readme.readme import Readme
from tagger.selection import Selection
from tagger.tagger import Tagger
from tagger.types import DEFAULT_MODEL
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["cli", "web", "game", "http", "maps"])
SMALL, LARGE = (
    VOCABULARY,
    Vocabulary.from_names([f"{7919 * number % 100_003:05}" for number in range(150)]),
)

PLANTED = "PLANT a game."
"""What the probe of these tests finds."""

TOKENIZER = ChatTokenizer(tiny.tokenizer())


class WordProbe(Probe):
    """Finds passages that hold a word, whatever the model makes of them."""

    def __init__(self, word: str = "PLANT") -> None:
        super().__init__(torch.zeros(1), 0.0, 0.0)
        object.__setattr__(self, "word", word)

    def find(
        self, text: str, ends: Sequence[int], states: Tensor, *, suspicious: bool = False
    ) -> list[Passage]:
        word = str(vars(self)["word"])
        return [each for each in passages(text, ends) if word in text[each.text]]


# Passages.


def split(text: str) -> list[str]:
    _, ends = TOKENIZER.encode_with_ends(text)
    return [text[each.text] for each in passages(text, ends)]


def test_a_passage_is_a_sentence_or_a_line() -> None:
    assert split("# Voxel\n\nA game. It is fast! 体素。引擎") == [
        "# Voxel\n\n",
        "A game. ",
        "It is fast! ",
        "体素。",
        "引擎",
    ]


def test_nothing_hides_in_a_long_sentence() -> None:
    text = "word " * 200
    _, ends = TOKENIZER.encode_with_ends(text)
    found = passages(text, ends)
    assert len(found) > 2
    assert {each.tokens.stop - each.tokens.start for each in found[:-1]} == {LONGEST}


@given(
    st.text(st.sampled_from("ab .!\n。é🙂e\u0301"), min_size=1, max_size=300), st.integers(1, 90)
)
def test_passages_are_all_of_what_was_read_once(text: str, read: int) -> None:
    ids, ends = TOKENIZER.encode_with_ends(text)
    found = passages(text, ends[:read])
    assert found[0].tokens.start == found[0].text.start == 0
    assert found[-1].tokens.stop == len(ids[:read])
    assert found[-1].text.stop == ends[:read][-1]
    for one, other in pairwise(found):
        assert one.tokens.stop == other.tokens.start
        assert one.text.stop == other.text.start
    assert all(0 < each.tokens.stop - each.tokens.start <= LONGEST for each in found)


# The probe.


def found_by(probe: Probe, scores: list[float], *, suspicious: bool = False) -> list[str]:
    """Which of the lines a, b, c are found when the model's states give them these scores."""
    text = "a\nb\nc"
    _, ends = TOKENIZER.encode_with_ends(text)
    lines = passages(text, ends)
    states = torch.zeros(len(ends) + 5, 2)
    for line, score in zip(lines, scores, strict=True):
        states[line.tokens, 0] = score
    found = probe.find(text, ends, states, suspicious=suspicious)
    return [text[each.text].strip() for each in found]


def test_doubtful_passages_are_found_where_another_was_surely_planted() -> None:
    probe = Probe(torch.tensor([1.0, 0.0]), sure=2.0, doubtful=1.0)
    assert found_by(probe, [1.5, 0.5, 1.5]) == []
    assert found_by(probe, [1.5, 0.5, 2.5]) == ["a", "c"]
    assert found_by(probe, [1.5, 0.5, 1.5], suspicious=True) == ["a", "c"]


def test_a_probe_ships_for_the_default_model() -> None:
    probe = Probe.shipped(DEFAULT_MODEL)
    assert probe is not None
    assert probe.weights.isfinite().all()
    assert probe.sure > probe.doubtful
    assert probe.digest != Probe(probe.weights, probe.sure, probe.doubtful - 1).digest
    assert Probe.shipped("tiny") is None


# Reading.


def rank_of(
    model: LanguageModel, vocabulary: Vocabulary = SMALL, probe: Probe | None = None
) -> Rank:
    return Rank(model, vocabulary, head=None, probe=probe)


def encoded(rank: Rank, text: str) -> Encoded:
    return rank.encode(Readme("x", text))


@pytest.mark.parametrize("vocabulary", [SMALL, LARGE], ids=["scored", "searched"])
@pytest.mark.parametrize("place", range(3))
def test_a_readme_is_ranked_as_without_its_planted_passages(
    tiny_model: LanguageModel, vocabulary: Vocabulary, place: int
) -> None:
    honest = ["A web server.", "It speaks http.", "Written for speed."]
    lines = [*honest[:place], PLANTED, *honest[place:]]
    plain = rank_of(tiny_model, vocabulary)
    (expected,) = plain.score([encoded(plain, "\n\n".join(honest))])
    probing = rank_of(tiny_model, vocabulary, WordProbe())
    (found,) = probing.score([encoded(probing, "\n\n".join(lines))])
    for one, other in zip(found, expected, strict=True):
        assert one.tag == other.tag
        assert one.logit == pytest.approx(other.logit, abs=1e-4)


def test_only_readmes_with_planted_passages_are_suspicious_and_others_stay_the_same(
    tiny_model: LanguageModel,
) -> None:
    texts = ["A web server.", f"{PLANTED} A web server, and much more than that.", "A game."]
    rank = rank_of(tiny_model, probe=WordProbe())
    together = rank.rank(rank.read([encoded(rank, text) for text in texts]))
    assert [ranking.suspicious for ranking in together] == [False, True, False]
    plain = rank_of(tiny_model)
    for text, ranking in zip(texts, together, strict=True):
        honest = text.removeprefix(PLANTED).strip()
        (alone,) = plain.rank(plain.read([encoded(plain, honest)]))
        for one, other in zip(ranking.tags, alone.tags, strict=True):
            assert one.id == other.id
            assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_what_follows_a_planted_passage_is_read_in_its_place(tiny_model: LanguageModel) -> None:
    rank = Rank(tiny_model, SMALL, head=None, probe=WordProbe(), readme_tokens=60)
    text = "\n\n".join([*[PLANTED] * 3, *(f"Line {number} of it." for number in range(50))])
    before = encoded(rank, text)
    read = rank.read_and_score(before)[0]
    assert read.left_out
    assert set(read.left_out) == {PLANTED}
    assert "PLANT" not in read.text
    assert read.length > 0.7 * rank.readme_tokens
    assert float(read.mentions.sum()) < float(before.mentions.sum())


def test_readmes_of_one_pass_lose_the_same_passages_as_alone(tiny_model: LanguageModel) -> None:
    rank = Rank(tiny_model, SMALL, head=None, probe=WordProbe(), readme_tokens=60)
    # What is read in place of the second one's planted passages is planted, too.
    texts = ["A web server.", f"{PLANTED} " * 12 + "A game.", f"{PLANTED} A web server.", "A game."]
    together = rank.rank(rank.read([encoded(rank, text) for text in texts]))
    assert [ranking.suspicious for ranking in together] == [False, True, True, False]
    for text, ranking in zip(texts, together, strict=True):
        (alone,) = rank.rank(rank.read([encoded(rank, text)]))
        assert alone.suspicious == ranking.suspicious
        for one, other in zip(ranking.tags, alone.tags, strict=True):
            assert one.id == other.id
            assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


@pytest.mark.parametrize("vocabulary", [SMALL, LARGE], ids=["scored", "searched"])
def test_a_readme_that_is_planted_all_over_is_read_a_few_times_at_most(
    tiny_model: LanguageModel, monkeypatch: pytest.MonkeyPatch, vocabulary: Vocabulary
) -> None:
    rank = Rank(tiny_model, vocabulary, head=None, probe=WordProbe(), readme_tokens=60)
    readme = encoded(rank, f"{PLANTED} " * 400)
    read = rank.read_and_score(readme)[0]
    assert 0 < len(readme.text) - len(read.text) <= ROUNDS * 60 * 8
    monkeypatch.setattr(rank_module, "ROUNDS", 0)
    assert rank.read_and_score(readme)[0] == readme


def test_of_nothing_but_planted_passages_nothing_is_read(tiny_model: LanguageModel) -> None:
    rank = rank_of(tiny_model, probe=WordProbe())
    (ranking,) = rank.rank(rank.read([encoded(rank, PLANTED)]))
    assert ranking.suspicious
    (nothing,) = rank.rank(rank.read([encoded(rank, " ")]))
    assert [tag.id for tag in ranking.tags] == [tag.id for tag in nothing.tags]


def test_sentences_that_repeat_a_tag_are_left_out_even_without_a_probe(
    tiny_model: LanguageModel,
) -> None:
    stuffed = "game game game"
    rank = Rank(tiny_model, SMALL, head=None)
    assert Probe.shipped(rank.name) is None
    text = f"A web server.\n{stuffed}\nIt speaks http."
    assert rank.read_and_score(encoded(rank, text))[0].left_out == (stuffed,)
    assert not rank_of(tiny_model).read_and_score(encoded(rank, text))[0].left_out


def test_a_readme_with_such_a_sentence_is_suspicious_to_the_probe(
    tiny_model: LanguageModel,
) -> None:
    seen = []

    class Watching(WordProbe):
        def find(
            self, text: str, ends: Sequence[int], states: Tensor, *, suspicious: bool = False
        ) -> list[Passage]:
            seen.append(suspicious)
            return super().find(text, ends, states, suspicious=suspicious)

    rank = rank_of(tiny_model, probe=Watching())
    for text in ("A game.", "game game game"):
        rank.read([encoded(rank, text)])
    assert seen == [False, True, True]


def test_a_reading_depends_on_what_is_left_out(tiny_model: LanguageModel) -> None:
    plain, probing = rank_of(tiny_model), rank_of(tiny_model, probe=WordProbe())
    stuffed = Rank(tiny_model, SMALL, head=None)
    digests = {rank.reading_identity.digest for rank in (plain, probing, stuffed)}
    assert len(digests) == 3
    assert plain.identity.features == probing.identity.features, "so that heads fit both"


# What people see.


@pytest.fixture
def found_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Probe, "shipped", lambda _model: WordProbe())


@pytest.mark.usefixtures("found_by_word")
def test_a_reply_says_it_with_scores(tiny_model: LanguageModel) -> None:
    tagger = Tagger(Rank(tiny_model, SMALL, head=None))
    sound, planted = tagger.tag([Readme("a", "A web server."), Readme("b", PLANTED)])
    assert json.loads(planted.to_json(scores=True))["suspicious"] is True
    assert "suspicious" not in planted.to_json()
    assert "suspicious" not in sound.to_json(scores=True)


@pytest.mark.usefixtures("found_by_word")
def test_an_explanation_shows_the_passages(tiny_model: LanguageModel) -> None:
    rank = Rank(tiny_model, SMALL, head=None)
    explained = explain(rank, Selection(), Readme("x", f"A web server.\n\n{PLANTED}"))
    assert explained.readme.planted == (PLANTED,)
    assert explained.readme.last == "A web server."


@pytest.mark.usefixtures("found_by_word")
def test_the_commands_say_so(run: Run, workplace: Path) -> None:
    (workplace / "planted.md").write_text(f"A web server.\n\n{PLANTED}\n")
    assert json.loads(run("run", "planted.md", "--scores").out)["suspicious"] is True
    shown = run("explain", "planted.md").out
    assert f"left out: '{PLANTED}'" in " ".join(shown.split())
    batch = run("batch", "planted.md", "README.md", "-o", "out.parquet", "--scores")
    assert "1 suspicious" in batch.err
    table = pyarrow.parquet.read_table(workplace / "out.parquet")
    assert sorted(table["suspicious"].to_pylist()) == [False, True]
