"""Weights of linear layers in int8."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from support import quantised, tiny
from support.console import Run, one_line
from support.messages import refused
from tagger import Rank, Readme, Vocabulary
from tagger.errors import LoadError, MissingPackageError
from tagger.models import checkpoint, weights
from tagger.models.load import load
from tagger.models.plan import config_of, plan
from tagger.models.processor import Processor
from tagger.models.shape import native

pytestmark = pytest.mark.quantize

CPU = torch.device("cpu")
DENSE = ("qwen2", "qwen3", "qwen3_5_text")


def network(folder: Path, *, quantized: bool) -> Any:
    """A model's network, without the tokenizer that takes ten times as long to read."""
    stated = checkpoint.check(folder)
    placed = weights.placement(CPU, spread=False)
    config = native(stated)
    return weights.read(folder, stated, config, placed, torch.float32, quantized=quantized)


def quantized_layers(network: Any) -> dict[str, Any]:
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) and hasattr(layer.weight, "qdata")
    }


@pytest.mark.parametrize("kind", DENSE)
def test_linear_layers_are_held_in_eight_bits_and_nothing_else_is(
    kind: str, tmp_path: Path
) -> None:
    tiny.save(tmp_path, kind)
    plain, made = network(tmp_path, quantized=False), network(tmp_path, quantized=True)
    layers = quantized_layers(made)
    linear = {name for name, layer in plain.named_modules() if isinstance(layer, nn.Linear)}
    assert layers.keys() == linear - {"lm_head"}
    for name, layer in layers.items():
        held = layer.weight
        assert held.qdata.dtype == torch.int8
        exact: Tensor = plain.get_submodule(name).weight
        # Half a step, and what rounding takes in float32.
        assert ((held.dequantize() - exact).abs() <= 0.51 * held.scale).all()
    assert made.get_output_embeddings().weight.equal(plain.get_output_embeddings().weight)


@pytest.mark.parametrize("kind", DENSE)
def test_the_network_computes_what_its_quantised_weights_do(kind: str, tmp_path: Path) -> None:
    tiny.save(tmp_path, kind)
    made, plain = network(tmp_path, quantized=True), network(tmp_path, quantized=False)
    for name, layer in quantized_layers(made).items():
        plain.get_submodule(name).weight.data = layer.weight.dequantize()
    ids = torch.arange(5, 60)[None]
    with torch.inference_mode():
        assert torch.allclose(made(ids).logits, plain(ids).logits, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", DENSE)
def test_a_plan_counts_the_bytes_that_are_held(
    kind: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    tiny.save(tmp_path, kind)
    stated = checkpoint.check(tmp_path)
    placed = weights.placement(CPU, spread=False)
    made = weights.read(tmp_path, stated, native(stated), placed, dtype, quantized=True)
    in_int8 = sum(
        layer.weight.qdata.nbytes + layer.weight.scale.nbytes
        for layer in quantized_layers(made).values()
    )
    others = sum(each.nbytes for each in made.parameters() if not hasattr(each, "qdata"))
    needed = plan(config_of(str(tmp_path)), dtype, quantized=True)
    assert (needed.quantized, needed.weights) == (in_int8, in_int8 + others)


def test_int8_takes_less_than_sixty_percent_of_the_default_models_memory() -> None:
    config = config_of("qwen2.5-coder-1.5b")
    quantized = plan(config, torch.bfloat16, quantized=True)
    assert quantized.weights < 0.6 * plan(config, torch.bfloat16).weights


def test_readmes_are_ranked_the_same_each_time_and_apart_from_the_unquantised_model(
    tmp_path: Path,
) -> None:
    tiny.save(tmp_path)
    vocabulary = Vocabulary.from_json('["http", "http-client", "game"]')
    readings = []
    for quantize in ("int8", "int8", None):
        model = load(str(tmp_path), device="cpu", dtype="float32", quantize=quantize)
        rank = Rank(model, vocabulary)
        reading = rank.read([rank.encode(Readme("a", "# An HTTP client for games"))])[0]
        readings.append((reading, rank.reading_identity))
    assert readings[0] == readings[1]
    assert readings[1][0] != readings[2][0]
    # Heads are about the same features, as with another number format.
    assert readings[1][1].features == readings[2][1].features
    assert readings[1][1].differences(readings[2][1]) == [
        "machine, number format or library version"
    ]


def test_what_unquantised_output_depends_on_has_not_changed() -> None:
    assert Processor(CPU, torch.float32).machine == Processor(CPU, torch.float32, None).machine
    assert Processor(CPU, torch.float32).machine != Processor(CPU, torch.float32, "int8").machine


def test_a_model_that_is_quantised_already_is_refused(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.save(tmp_path / "model")
    quantised.quantise(folder, quantised.Scheme())
    outcome = run("run", "README.md", "--model", str(folder), "--quantize", "int8")
    monkeypatch.chdir(tmp_path)
    with refused(LoadError):
        load("model", device="cpu", quantize="int8")
    assert outcome.code == 3
    assert "is already quantised (gptq, 4 bits)" in outcome.err.splitlines()[-1]


def test_a_mixture_of_experts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.save(Path("model"), "qwen3_moe")
    with refused(LoadError):
        load("model", device="cpu", quantize="int8")


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tagger._util.extras.find_spec", lambda module: None)
    with refused(MissingPackageError):
        load("no-such-model", quantize="int8")


def test_a_server_cannot_be_told_to_quantise(run: Run) -> None:
    outcome = run(
        "run", "README.md", "--endpoint", "http://localhost:1/v1", "--model", "m",
        "--quantize", "int8",
    )  # fmt: skip
    assert outcome.code == 2
    assert "--quantize works only with a local model" in one_line(outcome.err)


def test_models_plan_says_how_much_is_in_int8(run: Run) -> None:
    outcome = run(
        "models", "plan", "Qwen/Qwen2.5-7B-Instruct", "--dtype", "bfloat16", "--quantize", "int8"
    )
    assert "weights         8.71 GB in bfloat16, of which 6.53 GB in int8" in outcome.out
