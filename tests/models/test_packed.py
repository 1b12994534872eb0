"""Models quantised by GPTQ and AWQ; the fixture's matrices were packed by published packages."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from support import ROOT, legacy, quantised, tiny
from support.console import Run
from support.messages import refused
from support.quantised import WEIGHTS, Scheme, change
from tagger.errors import LoadError, UsageError
from tagger.models import checkpoint, packed, weights
from tagger.models.convert import convert
from tagger.models.load import load
from tagger.models.packed import Matrix
from tagger.models.plan import config_of
from tagger.models.shape import Packing, native

FIXTURE = ROOT / "tests" / "support" / "packed-matrices" / "matrices.safetensors"
BY_PACKAGES = load_file(FIXTURE)
SCHEMES = [
    Scheme(),
    Scheme(bits=8, group_size=16),
    Scheme(desc_act=True),
    Scheme(group_size=-1),
    Scheme(checkpoint_format="gptq_v2"),
    Scheme(quant_method="awq"),
]
LAYER = "model.layers.0.mlp.up_proj"


def matrix(parts: dict[str, torch.Tensor], scheme: Scheme, folder: Path) -> Matrix:
    """A matrix in a file."""
    save_file(parts, folder / WEIGHTS)
    file: Any = safe_open(folder / WEIGHTS, framework="pt")
    slices = {name: file.get_slice(name) for name in parts}
    return Matrix("layer", slices, Packing.read(scheme.config), torch.float16)


def network(folder: Path) -> Any:
    """A model's network, without the tokenizer that takes ten times as long to read."""
    stated = checkpoint.check(folder)
    placed = weights.placement(torch.device("cpu"), spread=False)
    return weights.read(folder, stated, native(stated), placed, torch.float32)


def logits(network: Any) -> torch.Tensor:
    with torch.inference_mode():
        computed: torch.Tensor = network(torch.arange(5, 60)[None]).logits
    return computed


def model(tmp_path: Path, kind: str = "qwen2", scheme: Scheme = SCHEMES[0]) -> tuple[Path, Path]:
    """A quantised model, and the unquantised one that it stands for."""
    plain, folder = tmp_path / "plain", tmp_path / "model"
    tiny.save(plain, kind)
    shutil.copytree(plain, folder)
    unquantised = quantised.quantise(folder, scheme)
    assert any(name.endswith("qweight") for name in load_file(folder / WEIGHTS))
    save_file(unquantised, plain / WEIGHTS, {"format": "pt"})
    return folder, plain


@pytest.mark.parametrize("name", sorted({name.rpartition(".")[0] for name in BY_PACKAGES}))
def test_a_matrix_is_what_the_package_that_packed_it_unpacks(name: str, tmp_path: Path) -> None:
    layout, bits, rest = name.split("-", 2)
    size = rest.removesuffix("-asymmetric").removesuffix("-scattered")
    scheme = Scheme(
        quant_method=layout.removesuffix("_v2"),
        bits=int(bits),
        group_size=int(size),
        desc_act="scattered" in rest,
        checkpoint_format=layout,
    )
    parts = {
        key.rpartition(".")[2]: tensor
        for key, tensor in BY_PACKAGES.items()
        if key.startswith(f"{name}.")
    }
    unpacked = parts.pop("unpacked")
    made = matrix(parts, scheme, tmp_path)
    assert made[...].equal(unpacked)
    assert made.get_shape() == list(unpacked.shape)


