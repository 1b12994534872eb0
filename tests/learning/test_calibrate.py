"""Fitting a calibration to a corpus, and `tagger calibrate` on a tiny model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from support.console import Run
from support.messages import check_line, refused
from tagger.errors import CalibrationError
from tagger.evaluation.label import Label, text_digest
from tagger.evaluation.measures import measure
from tagger.evaluation.scores import Scores
from tagger.learning import calibrate
from tagger.methods.base import Identity
from tagger.methods.rank.calibration import Calibration, Origin
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.methods.rank.identity import scoring_identity
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.prompts.prompt import PromptTemplate
from tagger.readme.sources import Sources
from tagger.vocabulary import Vocabulary

pytestmark = pytest.mark.slow

VOCABULARY = Vocabulary.from_names([f"tag {number}" for number in range(20)])
START = Calibration(0.8, 1.0, 0.5, 1.0, 0.0, -1.0, 0.5)
COUNT = 300


def scores(slope: float, intercept: float) -> Scores:
    """READMEs whose tags are accepted with another probability than `START` states."""
    draw = torch.Generator().manual_seed(1)

    def log_probs(*shape: int) -> TagLogProbs:
        values = -4 + 2 * torch.randn(shape, generator=draw)
        return TagLogProbs(values, values)

    evidence = Evidence(
        log_probs(COUNT, 2, 20),
        log_probs(2, 20),
        (torch.rand(COUNT, 20, 2, generator=draw) > 0.95).float(),
    )
    probabilities = (slope * START.logits(evidence) + intercept).sigmoid()
    right = torch.rand(COUNT, 20, generator=draw) < probabilities
    labels = tuple(
        Label(
            id=str(row),
            readme=f"text {row}",
            tags=tuple(tag.name for tag, yes in zip(VOCABULARY, right[row], strict=True) if yes),
        )
        for row in range(COUNT)
    )
    return Scores("tiny", Identity(), labels, evidence, ("",) * COUNT)


def test_confidences_are_fitted_to_the_labels() -> None:
    labelled = scores(slope=0.5, intercept=-0.7)
    candidate = calibrate.fit(labelled, VOCABULARY, START)
    assert candidate.margin == pytest.approx(0.5, abs=0.07)
    assert candidate.mentions / candidate.margin == pytest.approx(0.5)
    assert candidate.intercept == pytest.approx(0.5 * -1.0 - 0.7, abs=0.1)
    before = measure(calibrate.judged(labelled, VOCABULARY, START))
    unseen = measure(calibrate.cross_validated(labelled, VOCABULARY, START))
    assert unseen["ece"] < before["ece"] / 2
    assert unseen["f1_given"] >= before["f1_given"] - 0.01


def test_labels_that_contradict_the_model_are_refused() -> None:
    with refused(CalibrationError):
        calibrate.fit(scores(slope=-1.0, intercept=0.0), VOCABULARY, START)


def test_the_threshold_is_one_that_gives_good_replies() -> None:
    labelled = scores(slope=1.0, intercept=0.0)
    fitted = calibrate.fit(labelled, VOCABULARY, replace(START, threshold=0.99))
    strict = measure(calibrate.judged(labelled, VOCABULARY, replace(fitted, threshold=0.99)))
    measures = measure(calibrate.judged(labelled, VOCABULARY, fitted))
    assert measures["f1_given"] > strict["f1_given"]


def test_the_background_is_half_of_what_is_subtracted() -> None:
    evidence = scores(1.0, 0.0).evidence
    prior, background = evidence.prior, evidence.log_probs.mean()
    assert torch.allclose(background.full, evidence.log_probs.full.mean(0))
    expected = TagLogProbs((background.full + prior.full) / 2, (background.first + prior.first) / 2)
    calibration = replace(START, background=background)
    by_hand = START.margins(replace(evidence, prior=expected))
    assert torch.equal(calibration.margins(evidence), by_hand)
    assert calibration.digest != START.digest


def test_what_all_readmes_have_in_common_tells_nothing() -> None:
    prior = TagLogProbs(torch.full((1, 3), -5.0), torch.full((1, 3), -5.0))
    # Every README of this corpus is about the first tag, and one is about the second, too.
    mean = torch.tensor([[-1.0, -5.0, -5.0]])
    this = torch.tensor([[[-1.0, -2.0, -5.0]]])
    evidence = Evidence(TagLogProbs(this, this), prior, torch.zeros(1, 3, 2))
    without = replace(START, prior_weight=1.0)
    with_background = replace(without, background=TagLogProbs(mean, mean))
    assert without.margins(evidence).argmax() == 0
    assert with_background.margins(evidence).argmax() == 1


def labelled_alike(count: int) -> tuple[Label, ...]:
    return tuple(Label(id=f"{n}", readme=f"words {n}", tags=("tag 1",)) for n in range(count))


@pytest.mark.parametrize(("count", "text"), [(0, "are 0"), (1, "is one"), (9, "are 9")])
def test_a_background_takes_ten_readmes(count: int, text: str) -> None:
    with refused(CalibrationError):
        calibrate.check_readmes(count)
    calibrate.check_readmes(10)


def test_labels_of_the_same_readme_count_once() -> None:
    same = [Label(id=str(number), readme="the same", tags=("tag 1",)) for number in range(40)]
    untagged = [Label(id=f"x{number}", readme=f"{number}", tags=()) for number in range(40)]
    with refused(CalibrationError):
        calibrate.check_labels([*same, *untagged])
    different = [*labelled_alike(30), Label(id="x", readme="x", tags=("tag 2",))]
    corpus = calibrate.Corpus(tuple(different), (*different, *different))
    assert corpus.labels == tuple(different)


def test_labels_that_are_all_alike_are_refused() -> None:
    alike = labelled_alike(40)
    with refused(CalibrationError):
        calibrate.check_labels(alike)
    calibrate.check_labels([*alike, Label(id="x", readme="x", tags=("tag 2",))])


TAGS = ("3d", "game-engine ", "cli")


@pytest.fixture
def corpus(workplace: Path) -> Path:
    """Twelve READMEs in folders, two of them the same, and one that cannot be read."""
    folder = workplace / "corpus"
    for number in range(12):
        (folder / str(number)).mkdir(parents=True)
        text = f"# Project {min(number, 10)}\n\nIt does {number % 5 if number < 10 else 7} things."
        (folder / str(number) / "README.md").write_text(text)
    (folder / "bad").mkdir()
    (folder / "bad" / "README.md").write_bytes(b"\x00\x01\x02" * 100)
    return folder


@pytest.fixture
def rank(tiny_model: LanguageModel) -> Rank:
    return Rank(tiny_model, Vocabulary.from_names(TAGS))


def test_a_corpus_without_labels_gives_a_background(rank: Rank, corpus: Path) -> None:
    heard: list[tuple[str, int, int]] = []

    def hear(*what: Any) -> None:
        heard.append(what)

    drawn = calibrate.Corpus.draw(Sources((str(corpus),)))
    assert len(drawn.readmes) == 11, "two of twelve are the same, and one more cannot be read"
    fitted = calibrate.calibrate(rank, drawn, hear)
    assert heard == [("scoring", done, 11) for done in range(1, 12)]
    calibration = fitted.calibration
    assert (fitted.before, fitted.after) == ({}, {})
    assert calibration.numbers == Calibration.shipped("").numbers
    assert calibration.origin == Origin("tiny", rank.scoring_identity, readmes=11, labels=0)
    evidence = rank.evidence([rank.encode(readme.to_readme()) for readme in drawn.readmes])
    assert calibration.background is not None
    expected = evidence.log_probs.mean()
    assert torch.allclose(calibration.background.full, expected.full, atol=1e-4)
    assert torch.allclose(calibration.background.first, expected.first, atol=1e-4)


def test_the_calibration_of_a_method_does_not_sway_another(rank: Rank, corpus: Path) -> None:
    drawn = calibrate.Corpus.draw(Sources((str(corpus),)))
    first = calibrate.calibrate(rank, drawn).calibration
    swayed = Rank(rank.model, rank.vocabulary, calibration=first)
    assert calibrate.calibrate(swayed, drawn).calibration.digest == first.digest


def test_labels_alone_are_the_corpus(rank: Rank) -> None:
    labels = [
        Label(id=str(number), readme=f"Thing {number % 32} for {name}.", tags=(name,))
        for number, name in enumerate(TAGS * 12)
    ]
    drawn = calibrate.Corpus.draw(None, [*labels, *labels])
    assert len(drawn.readmes) == 36, "the same text counts once"
    assert len(drawn.labels) == 36
    fitted = calibrate.calibrate(rank, drawn)
    assert fitted.before.keys() == fitted.after.keys()
    assert fitted.calibration.numbers != Calibration.shipped("").numbers
    assert fitted.calibration.origin == Origin("tiny", rank.scoring_identity, 36, labels=36)


def test_a_readme_of_a_corpus_keeps_its_markup(corpus: Path) -> None:
    path = corpus / "0" / "README.md"
    path.rename(path.with_suffix(".rst"))
    path.with_suffix(".rst").write_text("Voxel\n=====\n\n.. image:: a.png\n\nA *game* engine.\n")
    drawn = calibrate.Corpus.draw(Sources((str(corpus),)))
    texts = {label.to_readme().plain_text for label in drawn.readmes}
    assert "# Voxel\n\nA game engine." in texts


def test_the_same_readmes_are_drawn_whatever_their_order(corpus: Path) -> None:
    paths = sorted(str(path) for path in corpus.glob("[0-9]*/README.md"))
    one, other = (
        calibrate.Corpus.draw(Sources(tuple(order)), sample=10)
        for order in (paths, reversed(paths))
    )
    assert [label.readme for label in one.readmes] == [label.readme for label in other.readmes]
    assert len(one.readmes) == 10


def test_a_corpus_is_checked_when_it_is_put_together() -> None:
    few = tuple(Label(id=str(number), readme=f"{number}", tags=()) for number in range(9))
    with refused(CalibrationError):
        calibrate.Corpus(few)
    with refused(CalibrationError):
        calibrate.Corpus((*few, *labelled_alike(1)), labelled_alike(29))
    with refused(CalibrationError):
        calibrate.Corpus(labelled_alike(30), labelled_alike(30))


# From here on the command.


@pytest.fixture
def labels(workplace: Path) -> Path:
    rows = [
        {"id": str(n), "readme": f"Thing {n} for {TAGS[n % 3]}, twice.", "tags": [TAGS[n % 3]]}
        for n in range(36)
    ]
    path = workplace / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_unlabelled_readmes_give_a_background(run: Run, corpus: Path, workplace: Path) -> None:
    outcome = run("calibrate", "corpus", "--tags", "tags.json", "-o", "c.json")
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    assert "READMEs that cannot be read are left out: 1, the first: " in outcome.err
    assert "is a binary file" in outcome.err
    assert "c.json: from 11 READMEs, for --calibration" in outcome.err
    file = json.loads((workplace / "c.json").read_text())
    assert (file["readmes"], file["labels"]) == (11, 0)
    assert file["numbers"] == Calibration.shipped("").numbers
    assert len(file["full"]) == 2
    assert {len(row) for row in file["full"]} == {3}


def test_the_same_readmes_give_the_same_bytes_in_any_order(
    run: Run, corpus: Path, workplace: Path
) -> None:
    one, *others = sorted(str(path) for path in corpus.glob("*/README.md"))
    for name, order in (("a.json", [one, *others]), ("b.json", [*reversed(others), one])):
        assert run("calibrate", *order, "--tags", "tags.json", "-o", name).code == 0
    assert (workplace / "a.json").read_bytes() == (workplace / "b.json").read_bytes()


def test_a_sample_is_drawn_of_many(run: Run, corpus: Path, workplace: Path) -> None:
    args = ("calibrate", "corpus", "--tags", "tags.json", "-o", "c.json")
    assert run(*args, "--sample", "10").code == 0
    assert json.loads((workplace / "c.json").read_text())["readmes"] == 10


def test_labels_give_confidences_too(run: Run, labels: Path, workplace: Path) -> None:
    args = ("calibrate", "--labels", "labels.jsonl", "--tags", "tags.json", "-o", "c.json")
    outcome = run(*args)
    assert outcome.code == 0, outcome.err
    assert "on labels that the fit has not seen: hit@3" in outcome.err
    assert "from 36 READMEs and 36 labels" in outcome.err
    file = json.loads((workplace / "c.json").read_text())
    assert file["numbers"] != Calibration.shipped("").numbers
    again = run(*args)  # its own file may be overwritten
    assert again.code == 0
    assert json.loads((workplace / "c.json").read_text()) == file


def test_the_corpus_has_the_readmes_of_labels_that_hold_digests(
    run: Run, labels: Path, workplace: Path
) -> None:
    args = ("calibrate", "labels.jsonl", "--labels", "digests.jsonl", "--tags", "tags.json")
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    digests = [
        {"id": row["id"], "tags": row["tags"], "readme_digest": text_digest(row["readme"])}
        for row in rows
    ]
    (workplace / "digests.jsonl").write_text("\n".join(map(json.dumps, digests)))
    outcome = run(*args, "-o", "c.json")
    assert outcome.code == 0, outcome.err
    assert "from 36 READMEs and 36 labels" in outcome.err
    alone = run("calibrate", *args[2:], model="there is no such model")
    assert alone.code == 2
    check_line(alone.err)


def test_every_command_uses_it(
    run: Run, labels: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run("calibrate", "--labels", "labels.jsonl", "--tags", "tags.json", "-o", "c.json")
    assert made.code == 0, made.err
    plain = json.loads(run("run", "README.md", "--scores", "--quiet").out)
    monkeypatch.setenv("TAGGER_CALIBRATION", "c.json")
    outcome = run("run", "README.md", "--scores", "--threshold", "0")
    assert "no calibration ships" not in outcome.err
    fitted = {tag["name"]: tag["confidence"] for tag in json.loads(outcome.out)["tags"]}
    assert fitted != {tag["name"]: tag["confidence"] for tag in plain["tags"]}
    explained = json.loads(run("explain", "README.md", "--json").out)
    assert explained["calibration"] == "calibrated on 36 READMEs and 36 labels"
    assert {tag["name"]: round(tag["confidence"], 4) for tag in explained["tags"]} == fitted
    batch = run("batch", "README.md", "--scores", "--threshold", "0", "--quiet")
    assert {t["name"]: t["confidence"] for t in json.loads(batch.out)["tags"]} == fitted
    evaluated = json.loads(run("eval", "labels.jsonl", "--json", "--dump", "s.parquet").out)
    monkeypatch.delenv("TAGGER_MODEL")
    again = run("eval", "labels.jsonl", "--json", "--from", "s.parquet", model=None)
    assert json.loads(again.out) == evaluated
    monkeypatch.delenv("TAGGER_CALIBRATION")
    without = run("eval", "labels.jsonl", "--json", "--from", "s.parquet", model=None)
    assert json.loads(without.out) != evaluated


def test_a_batch_is_ranked_again_with_another_calibration(
    run: Run, corpus: Path, labels: Path
) -> None:
    assert run("calibrate", "corpus", "--tags", "tags.json", "-o", "c.json").code == 0
    args = ("batch", "corpus", "--tags", "tags.json", "-o", "out.jsonl")
    run(*args)
    again = run(*args, "--calibration", "c.json")
    assert "ranking again: calibration changed" in again.err
    assert "0 tagged in" in again.err, "and nothing is read again"


def edited(text: str) -> str:
    return text.replace('"prior_weight": 0.', '"prior_weight": 0.0')


def without_a_row(text: str) -> str:
    file = json.loads(text)
    return json.dumps(file | {"full": file["full"][:1]})


@pytest.mark.parametrize(
    "damage",
    [
        edited,
        without_a_row,
        lambda text: text[: len(text) // 2],
        lambda _: "{}",
        lambda _: "",
        lambda text: text.replace('"format": 3', '"format": 2'),
        lambda text: text.replace('"labels": 0', '"labels": NaN'),
    ],
)
def test_a_damaged_file_is_refused(
    run: Run, corpus: Path, workplace: Path, damage: Callable[[str], str]
) -> None:
    assert run("calibrate", "corpus", "--tags", "tags.json", "-o", "c.json").code == 0
    text = (workplace / "c.json").read_text()
    assert damage(text) != text
    (workplace / "c.json").write_text(damage(text))
    outcome = run("run", "README.md", "--tags", "tags.json", "--calibration", "c.json")
    assert outcome.code == 2
    check_line(outcome.err)
    assert "tagger calibrate" in outcome.err


def other_tags(folder: Path) -> tuple[str, ...]:
    (folder / "other.json").write_text('["3d", "cli", "game-engine "]')
    return ("--tags", "other.json")


def other_prompt(folder: Path) -> tuple[str, ...]:
    (folder / "p.toml").write_text('system = "S"\nuser = "{tags} {readme}"\n')
    return ("--tags", "tags.json", "--prompt", "p.toml")


def other_model(folder: Path) -> tuple[str, ...]:
    from support import tiny

    return ("--tags", "tags.json", "--model", str(tiny.save(folder / "other", seed=1)))


@pytest.mark.parametrize(
    "other",
    [
        other_tags,
        other_prompt,
        other_model,
    ],
)
def test_a_calibration_of_something_else_is_refused(
    run: Run,
    corpus: Path,
    workplace: Path,
    other: Callable[[Path], tuple[str, ...]],
) -> None:
    assert run("calibrate", "corpus", "--tags", "tags.json", "-o", "c.json").code == 0
    outcome = run("run", "README.md", *other(workplace), "--calibration", "c.json")
    assert outcome.code == 2
    check_line(outcome.err)


def test_another_model_of_the_catalogue_is_refused_before_it_is_fetched(
    run: Run, workplace: Path
) -> None:
    vocabulary = Vocabulary.load(workplace / "tags.json")
    origin = Origin(
        "qwen2.5-coder-0.5b", scoring_identity(vocabulary, PromptTemplate.load()), 10, 0
    )
    nothing = torch.zeros(2, 3)
    calibration = Calibration.shipped("qwen2.5-coder-0.5b")
    replace(calibration, background=TagLogProbs(nothing, nothing), origin=origin).save(
        workplace / "c.json"
    )
    args = ("run", "README.md", "--tags", "tags.json", "--calibration", "c.json", "--offline")
    outcome = run(*args, "--model", "qwen2.5-coder-1.5b")
    assert outcome.code == CalibrationError.exit_code
    assert "belongs to qwen2.5-coder-0.5b, and the model is qwen2.5-coder-1.5b" in outcome.err
    outcome = run(*args, "--model", "qwen2.5-coder-0.5b")
    check_line(outcome.err)


def test_saved_scores_say_which_model_a_calibration_must_belong_to(
    run: Run, workplace: Path
) -> None:
    vocabulary = Vocabulary.load(workplace / "tags.json")
    label = Label(id="a", readme="words", tags=("cli",))
    log_probs = TagLogProbs(torch.rand(1, 2, 3) - 5, torch.rand(1, 2, 3) - 4)
    evidence = Evidence(log_probs, log_probs.select(0), torch.zeros(1, 3, 2))

    def identity(model: str) -> Identity:
        return scoring_identity(vocabulary, PromptTemplate.load(), f"the weights of {model}")

    saved = Scores(
        "qwen2.5-coder-0.5b", identity("qwen2.5-coder-0.5b"), (label,), evidence, ("words",)
    )
    saved.save(workplace / "s.parquet", vocabulary)
    (workplace / "l.jsonl").write_text(label.model_dump_json())
    for model in ("qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"):
        origin = Origin(model, identity(model), readmes=10, labels=0)
        calibration = replace(Calibration.shipped(model), background=evidence.prior, origin=origin)
        calibration.save(workplace / f"{model}.json")
    args = ("eval", "l.jsonl", "--tags", "tags.json", "--from", "s.parquet", "--calibration")
    assert run(*args, "qwen2.5-coder-0.5b.json", model=None).code == 0
    outcome = run(*args, "qwen2.5-coder-1.5b.json", model=None)
    assert outcome.code == 2
    assert "belongs to qwen2.5-coder-1.5b" in outcome.err
    features = replace(saved.identity.features, prompt="another")
    other = replace(saved, identity=replace(saved.identity, features=features))
    other.save(workplace / "s.parquet", vocabulary)
    outcome = run(*args, "qwen2.5-coder-0.5b.json", model=None)
    assert outcome.code == 2
    assert "belongs to another prompt" in outcome.err


def with_labels(workplace: Path, rows: list[dict[str, Any]]) -> None:
    (workplace / "few.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ((), "nothing to calibrate on"),
        (("README.md",), "needs 10 different READMEs, but there is one"),
        (("--labels", "few.jsonl"), "needs 10 different READMEs, but there are 3"),
        (("corpus", "--labels", "few.jsonl"), "needs 30 different READMEs with at least one tag"),
        (
            ("corpus", "-o", "README.md"),
            "README.md: is not a calibration, so it is not overwritten",
        ),
        (("nowhere",), "nowhere: No such file"),
        (("corpus", "--glob", "*.rst"), "no READMEs in corpus: looked for *.rst"),
        (("corpus", "-o", "/dev/full"), "/dev/full is not a regular file"),
        (("corpus", "-o", "-"), "- is not a regular file"),
        (("corpus", "--sample", "5"), "--sample"),
    ],
)
def test_bad_input_is_one_line_before_the_model_is_loaded(
    run: Run, corpus: Path, workplace: Path, args: tuple[str, ...], reason: str
) -> None:
    with_labels(workplace, [{"id": str(n), "readme": f"{n}", "tags": ["cli"]} for n in range(3)])
    outcome = run("calibrate", *args, "--tags", "tags.json", model="there is no such model")
    assert outcome.code == 2
    assert reason in outcome.err.splitlines()[-1]


def test_a_written_reply_has_no_use_for_it(run: Run) -> None:
    outcome = run("run", "README.md", "--method", "generate", "--calibration", "c.json")
    assert outcome.code == 2
    check_line(outcome.err)
