"""Calibrations: what they make of evidence, what they belong to, and those that ship."""

import json
import logging
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from torch import Tensor

from support import ROOT
from support.messages import refused
from tagger.errors import CalibrationError
from tagger.methods.base import FeatureIdentity, Identity
from tagger.methods.rank.calibration import Calibration, Origin
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.vocabulary import Vocabulary

SAMPLE = Vocabulary.load(ROOT / "tags.json")
PLAIN = Calibration(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.5)
SHIPPED = json.loads((files("tagger.methods.rank") / "calibrations.json").read_text())["models"]
SHIPS = Calibration.shipped("qwen2.5-coder-0.5b")
OTHER = Vocabulary.from_names([f"drink {number}" for number in range(10)])


def margins_of(log_probs: TagLogProbs, prior: TagLogProbs, limit: float | None = None) -> Tensor:
    """Return the margins of one README that mentions no tag, [tags]."""
    mentions = torch.zeros(1, prior.full.shape[-1], 2)
    evidence = Evidence(log_probs.select(None), prior, mentions, limit=limit)
    return PLAIN.margins(evidence)[0]


def margin_of(first: float, rest: float, limit: float | None = 1.0) -> float:
    """Return a tag's margin less that of a tag whose log-probability is its prior.

    The priors of both are -1 nat for the first token and -9 nats for the rest.
    """
    prior = TagLogProbs(torch.tensor([[-10.0, -10.0]]), torch.tensor([[-1.0, -1.0]]))
    log_probs = TagLogProbs(torch.tensor([[first + rest, -10.0]]), torch.tensor([[first, -1.0]]))
    margin, reference = margins_of(log_probs, prior, limit).tolist()
    return float(margin - reference)


def test_the_rest_of_a_name_counts_in_full() -> None:
    assert margin_of(-1.0, -14.0, limit=None) == pytest.approx(-5.0)
    assert margin_of(-1.0, 0.0, limit=None) == pytest.approx(9.0)


def test_within_a_limit_the_rest_says_much_against_a_tag_and_little_for_it() -> None:
    assert margin_of(-1.0, -14.0) == pytest.approx(-5.0)
    assert margin_of(-1.0, 0.0) == pytest.approx(1.0)
    # Of two names that begin alike the likelier one stays ahead.
    assert margin_of(-1.0, -8.5) > margin_of(-1.0, -8.7) > 0


def test_the_beginning_of_a_name_counts_in_full() -> None:
    assert margin_of(-0.2, -9.0) - margin_of(-1.0, -9.0) == pytest.approx(0.8, abs=1e-4)


def test_a_tag_stands_high_where_one_branch_is_sure_of_it() -> None:
    prior = torch.full((2, 3), -5.0)
    sure_and_not = torch.tensor([[-1.0, -3.0, -5.0], [-5.0, -3.0, -5.0]])
    log_probs = TagLogProbs(sure_and_not, sure_and_not)
    margins = margins_of(log_probs, TagLogProbs(prior, prior))
    assert margins[0] > margins[1] > margins[2]


@pytest.mark.parametrize("model", SHIPPED)
def test_the_weights_that_ship_can_be_searched_by(model: str) -> None:
    calibration = Calibration(**SHIPPED[model])
    assert calibration.margin > 0
    assert 0 <= calibration.prior_weight <= 1
    assert 0 < calibration.threshold < 1


def test_a_model_and_tags_that_were_fitted_need_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        SHIPS.warn("qwen2.5-coder-0.5b", SAMPLE)
        turned = Vocabulary(tuple(reversed(SAMPLE.tags)))
        SHIPS.warn("qwen2.5-coder-0.5b", turned)
    assert not caplog.records


def test_another_model_gets_the_default_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    calibration = Calibration.shipped("mine")
    assert calibration == Calibration(**SHIPPED["default"])
    calibration.warn("mine", SAMPLE)
    assert "no calibration ships for mine" in caplog.text


