"""Labels, measures and intervals, by hand and against scikit-learn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from tagger.choice import Choice
from tagger.errors import LabelsError
from tagger.evaluate import (
    Judged,
    calibration_error,
    chosen,
    errors_by_chance,
    intervals,
    judge,
    load_labels,
    measure,
    reliability,
)
from tagger.methods.answers import Answers
from tagger.scores import Scores
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["ai", "cli", "web ", "game", "lib"])


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def row(id_: str = "a", **more: object) -> dict[str, object]:
    return {"id": id_, "readme": "words", "tags": ["ai"]} | more


def judged() -> Judged:
    """Two READMEs. The first: game, cli given, ai behind; the second: web alone, wrong."""
    labels = load_labels_of(
        row("a", tags=["game", "ai"], acceptable=["cli"]), row("b", tags=["lib"])
    )
    confidences = np.array([[0.3, 0.6, 0.1, 0.9, 0.2], [0.2, 0.1, 0.8, 0.0, 0.4]])
    given_tags = chosen(confidences, Choice(), 0.5)
    return judge(labels, VOCABULARY, confidences, given_tags)


def load_labels_of(*rows: dict[str, object]) -> list:  # type: ignore[type-arg]
    from tagger.evaluate import Label

    return [Label.model_validate(one) for one in rows]


def test_the_measures_by_hand() -> None:
    found = measure(judged())
    expected = {
        "first strict": 1 / 2,
        "first acceptable": 1 / 2,
        "hit@3": 1.0,
        "recall@3": 1.0,
        "recall@5": 1.0,
        "precision (given)": 2 / 3,
        "recall (given)": (1 / 2 + 0) / 2,
        "F1 (given)": 2 * (2 / 3) * (1 / 4) / (2 / 3 + 1 / 4),
        "tags a README": 1.5,
        "ECE": (0.1 + 0.4 + 0.8) / 3,
        "Brier": (0.1**2 + 0.4**2 + 0.8**2) / 3,
    }
    assert found == pytest.approx(expected)


def test_names_are_matched_without_case_and_outer_spaces() -> None:
    labels = load_labels_of(row(tags=["WEB"]))
    assert judge(labels, VOCABULARY, np.zeros((1, 5)), np.zeros((1, 5), bool)).gold.tolist() == [
        [False, False, True, False, False]
    ]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_brier_is_that_of_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    stated = np.array([[confidence] for confidence, _ in rows])
    right = np.array([[truth] for _, truth in rows])
    everything = np.ones_like(right)
    found = measure(Judged(stated, everything, right | True, right))["Brier"]
    assert found == pytest.approx(brier_score_loss(right.ravel(), stated.ravel()))


def test_perfect_and_broken_confidences_are_told_apart() -> None:
    draw = np.random.default_rng(0)
    stated = draw.random(20_000)
    right = draw.random(20_000) < stated
    assert calibration_error(stated, right, 10) < 0.02
    assert calibration_error(stated, ~right, 10) > 0.4
    assert calibration_error(np.array([]), np.array([], bool), 10) == 0


def test_errors_by_chance_are_those_of_perfect_confidences() -> None:
    draw = np.random.default_rng(1)
    stated = draw.random((400, 1))
    everything = np.ones((400, 1), bool)
    right = draw.random((400, 1)) < stated
    errors = errors_by_chance(Judged(stated, everything, everything, right))
    assert errors["found"] == pytest.approx(errors["by chance"], abs=0.04)
    wrong = errors_by_chance(Judged(stated, everything, everything, ~everything))
    assert wrong["found"] > wrong["by chance"] + 0.3


def test_intervals_hold_the_value_and_are_the_same_every_time() -> None:
    first, again = intervals(judged()), intervals(judged())
    assert first == again
    for name, value in measure(judged()).items():
        low, high = first[name]
        assert low <= value <= high or name in ("F1 (given)", "ECE", "Brier")


def test_reliability_counts_every_given_tag() -> None:
    assert sum(count for _, _, count in reliability(judged())) == judged().given.sum()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "holds no labels"),
        (["", "  "], "holds no labels"),
        (["{"], "row 1: Invalid JSON"),
        ([row(), {"id": "b", "tags": ["ai"]}], "row 2: readme: Field required"),
        ([row(tags="ai")], "row 1: tags"),
        ([row(id="")], "row 1: id"),
        ([row(tags=["ai", "nope"])], "row 1: not in the vocabulary: nope"),
        ([row(acceptable=["no\x1bpe"])], r"not in the vocabulary: no\\x1bpe"),
        ([row(), row()], "row 2: has the id 'a' of row 1"),
        ([row(tags=["x"]), "{", row("c", tags=["y"])], "row 1: .*row 2: .*row 3: "),
        ([row(str(n), tags=["x"]) for n in range(30)], "and 10 more"),
    ],
)
def test_bad_labels_are_named_all_at_once(tmp_path: Path, rows: list[object], says: str) -> None:
    path = write(tmp_path / "labels.jsonl", *rows)
    with pytest.raises(LabelsError, match=says):
        load_labels(path, VOCABULARY)


def test_label_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="no such label file"):
        load_labels(tmp_path / "none", VOCABULARY)
    with pytest.raises(LabelsError, match="Is a directory"):
        load_labels(tmp_path, VOCABULARY)
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(LabelsError, match="not UTF-8"):
        load_labels(tmp_path / "latin", VOCABULARY)


def scores(readmes: int = 3, branches: int = 2) -> Scores:
    draw = torch.Generator().manual_seed(0)
    size = len(VOCABULARY)

    def answers(*shape: int) -> Answers:
        return Answers(torch.rand(shape, generator=draw), torch.rand(shape, generator=draw))

    return Scores(
        "tiny",
        tuple("abcdefgh"[:readmes]),
        answers(readmes, branches, size),
        answers(branches, size),
        torch.rand(readmes, size, 2, generator=draw),
    )


def test_scores_come_back_as_they_were_in_the_order_asked_for(tmp_path: Path) -> None:
    kept = scores()
    kept.save(tmp_path / "s.parquet", VOCABULARY)
    again = Scores.load(tmp_path / "s.parquet", VOCABULARY, ["c", "a"])
    assert again.model == "tiny"
    assert again.ids == ("c", "a")
    assert again.answers.names.equal(kept.answers.names[[2, 0]])
    assert again.answers.starts.equal(kept.answers.starts[[2, 0]])
    assert again.prior.names.equal(kept.prior.names)
    assert again.prior.starts.equal(kept.prior.starts)
    assert again.mentions.equal(kept.mentions[[2, 0]])


def test_scores_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    scores().save(path, VOCABULARY)
    with pytest.raises(LabelsError, match="no scores of 1 of the labels, such as 'z'"):
        Scores.load(path, VOCABULARY, ["a", "z"])
    with pytest.raises(LabelsError, match="another vocabulary"):
        Scores.load(path, Vocabulary.from_names(["ai"]), ["a"])
    path.write_text("x")
    with pytest.raises(LabelsError, match="cannot be read"):
        Scores.load(path, VOCABULARY, ["a"])
