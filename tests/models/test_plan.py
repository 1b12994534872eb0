"""What a model takes, planned on the meta device and compared with what is known."""

from pathlib import Path

import pytest
import torch

from support import tiny
from support.console import Run
from support.messages import refused
from tagger.errors import ModelMissingError, OutOfMemoryError, UnknownModelError
from tagger.models import plan as planning
from tagger.models.load import load
from tagger.models.plan import (
    check_room,
    config_of,
    family,
    per_row,
    plan,
    what_fits,
)
from tagger.models.shape import native

CPU = torch.device("cpu")

PUBLISHED = {
    "Qwen/Qwen-1_8B-Chat": 1.84,
    "Qwen/Qwen-7B-Chat": 7.72,
    "Qwen/Qwen-14B-Chat": 14.17,
    "Qwen/Qwen-72B-Chat": 72.29,
    "Qwen/Qwen1.5-0.5B-Chat": 0.46,
    "Qwen/Qwen1.5-32B-Chat": 32.5,
    "Qwen/Qwen1.5-MoE-A2.7B-Chat": 14.3,
    "Qwen/Qwen2-57B-A14B-Instruct": 57.4,
    "Qwen/Qwen2.5-0.5B-Instruct": 0.49,
    "Qwen/Qwen2.5-3B-Instruct": 3.09,
    "Qwen/Qwen2.5-7B-Instruct": 7.62,
    "Qwen/Qwen2.5-14B-Instruct": 14.77,
    "Qwen/Qwen2.5-32B-Instruct": 32.76,
    "Qwen/Qwen2.5-72B-Instruct": 72.71,
    "Qwen/Qwen3-0.6B": 0.6,
    "Qwen/Qwen3-4B": 4.02,
    "Qwen/Qwen3-8B": 8.19,
    "Qwen/Qwen3-32B": 32.76,
    "Qwen/Qwen3-30B-A3B": 30.53,
    "Qwen/Qwen3-235B-A22B": 235.09,
    "Qwen/Qwen3-Next-80B-A3B-Instruct": 79.67,
    "Qwen/Qwen3.5-0.8B": 0.75239,
    "Qwen/Qwen3.5-2B": 1.88,
    "Qwen/Qwen3.5-4B": 4.21,
    "Qwen/Qwen3.5-9B": 8.95,
    "Qwen/Qwen3.5-27B": 26.90,
    "Qwen/Qwen3.5-35B-A3B": 34.66,
    "Qwen/Qwen3.5-122B-A10B": 122.11,
    "Qwen/Qwen3.5-397B-A17B": 396.35,
}
"""Billions of parameters, as the publisher counts them or, from Qwen3-Next on, llama.cpp: without
the parts that see and that predict several tokens."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_planned_parameters_are_the_published_ones(name: str) -> None:
    needed = plan(config_of(name), torch.bfloat16)
    assert needed.parameters / 1e9 == pytest.approx(PUBLISHED[name], rel=0.015)
    assert needed.weights == 2 * needed.parameters


def test_every_known_model_can_be_planned() -> None:
    assert len(family()) > 30
    for name, known in family().items():
        assert native(known.config).max_position_embeddings >= 2048, name


def test_the_states_of_recurrent_layers_do_not_grow_with_the_readme() -> None:
    config = config_of("Qwen/Qwen3.5-0.8B")
    plans = [plan(config, torch.bfloat16, tokens) for tokens in (256, 512, 768)]
    assert plans[2].readme - plans[1].readme == plans[1].readme - plans[0].readme
    # 18 layers of 16 heads of 128 times 128 numbers, and four inputs of 6,144 channels.
    assert per_row(config) == 4 * 18 * (16 * 128 * 128 + 4 * 6144)
    assert plans[0].prefix > 3 * per_row(config)
    assert per_row(config_of("Qwen/Qwen3-0.6B")) == 0


def test_a_plan_grows_with_the_format_and_the_readme() -> None:
    config = config_of("Qwen/Qwen2.5-7B-Instruct")
    half = plan(config, torch.bfloat16, 768)
    whole = plan(config, torch.float32, 768)
    long = plan(config, torch.bfloat16, 8000)
    assert whole.weights == 2 * half.weights
    assert long.readme > half.readme
    assert long.weights == half.weights


def test_names_are_found_in_the_catalogue_the_family_and_folders(tmp_path: Path) -> None:
    assert config_of("qwen2.5-coder-0.5b").hidden_size == 896
    assert config_of("qwen2.5-7b-instruct").hidden_size == 3584
    assert config_of(str(tiny.save(tmp_path))).hidden_size == 32
    with refused(UnknownModelError):
        config_of("Qwen2.5-7B-Instrukt")


def test_an_unknown_model_without_a_network_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(planning, "snapshot_download", fails)
    with refused(ModelMissingError):
        config_of("some/thing")


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    needed = plan(config_of("Qwen/Qwen2.5-7B-Instruct"), torch.float32)
    with refused(OutOfMemoryError) as caught:
        check_room("X", needed, torch.float32, CPU, 20_000_000_000)
    assert "In bfloat16 it would fit." in str(caught.value)
    assert "Qwen/Qwen2.5-3B-Instruct (" in what_fits(needed, torch.float32, 10_000_000_000)
    assert "Free some memory" in what_fits(needed, torch.float32, 10)
    check_room("X", needed, torch.float32, CPU, needed.total)


def test_run_refuses_before_loading_what_cannot_fit(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tagger.models.load.free", lambda device, spread=False: 1_000_000)
    outcome = run("run", "README.md")
    assert outcome.code == 3
    assert "GB are free on cpu" in outcome.err
    assert outcome.out == ""


def test_models_plan_says_what_is_needed_and_whether_it_is_there(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "free", lambda device, spread=False: 20_000_000_000)
    outcome = run("models", "plan", "Qwen/Qwen-72B-Chat", "--dtype", "bfloat16")
    assert outcome.code == 0
    assert "144.58 GB in bfloat16" in outcome.out
    assert "It does not fit. Qwen/Qwen2.5-7B-Instruct" in outcome.out
    outcome = run("models", "plan", "Qwen/Qwen-1_8B-Chat", "--readme-tokens", "2000")
    assert "for 2,000 tokens of it" in outcome.out
    assert "It fits on this machine." in outcome.out


def test_the_plan_of_a_folder_is_that_of_what_is_loaded(tmp_path: Path) -> None:
    tiny.save(tmp_path)
    network = load(str(tmp_path), device="cpu", dtype="float32").network
    needed = plan(config_of(str(tmp_path)), torch.float32)
    assert needed.parameters == sum(weight.numel() for weight in network.parameters())