@settings(max_examples=40, deadline=None)
@given(
    scheme=st.sampled_from(SCHEMES),
    words=st.integers(1, 3),
    more=st.integers(1, 3),
    cut=st.integers(0, 7),
    size=st.integers(1, 9),
    block=st.integers(1, 500),
)
def test_any_matrix_is_unpacked_block_by_block(
    scheme: Scheme,
    words: int,
    more: int,
    cut: int,
    size: int,
    block: int,
    tmp_path_factory: Any,
) -> None:
    scheme = Scheme(**(vars(scheme) | {"group_size": size if scheme.group_size > 0 else -1}))
    # Only with GPTQ is the last word of zeros part empty.
    outputs = 8 * more - (cut if scheme.quant_method == "gptq" else 0)
    parts, stands_for = quantised.pack(torch.randn(outputs, 8 * words), scheme)
    made = matrix(parts, scheme, tmp_path_factory.mktemp("matrix"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "_BLOCK", block)
        assert made[...].equal(stands_for.half())


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_a_quantised_model_computes_what_its_unquantised_one_does(
    scheme: Scheme, tmp_path: Path
) -> None:
    folder, plain = model(tmp_path, scheme=scheme)
    ours, theirs = (load(str(each), device="cpu", dtype="float32") for each in (folder, plain))
    assert logits(ours.network).equal(logits(theirs.network))


@pytest.mark.parametrize("kind", sorted({*tiny.KINDS} - {"qwen2"}))
def test_every_architecture_can_be_quantised(kind: str, tmp_path: Path) -> None:
    folder, plain = model(tmp_path, kind)
    if kind in ("qwen2_moe", "qwen3_moe"):
        assert "model.layers.0.mlp.experts.0.up_proj.qweight" in load_file(folder / WEIGHTS)
    ours, theirs = (load(str(each), device="cpu", dtype="float32") for each in (folder, plain))
    assert logits(ours.network).equal(logits(theirs.network))


def test_a_first_generation_model_can_be_quantised(tmp_path: Path) -> None:
    """As in Qwen-7B-Chat-Int4: queries, keys and values are packed in one matrix."""
    plain, folder = tmp_path / "plain", tmp_path / "model"
    plain.mkdir()
    legacy.save(plain)
    shutil.copytree(plain, folder)
    unquantised = quantised.quantise(folder, SCHEMES[1])
    for shard in legacy.SHARDS:
        kept = {name: unquantised[name] for name in load_file(plain / shard)}
        save_file(kept, plain / shard, {"format": "pt"})
    assert "transformer.h.0.attn.c_attn.qweight" in load_file(folder / legacy.SHARDS[0])
    ours, theirs = map(network, (folder, plain))
    for name, weight in theirs.state_dict().items():
        assert ours.state_dict()[name].equal(weight)


def test_parts_of_a_matrix_may_lie_in_several_files(tmp_path: Path) -> None:
    folder, plain = model(tmp_path)
    stored = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    shards: dict[str, dict[str, torch.Tensor]] = {
        f"part-{number}.safetensors": {} for number in range(3)
    }
    for name, tensor in stored.items():
        shards[f"part-{len(name) % 3}.safetensors"][name] = tensor
    for shard, tensors in shards.items():
        save_file(tensors, folder / shard)
    placed = {name: shard for shard, tensors in shards.items() for name in tensors}
    index = {"metadata": {}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    ours, theirs = (load(str(each), device="cpu", dtype="float32") for each in (folder, plain))
    assert logits(ours.network).equal(logits(theirs.network))


def test_how_a_model_is_quantised_may_be_said_in_a_file_apart(tmp_path: Path) -> None:
    folder, plain = model(tmp_path)
    stated = {**SCHEMES[0].config}
    del stated["quant_method"]
    (folder / "quantize_config.json").write_text(json.dumps(stated))
    change(folder / "config.json", quantization_config=None)
    ours, theirs = (load(str(each), device="cpu", dtype="float32") for each in (folder, plain))
    assert logits(ours.network).equal(logits(theirs.network))


def test_a_converted_folder_is_loaded_by_plain_transformers(tmp_path: Path) -> None:
    folder, plain = model(tmp_path)
    convert(folder, tmp_path / "converted")
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "converted", dtype="auto")
    assert network.dtype == torch.float16
    assert not hasattr(network.config, "quantization_config")
    expected = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float16)
    for name, weight in expected.state_dict().items():
        assert network.state_dict()[name].equal(weight)
    theirs, ours = (
        AutoTokenizer.from_pretrained(tmp_path / name) for name in ("plain", "converted")
    )
    assert ours("A web server.")["input_ids"] == theirs("A web server.")["input_ids"]
    assert load(str(tmp_path / "converted"), device="cpu").context_length == 2048


def test_models_convert_writes_a_quantised_model_once(run: Run, tmp_path: Path) -> None:
    folder, _ = model(tmp_path)
    outcome = run("models", "convert", str(folder), "-o", "once")
    assert outcome.code == 0
    assert outcome.out == ""
    again = run("models", "convert", "once", "-o", "twice")
    assert again.code == 2
    assert "it can be used as it is" in again.err
    for name in (str(folder), "once"):
        outcome = run("run", "README.md", "--dtype", "float32", model=name)
        assert outcome.code == 0
        assert json.loads(outcome.out)["tags"]
        assert "base model" not in outcome.err


def test_the_memory_planned_is_that_of_the_unquantised_model(tmp_path: Path) -> None:
    folder, plain = model(tmp_path)
    assert config_of(str(folder)).to_dict() == config_of(str(plain)).to_dict()


def test_biases_that_a_quantiser_added_are_passed_over_if_they_are_zero(tmp_path: Path) -> None:
    folder, plain = model(tmp_path)
    stored = load_file(folder / WEIGHTS)
    bias = torch.zeros(64, dtype=torch.float16)
    save_file({**stored, f"{LAYER}.bias": bias}, folder / WEIGHTS)
    ours, theirs = (load(str(each), device="cpu", dtype="float32") for each in (folder, plain))
    assert logits(ours.network).equal(logits(theirs.network))
    bias[3] = 1.0
    save_file({**stored, f"{LAYER}.bias": bias}, folder / WEIGHTS)
    with refused(LoadError):
        load(str(folder), device="cpu")


