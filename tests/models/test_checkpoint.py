"""Model folders: every architecture that works, and what is wrong with those that do not."""

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from support import tiny
from support.console import Run
from support.messages import refused
from tagger.errors import LoadError
from tagger.methods.rank.rank import Rank
from tagger.models import checkpoint
from tagger.models.load import load
from tagger.prompts.prompt import PromptTemplate
from tagger.readme.readme import Readme
from tagger.vocabulary import Vocabulary

INDEX = "model.safetensors.index.json"
WITH_IMAGES = ["qwen3_5", "qwen3_5_moe"]


@pytest.fixture(params=tiny.KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tiny.save(tmp_path / "model", request.param)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A model in several files."""
    tiny.network().save_pretrained(tmp_path / "model", max_shard_size="40KB")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 2
    return tmp_path / "model"


def changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_every_architecture_tags(folder: Path, run: Run) -> None:
    outcome = run("run", "README.md", "--dtype", "float32", model=str(folder))
    assert outcome.code == 0
    assert json.loads(outcome.out)["tags"]


def test_every_architecture_reads_its_weights(folder: Path) -> None:
    ours = load(str(folder), device="cpu", dtype="float32").network
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.arange(5, 60)[None]
    with torch.inference_mode():
        assert ours(ids).logits.equal(plain(ids).logits)


@pytest.mark.parametrize("kind", WITH_IMAGES)
def test_of_a_model_that_sees_the_part_that_reads_text_is_used(kind: str, tmp_path: Path) -> None:
    """As Qwen3.5 is published: its text model is a part, and other parts predict and see."""
    plain = tiny.save(tmp_path / "plain", f"{kind}_text")
    whole = tiny.save(tmp_path / "whole", f"{kind}_text")
    text = json.loads((whole / "config.json").read_text())
    vision = {"model_type": f"{kind}_vision", "depth": 1}
    stated = {"model_type": kind, "text_config": text, "vision_config": vision}
    (whole / "config.json").write_text(json.dumps(stated))
    weights = load_file(whole / "model.safetensors")
    parts = {
        name.replace("model.", "model.language_model.", 1): weight
        for name, weight in weights.items()
    }
    others = {
        "model.visual.patch_embed.proj.weight": torch.ones(3),
        "mtp.norm.weight": torch.ones(3),
    }
    save_file(parts | others, whole / "model.safetensors", {"format": "pt"})
    networks = [
        load(str(folder), device="cpu", dtype="float32").network for folder in (plain, whole)
    ]
    ids = torch.arange(5, 60)[None]
    with torch.inference_mode():
        assert networks[0](ids).logits.equal(networks[1](ids).logits)


def test_a_model_that_sees_and_does_not_state_how_it_reads_is_refused(tmp_path: Path) -> None:
    tiny.save(tmp_path, "qwen3_5_text")
    changed(tmp_path / "config.json", model_type="qwen3_5", text_config=[])
    with refused(LoadError):
        load(str(tmp_path), device="cpu")


@pytest.mark.parametrize("kind", [*tiny.RECURRENT])
@pytest.mark.parametrize(
    "values",
    [
        {"linear_num_value_heads": 3},
        {"partial_rotary_factor": 0.2, "rope_parameters": None},
        {"linear_conv_kernel_dim": 0},
        {"layer_types": ["linear_attention", "full_attention"]},
        {"layer_types": ["linear_attention", "sliding_attention", "full_attention"]},
    ],
    ids=["heads of odd groups", "positions of odd size", "no kernel", "too few layers", "window"],
)
def test_recurrent_layers_that_do_not_fit_are_refused(
    kind: str, values: dict[str, object], tmp_path: Path
) -> None:
    tiny.save(tmp_path, kind)
    changed(tmp_path / "config.json", **values)
    with refused(LoadError):
        load(str(tmp_path), device="cpu")


def test_a_model_whose_layers_are_spread_ranks_as_in_one_place(tmp_path: Path) -> None:
    """Accelerate's hooks, which move inputs from layer to layer, with a disk for a second GPU."""
    tiny.save(tmp_path)
    places = {"model.layers.1": "disk", "model.norm": "disk"}
    places |= dict.fromkeys(
        ("model.embed_tokens", "model.rotary_emb", "model.layers.0", "lm_head"), "cpu"
    )
    spread = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, device_map=places, offload_folder=tmp_path / "offloaded"
    )
    vocabulary = Vocabulary.from_names(["http", "game", "cli"])
    template = PromptTemplate("You tag.", "{tags}\n{readme}")
    models = tiny.model_of(spread, "spread"), tiny.model()
    ranks = [Rank(model, vocabulary, template, readme_tokens=99) for model in models]
    readme = Readme("x", "A web server.")
    there, here = (rank.score([rank.encode(readme)])[0] for rank in ranks)
    assert [scored.tag for scored in there] == [scored.tag for scored in here]
    assert there[0].logit == pytest.approx(here[0].logit, abs=1e-4)


