"""The calibrations that ship, and the warnings where they do not apply."""

import json
import logging
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import TagLogProbs
from tagger.vocabulary import Vocabulary

SAMPLE = Vocabulary.load(Path(__file__).parents[1] / "tags.json")
PLAIN = Calibration(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.5)
SHIPPED = json.loads((files("tagger.methods.rank") / "calibrations.json").read_text())["models"]


def margin_of(first: float, rest: float, limit: float | None = 1.0) -> float:
    """Return a tag's margin less that of a tag whose log-probability is its prior.

    The priors of both are -1 nat for the first token and -9 nats for the rest.
    """
    prior = TagLogProbs(torch.tensor([[-10.0, -10.0]]), torch.tensor([[-1.0, -1.0]]))
    log_probs = TagLogProbs(torch.tensor([[first + rest, -10.0]]), torch.tensor([[first, -1.0]]))
    margin, reference = PLAIN.margins(log_probs, prior, limit).tolist()
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
    margins = PLAIN.margins(log_probs, TagLogProbs(prior, prior))
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
        Calibration.of("qwen2.5-coder-0.5b", SAMPLE)
        turned = Vocabulary(tuple(reversed(SAMPLE.tags)))
        Calibration.of("qwen2.5-coder-0.5b", turned)
    assert not caplog.records


def test_another_model_gets_the_default_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert Calibration.of("mine", SAMPLE) == Calibration(**SHIPPED["default"])
    assert "no calibration ships for mine" in caplog.text


def test_a_handful_of_tags_gets_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    Calibration.of("qwen2.5-coder-0.5b", Vocabulary.from_names(["tea", "coffee"]))
    assert "fewer than 10 tags" in caplog.text


def test_other_tags_get_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    other = Vocabulary.from_names([f"drink {number}" for number in range(10)])
    assert Calibration.of("qwen2.5-coder-0.5b", other) == Calibration(
        **SHIPPED["qwen2.5-coder-0.5b"]
    )
    assert "fitted on another list of tags" in caplog.text
