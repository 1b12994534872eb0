"""The heads that ship: they fit the program as it is, and are used where they do."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from support import ROOT, tiny
from support.heads import head_of
from tagger.methods.base import FeatureIdentity, Identity
from tagger.methods.rank import shipped
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.identity import CLEANING, scoring_identity
from tagger.methods.rank.probe import Probe
from tagger.methods.rank.rank import Rank
from tagger.methods.rank.shipped import head_path, shipped_head
from tagger.models.fetch.catalogue import catalogue
from tagger.prompts.prompt import PromptTemplate
from tagger.readme.readme import Readme
from tagger.types import DEFAULT_MODEL, EFFORTS, README_TOKENS
from tagger.vocabulary import Vocabulary

MODELS = {"qwen2.5-coder-0.5b": (21, 896), "qwen2.5-coder-1.5b": (24, 1536)}
"""The layer of the features of each model, and its width."""

SAMPLE = Vocabulary.load(ROOT / "tags.json")
NAMES = ("cli", "game", "web", "maps")


def identity_now(model: str, readme_tokens: int = README_TOKENS) -> Identity:
    """What rankings by default depend on today."""
    template = PromptTemplate.load()
    return Identity(
        FeatureIdentity(
            weights="whatever",
            prompt=template.digest,
            cleaning=CLEANING,
            readme_tokens=readme_tokens,
            layers=f"the last root after layer {MODELS[model][0]}",
        ),
        method=scoring_identity(SAMPLE, template).method,
        calibration=Calibration.shipped(model).digest,
    )


BUDGETS = {(effort.model, effort.readme_tokens) for effort in EFFORTS.values()} | {
    (model, README_TOKENS) for model in MODELS
}


@pytest.mark.parametrize(("model", "readme_tokens"), sorted(BUDGETS))
def test_a_head_ships_that_fits_the_defaults_of_each_effort(model: str, readme_tokens: int) -> None:
    """If this fails after a change of prompt, cleaning or scoring: `scripts/fit_heads.py`."""
    head = shipped_head(model, identity_now(model, readme_tokens), SAMPLE)
    assert head is not None
    assert (head.known(SAMPLE) >= 0).all(), "it knows the whole sample list"
    assert head.weight > 0
    assert len(head.mean) == MODELS[model][1]
    assert len(head.fitted) == head.readmes == len(set(head.fitted))
    assert head_path(model, readme_tokens).stat().st_size < 1_000_000


def test_the_default_model_has_one() -> None:
    assert DEFAULT_MODEL in MODELS


def test_with_other_readme_tokens_there_is_none_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    assert shipped_head(DEFAULT_MODEL, identity_now(DEFAULT_MODEL, 768), SAMPLE) is None
    assert caplog.messages == [
        "the head was learned with 128 README tokens, and 768 are read here, so the built-in head "
        "is not used"
    ]


def test_a_list_without_any_tag_that_it_knows_has_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    strange = Vocabulary.from_names(["heron", "sparrow"])
    assert shipped_head(DEFAULT_MODEL, identity_now(DEFAULT_MODEL), strange) is None
    assert shipped_head("somebody/else", identity_now(DEFAULT_MODEL), SAMPLE) is None
    assert not caplog.messages


@pytest.fixture
def shipping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rank:
    """A ranker whose model has a head that ships, which knows some of the tags."""
    model = tiny.model()
    model.name = next(iter(catalogue()))
    plain = Rank(model, Vocabulary.from_names(NAMES), head=None)
    head = head_of(plain, NAMES[:3])
    head.save(tmp_path / "head.safetensors")
    monkeypatch.setattr(shipped, "head_path", lambda *_: tmp_path / "head.safetensors")
    monkeypatch.setattr(Probe, "shipped", lambda _: None)  # which is wider than this model
    return Rank(model, Vocabulary.from_names(NAMES))


def test_it_is_used_by_default_for_the_tags_that_it_knows(shipping: Rank) -> None:
    assert shipping.confidence.head is not None
    assert shipping.confidence.known == 3
    plain = Rank(shipping.model, shipping.vocabulary, head=None)
    assert plain.confidence.head is None
    assert plain.identity != shipping.identity
    readme = Readme("1", "A game for the web.")
    (learned,), (without,) = (each.score([each.encode(readme)]) for each in (shipping, plain))
    logits = {scored.tag.name: scored.logit for scored in without}
    differs = {scored.tag.name for scored in learned if scored.logit != logits[scored.tag.name]}
    assert differs == set(NAMES[:3])


def test_the_threshold_is_the_heads_as_far_as_it_knows_the_tags(shipping: Rank) -> None:
    confidence = shipping.confidence
    assert confidence.head
    before, learned = confidence.calibration.threshold, confidence.head.calibration.threshold
    assert before != learned
    assert shipping.threshold == pytest.approx(0.25 * before + 0.75 * learned)


def test_with_a_calibration_of_the_users_own_it_is_not_used(
    shipping: Rank, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    own = replace(shipping.calibration, margin=2.0)
    assert Rank(shipping.model, shipping.vocabulary, calibration=own).confidence.head is None
    assert any("another calibration, so the built-in head" in line for line in caplog.messages)


def test_a_head_that_counts_for_nothing_leaves_the_one_that_ships(
    shipping: Rank, caplog: pytest.LogCaptureFixture
) -> None:
    worthless = head_of(Rank(shipping.model, shipping.vocabulary, head=None), weight=0.0)
    rank = Rank(shipping.model, shipping.vocabulary, head=worthless)
    assert rank.identity == shipping.identity
    assert "the head has no effect, so tags are ranked as without --head" in caplog.messages