def test_layers_with_a_window_see_all_within_it(tmp_path: Path) -> None:
    """Qwen1.5's and Qwen2's configs may limit what upper layers see."""
    network = tiny.network(use_sliding_window=True, sliding_window=600, max_window_layers=1)
    network.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    model = load(str(tmp_path), device="cpu", dtype="float32")
    assert model.context_length == 600
    vocabulary = Vocabulary.from_names(["http", "game"])
    template = PromptTemplate("You tag.", "{tags}\n{readme}")
    rank = Rank(model, vocabulary, template, readme_tokens=999)
    assert rank.readme_tokens < 600
    rank.score([rank.encode(Readme("x", "A web server. " * 400))])


def test_a_missing_shard_is_named(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.unlink()
    with refused(LoadError):
        load(str(sharded), device="cpu")


def test_a_shard_cut_short_is_named(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with refused(LoadError):
        load(str(sharded), device="cpu")


def test_an_index_of_another_model_is_refused(sharded: Path) -> None:
    placed = json.loads((sharded / INDEX).read_text())["weight_map"]
    first, *_, last = sorted(set(placed.values()))
    swapped = {first: last, last: first}
    moved = {tensor: swapped.get(file, file) for tensor, file in placed.items()}
    changed(sharded / INDEX, weight_map=moved)
    with refused(LoadError):
        load(str(sharded), device="cpu")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"metadata": {}, "weight_map": {"a": 1}}', '{"weight_map": {"a": "b"}}'],
)
def test_a_damaged_index_is_refused(sharded: Path, content: str) -> None:
    (sharded / INDEX).write_text(content)
    with refused(LoadError):
        load(str(sharded), device="cpu")


def test_shards_without_an_index_are_said(sharded: Path) -> None:
    (sharded / INDEX).unlink()
    with refused(LoadError):
        load(str(sharded), device="cpu")


def test_an_index_cannot_name_files_elsewhere(sharded: Path) -> None:
    placed = json.loads((sharded / INDEX).read_text())["weight_map"]
    changed(sharded / INDEX, weight_map=dict.fromkeys(placed, "../elsewhere.safetensors"))
    with refused(LoadError):
        load(str(sharded), device="cpu")


@pytest.mark.parametrize(
    "kind",
    [
        "llama",
        None,
    ],
)
def test_other_architectures_are_refused(tmp_path: Path, kind: str | None) -> None:
    tiny.save(tmp_path)
    changed(tmp_path / "config.json", model_type=kind)
    with refused(LoadError):
        load(str(tmp_path), device="cpu")


def test_weights_that_are_not_numbers_are_said(tmp_path: Path, run: Run) -> None:
    tiny.save(tmp_path / "nan")
    path = tmp_path / "nan" / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"].fill_(torch.nan)
    save_file(weights, path, metadata={"format": "pt"})
    outcome = run("run", "README.md", model=str(tmp_path / "nan"))
    assert outcome.code == 3
    assert "its probabilities are not finite: try --dtype float32" in outcome.err
    assert outcome.out == ""


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    tiny.save(tmp_path)
    changed(tmp_path / "config.json", intermediate_size=48)
    with refused(LoadError):
        load(str(tmp_path), device="cpu")


def test_a_config_of_odd_values_is_refused(tmp_path: Path) -> None:
    tiny.save(tmp_path)
    changed(tmp_path / "config.json", hidden_size="wide")
    with refused(LoadError):
        load(str(tmp_path), device="cpu")


@pytest.mark.parametrize("rows", [300, 900])
def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, rows: int) -> None:
    tiny.network(vocab_size=rows).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    with refused(LoadError):
        load(str(tmp_path), device="cpu")


def test_a_base_model_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiny.save(tmp_path)
    load(str(tmp_path), device="cpu")
    assert "base model" not in caplog.text
    changed(tmp_path / "tokenizer_config.json", eos_token="<|endoftext|>")
    load(str(tmp_path), device="cpu")
    assert "looks like a base model without chat training" in caplog.text


def test_a_first_generation_base_model_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.save(tmp_path)
    changed(tmp_path / "generation_config.json", chat_format="raw")
    load(str(tmp_path), device="cpu")
    assert "looks like a base model without chat training" in caplog.text


def test_code_that_a_config_names_is_not_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny.save(tmp_path)
    changed(tmp_path / "config.json", auto_map={"AutoModelForCausalLM": "evil.Model"})
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    with caplog.at_level(logging.INFO):
        load(str(tmp_path), device="cpu")
    assert "brings code of its own, which is not run" in caplog.text


def test_supported_architectures_are_those_that_are_tested() -> None:
    tested = {*tiny.KINDS, *WITH_IMAGES, checkpoint.FIRST_GENERATION}
    assert set(checkpoint.SUPPORTED) == tested