Edit = Callable[[dict[str, torch.Tensor]], None]


def without(part: str) -> Edit:
    def edit(stored: dict[str, torch.Tensor]) -> None:
        del stored[f"{LAYER}.{part}"]

    return edit


def instead(part: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Edit:
    def edit(stored: dict[str, torch.Tensor]) -> None:
        stored[f"{LAYER}.{part}"] = make(stored[f"{LAYER}.{part}"]).contiguous()

    return edit


def both(stored: dict[str, torch.Tensor]) -> None:
    stored[f"{LAYER}.weight"] = torch.zeros(64, 32)


def more(stored: dict[str, torch.Tensor]) -> None:
    """What is a layer of the network's by its name, and a thousand times as large."""
    parts, _ = quantised.pack(torch.zeros(2048, 512), SCHEMES[0])
    stored.update({f"{LAYER}.{part}": tensor for part, tensor in parts.items()})


@pytest.mark.parametrize(
    "edit",
    [
        *map(without, ("qweight", "qzeros", "scales")),
        instead("qweight", lambda tensor: tensor[:-1]),
        instead("qweight", lambda tensor: tensor[0]),
        instead("qweight", lambda tensor: tensor[:, :0]),
        instead("qweight", lambda tensor: tensor.float()),
        instead("scales", lambda tensor: tensor[:1]),
        instead("scales", lambda tensor: tensor.T),
        instead("qzeros", lambda tensor: tensor[:, :-1]),
        instead("g_idx", lambda tensor: tensor + 1),
        instead("g_idx", lambda tensor: tensor - 1),
        instead("g_idx", lambda tensor: tensor[:-1]),
        instead("g_idx", lambda tensor: tensor.float()),
        both,
        more,
    ],
)
def test_parts_that_do_not_fit_together_are_refused(edit: Edit, tmp_path: Path) -> None:
    folder, _ = model(tmp_path)
    stored = load_file(folder / WEIGHTS)
    edit(stored)
    save_file(stored, folder / WEIGHTS)
    with refused(LoadError):
        load(str(folder), device="cpu")


def test_a_matrix_whose_inputs_are_scattered_needs_their_groups(tmp_path: Path) -> None:
    folder, _ = model(tmp_path, scheme=SCHEMES[2])
    stored = load_file(folder / WEIGHTS)
    del stored[f"{LAYER}.g_idx"]
    save_file(stored, folder / WEIGHTS)
    with refused(LoadError):
        load(str(folder), device="cpu")


@pytest.mark.parametrize(
    "values",
    [
        {"quant_method": "fp8"},
        {"quant_method": "compressed-tensors"},
        {"quant_method": None},
        {"quant_method": ["gptq"]},
        {"bits": 3},
        {"bits": "4"},
        {"bits": 8},
        {"group_size": 0},
        {"group_size": -2},
        {"group_size": 10**30},
        {"group_size": 16},
        {"checkpoint_format": "marlin"},
        {"quant_method": "awq", "bits": 8},
        {"quant_method": "awq", "version": "gemv"},
        {"quant_method": "awq"},
    ],
    ids=str,
)
def test_other_schemes_and_those_of_other_weights_are_refused(
    values: dict[str, object], tmp_path: Path
) -> None:
    folder, _ = model(tmp_path)
    change(folder / "config.json", quantization_config=SCHEMES[0].config | values)
    with refused(LoadError):
        load(str(folder), device="cpu")


@pytest.mark.parametrize("stated", ["gptq", 4, [4], {"bits": 4}, {}])
def test_what_does_not_say_how_a_model_is_quantised_is_refused(
    stated: object, tmp_path: Path
) -> None:
    folder, _ = model(tmp_path)
    change(folder / "config.json", quantization_config=stated)
    with refused(LoadError):
        load(str(folder), device="cpu")


def test_an_unquantised_model_that_says_it_is_quantised_is_refused(tmp_path: Path) -> None:
    _, plain = model(tmp_path)
    change(plain / "config.json", quantization_config=SCHEMES[0].config)
    with refused(LoadError):
        load(str(plain), device="cpu")


def test_scales_that_are_not_numbers_are_not_converted(tmp_path: Path) -> None:
    folder, _ = model(tmp_path)
    stored = load_file(folder / WEIGHTS)
    stored[f"{LAYER}.scales"][0, 0] = torch.nan
    save_file(stored, folder / WEIGHTS)
    with refused(LoadError):
        convert(folder, tmp_path / "converted")
    assert [path.name for path in tmp_path.iterdir() if "converted" in path.name] == []


def test_a_taken_folder_is_not_converted_into(tmp_path: Path) -> None:
    folder, plain = model(tmp_path)
    with refused(UsageError):
        convert(folder, plain)
