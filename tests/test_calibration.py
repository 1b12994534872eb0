"""The calibrations that ship, and what is said where they do not belong."""

import json
import logging
from importlib.resources import files
from pathlib import Path

import pytest

from tagger.methods.calibration import Calibration
from tagger.vocabulary import Vocabulary

SAMPLE = Vocabulary.load(Path(__file__).parents[1] / "tags.json")
SHIPPED = json.loads((files("tagger.methods") / "calibrations.json").read_text())["models"]


@pytest.mark.parametrize("model", SHIPPED)
def test_the_weights_that_ship_can_be_searched_by(model: str) -> None:
    calibration = Calibration(**SHIPPED[model])
    assert calibration.answers > 0
    assert 0 <= calibration.strength <= 1
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


def test_other_tags_get_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    other = Vocabulary.from_names(["tea", "coffee"])
    assert Calibration.of("qwen2.5-coder-0.5b", other) == Calibration(
        **SHIPPED["qwen2.5-coder-0.5b"]
    )
    assert "fitted on another list of tags" in caplog.text
