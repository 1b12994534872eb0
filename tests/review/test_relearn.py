"""Learning from a review: by what the batch has kept, and what becomes of the suggestions."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from support.heads import head_of
from support.messages import MESSAGES, refused
from tagger.batch.batch import Batch
from tagger.batch.ledger import Ledger
from tagger.errors import HeadError, UsageError
from tagger.learning.void import void_texts
from tagger.methods.rank.evidence import Evidence
from tagger.methods.rank.head import Head
from tagger.methods.rank.rank import Encoded, Rank
from tagger.models.language import LanguageModel
from tagger.readme.sources import Sources
from tagger.review import relearn
from tagger.review.items import Filter
from tagger.review.relearn import Ranker
from tagger.review.review import Review
from tagger.selection import Selection
from tagger.tagger import Tagger
from tagger.vocabulary import Tag, Vocabulary

pytestmark = pytest.mark.slow

VOCABULARY = Vocabulary(tuple(Tag(id=n, name=name) for n, name in enumerate(("3d", "game", "cli"))))
WORDS = ("alpha beta", "omega psi", "xyz")
"""What tells the tag of a README; none of it names one."""

COUNT, REVIEWED = 60, 36


class Counting(Rank):
    """Counts the READMEs that the model reads to learn."""

    read_now = 0

    def evidence(self, readmes: Sequence[Encoded]) -> Evidence:
        self.read_now += len(readmes)
        return super().evidence(readmes)


def right(id_: str) -> str:
    return str(int(id_) % 3)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_model: LanguageModel) -> Path:
    """A folder in which a batch has run."""
    folder = tmp_path_factory.mktemp("done")
    batch(folder, Rank(tiny_model, VOCABULARY))
    return folder


@pytest.fixture
def output(tmp_path: Path, done: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in done.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(done)  # where the batch has found its READMEs
    return tmp_path / "out.jsonl"


def batch(folder: Path, rank: Rank) -> Path:
    path = folder / "dump.jsonl"
    texts = [{"id": str(n), "readme": f"{WORDS[n % 3]} {n} {WORDS[n % 3]}"} for n in range(COUNT)]
    path.write_text("".join(json.dumps(row) + "\n" for row in texts))
    with Batch(Sources((str(path),)), VOCABULARY, output=folder / "out.jsonl", scores=True) as work:
        list(work.run(Tagger(rank)))
    return folder / "out.jsonl"


@pytest.fixture
def rank(tiny_model: LanguageModel) -> Counting:
    return Counting(tiny_model, VOCABULARY)


@pytest.fixture
def review(output: Path, rank: Counting) -> Iterator[Review]:
    with Review(output, VOCABULARY, rank=lambda: rank) as review:
        yield review


def go(review: Review, steps: int = REVIEWED, decide: Callable[[str], str] = right) -> None:
    item = review.next()
    for _ in range(steps):
        assert item
        review.decide(item.id, [decide(item.id)], item.revision)
        item = review.next(after=item.id)


def rest(review: Review) -> list[tuple[str, str]]:
    """The first suggestion for each open README, and what is right."""
    items = [item for n in range(COUNT) if (item := review.item(str(n))).state == "open"]
    return [(str(item.suggestions[0].tag.id), right(item.id)) for item in items]


def test_learning_suggests_better_tags_for_the_rest_and_reads_nothing_again(
    review: Review, rank: Counting, tmp_path: Path
) -> None:
    go(review)
    learned = review.learn()
    assert rank.read_now == len(void_texts())
    assert learned.lesson.read == 0
    assert learned.before
    assert learned.after
    assert learned.before.of == learned.after.of == REVIEWED
    assert learned.before.share < 0.7
    assert learned.after.share > 0.8
    assert learned.f1_before is not None
    assert learned.f1_after is not None
    assert learned.f1_after > learned.f1_before
    assert (learned.ranked, learned.unread) == (COUNT - REVIEWED, 0)
    firsts = rest(review)
    assert sum(first == tag for first, tag in firsts) > 0.9 * len(firsts)
    assert learned.head == tmp_path / "out.jsonl.head.safetensors"
    assert Head.load(learned.head).weight > 0


def test_the_statistics_stay_those_of_the_output(review: Review) -> None:
    go(review)
    before = review.statistics()
    review.learn()
    assert review.statistics() == before


def test_a_batch_with_the_head_gives_what_the_review_suggests(
    review: Review, output: Path, tiny_model: LanguageModel
) -> None:
    go(review)
    learned = review.learn()
    assert learned.head
    suggested = {
        item.id: [(each.tag.name, each.confidence) for each in item.suggestions if each.given]
        for n in range(COUNT)
        if (item := review.item(str(n))).state == "open"
    }
    review.close()
    batch(output.parent, Rank(tiny_model, VOCABULARY, head=Head.load(learned.head)))
    for row in map(json.loads, output.read_text().splitlines()):
        if row["id"] not in suggested:
            assert row["source"] == "human"
            continue
        assert [tag["name"] for tag in row["tags"]] == [name for name, _ in suggested[row["id"]]]
        sure = [confidence for _, confidence in suggested[row["id"]]]
        assert [tag["confidence"] for tag in row["tags"]] == pytest.approx(sure, abs=2e-4)


def test_the_next_best_tags_are_shown_once_it_is_prepared(review: Review) -> None:
    item = review.item("0")
    assert all(each.given for each in item.suggestions)
    review.prepare()
    later = review.item("0")
    assert later.suggestions[: len(item.suggestions)] == item.suggestions
    assert len(later.suggestions) == len(VOCABULARY)
    assert not later.suggestions[-1].given


def test_a_brief_head_is_learned_from_what_a_brief_head_has_kept(
    tmp_path: Path, tiny_model: LanguageModel, rank: Counting
) -> None:
    plain = Rank(tiny_model, VOCABULARY)
    output = batch(tmp_path, Rank(tiny_model, VOCABULARY, head=head_of(plain, brief=True)))
    with Review(output, VOCABULARY, rank=lambda: rank) as review:
        review.prepare()
        assert len(review.item("0").suggestions) == len(VOCABULARY)
        go(review)
        learned = review.learn()
        assert rank.read_now == len(void_texts())
        assert learned.lesson.head.brief
        assert learned.ranked == COUNT - REVIEWED
        firsts = rest(review)
        assert sum(first == tag for first, tag in firsts) > 0.9 * len(firsts)


def test_without_what_the_batch_has_kept_only_reviewed_readmes_are_read(
    output: Path, rank: Counting
) -> None:
    with Review(output, VOCABULARY, rank=lambda: rank) as review:
        go(review)
    output.with_name("out.jsonl.state").unlink()
    with Review(output, VOCABULARY, rank=lambda: rank) as review:
        learned = review.learn()
        assert learned.lesson.read == REVIEWED
        assert (learned.ranked, learned.unread) == (0, COUNT - REVIEWED)
        assert review.learn().lesson.read == 0, "what was read is kept"


def test_readings_of_other_settings_are_not_used(output: Path, tiny_model: LanguageModel) -> None:
    with Ledger(output.with_name("out.jsonl.state")) as ledger:
        other = Ranker(Rank(tiny_model, VOCABULARY, readme_tokens=3), ledger)
        assert other.content(b"") is None
        assert other.best(b"") == []


def test_too_few_reviewed_readmes_are_refused(review: Review) -> None:
    go(review, 10)
    with refused(HeadError):
        review.learn()


def test_a_head_that_is_not_better_is_not_used(review: Review, tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    go(review, decide=lambda _: str(int(torch.randint(3, (), generator=draw))))
    before = rest(review)
    learned = review.learn()
    assert learned.head is None
    assert learned.ranked == 0
    assert rest(review) == before
    assert not (tmp_path / "out.jsonl.head.safetensors").exists()


def test_a_head_needs_more_than_a_slice_that_is_alike(
    review: Review, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go(review)
    monkeypatch.setattr(relearn, "f1", lambda _: 0.7)
    learned = review.learn()
    assert learned.lesson.head.weight > 0
    assert learned.head is None
    MESSAGES.check(learned.why_not)
    assert not (tmp_path / "out.jsonl.head.safetensors").exists()


def test_without_a_slice_what_was_reviewed_tells_whether_a_head_is_better(review: Review) -> None:
    for number in range(REVIEWED):
        review.decide(str(number), [right(str(number))], 0)
    learned = review.learn()
    assert (learned.before, learned.after) == (None, None)
    assert learned.head, "it is better on those"


def test_bulk_decisions_alone_do_not_tell_whether_a_head_is_better(review: Review) -> None:
    review.bulk_accept(0.0)
    learned = review.learn()
    assert learned.head is None
    assert learned.why_not


def test_new_suggestions_are_as_many_as_the_batch_has_given(
    output: Path, rank: Counting, done: Path
) -> None:
    with Ledger(output.with_name("out.jsonl.state")) as ledger:
        ledger.note("selection", Selection(max_tags=2, min_tags=2, threshold=1.0).to_json())
    with Review(output, VOCABULARY, rank=lambda: rank) as review:
        go(review)
        learned = review.learn()
        assert learned.lesson.after.given.sum(axis=1).tolist() == REVIEWED * [2]
        item = review.next("uncertain", Filter(text=""))
        assert learned.head is None or (item and sum(each.given for each in item.suggestions) == 2)


def test_a_foreign_file_is_not_overwritten_by_a_head(review: Review, tmp_path: Path) -> None:
    go(review)
    (tmp_path / "out.jsonl.head.safetensors").write_text("precious")
    with refused(UsageError):
        review.learn()


def test_without_a_model_nothing_is_learned(output: Path) -> None:
    with Review(output, VOCABULARY) as review, refused(UsageError):
        review.learn()


def test_bulk_decisions_are_counted(review: Review) -> None:
    go(review)
    review.bulk_accept(0.0)
    learned = review.learn()
    assert learned.bulk == COUNT - REVIEWED
    assert learned.before
    assert learned.before.of == REVIEWED, "rates are those of READMEs that somebody has seen"