def test_a_handful_of_tags_gets_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    SHIPS.warn("qwen2.5-coder-0.5b", Vocabulary.from_names(["tea", "coffee"]))
    assert "fewer than 10 tags" in caplog.text


def test_other_tags_get_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert Calibration(**SHIPPED["qwen2.5-coder-0.5b"]) == SHIPS
    SHIPS.warn("qwen2.5-coder-0.5b", OTHER)
    assert "fitted on another list of tags" in caplog.text


PARTS = TagLogProbs(torch.full((2, 10), -3.0), torch.full((2, 10), -2.5))
IDENTITY = Identity(FeatureIdentity(weights="w", prompt="p"), method="rank", vocabulary="v")
FITTED = replace(
    PLAIN, background=PARTS, origin=Origin("qwen2.5-coder-0.5b", IDENTITY, readmes=10, labels=0)
)


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    FITTED.save(tmp_path / "c.json")
    found = Calibration.load(tmp_path / "c.json")
    assert found.digest == FITTED.digest
    assert found.origin == FITTED.origin


def test_a_calibration_of_no_corpus_is_no_file(tmp_path: Path) -> None:
    for calibration in (PLAIN, replace(FITTED, background=None), replace(FITTED, origin=None)):
        with pytest.raises(ValueError, match="belongs to no corpus"):
            calibration.save(tmp_path / "c.json")
    assert not (tmp_path / "c.json").exists()


def test_a_file_that_nobody_can_read_is_named(tmp_path: Path) -> None:
    with refused(CalibrationError):
        Calibration.load(tmp_path / "c.json")
    with refused(CalibrationError):
        Calibration.load(tmp_path)


@pytest.mark.parametrize(
    "identity",
    ["", "{}", "[]", '{"features": 1}', '{"features": {}, "more": ""}', "[" * 100_000],
)
def test_a_file_that_does_not_say_what_it_belongs_to_is_refused(
    tmp_path: Path, identity: str
) -> None:
    FITTED.save(tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text())
    (tmp_path / "c.json").write_text(json.dumps(content | {"identity": identity}))
    with refused(CalibrationError):
        Calibration.load(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("known", "name"),
    [
        (IDENTITY, "qwen2.5-coder-0.5b"),
        (IDENTITY, "another name of the same weights"),
        (Identity(vocabulary="v"), "a/folder"),
        (Identity(), "qwen2.5-coder-0.5b"),
    ],
)
def test_what_is_the_same_or_not_known_is_no_objection(known: Identity, name: str) -> None:
    FITTED.check(known, name)


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (replace(IDENTITY, vocabulary="x"), "qwen2.5-coder-0.5b"),
        (replace(IDENTITY, method="x"), "qwen2.5-coder-0.5b"),
        (
            replace(IDENTITY, features=FeatureIdentity("w", "x"), vocabulary="x"),
            "qwen2.5-coder-0.5b",
        ),
        (replace(IDENTITY, features=FeatureIdentity("x", "p")), "qwen2.5-coder-0.5b"),
        (Identity(), "qwen2.5-coder-1.5b"),
    ],
)
def test_what_is_known_to_be_another_is_named(other: Identity, name: str) -> None:
    with refused(CalibrationError):
        FITTED.check(other, name)


def test_one_that_ships_belongs_to_whatever_it_is_used_for() -> None:
    SHIPS.check(IDENTITY, "mine")


def test_confidences_of_ones_own_labels_need_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    own = replace(FITTED, origin=Origin("mine", IDENTITY, readmes=10, labels=30))
    own.warn("mine", OTHER)
    assert not caplog.records
    FITTED.warn("mine", OTHER)
    assert "no calibration ships for mine" in caplog.text, "a background is no such thing"


def test_what_a_calibration_is_from_is_said_in_words() -> None:
    origin = Origin("mine", IDENTITY, readmes=12, labels=30)
    assert str(origin) == "calibrated on 12 READMEs and 30 labels"
    assert str(replace(origin, labels=0)) == "calibrated on 12 READMEs"
