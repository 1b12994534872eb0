"""Models quantised by GPTQ and AWQ; the fixture's matrices were packed by published packages."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from support import ROOT, quantised, tiny
from support.quantised import WEIGHTS, Scheme
from tagger.models import packed
from tagger.models.load import load
from tagger.models.packed import Matrix
from tagger.models.shape import Packing

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
    file = safe_open(folder / WEIGHTS, framework="pt")
    slices = {name: file.get_slice(name) for name in parts}
    return Matrix("layer", slices, Packing.read(scheme.config), torch.float16)


def logits(network: Any) -> torch.Tensor:
    with torch.inference_mode():
        return network(torch.arange(5, 60)[None]).logits


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
    size=st.integers(1, 9),
    block=st.integers(1, 500),
)
def test_any_matrix_is_unpacked_block_by_block(
    scheme: Scheme, words: int, more: int, size: int, block: int, tmp_path_factory: Any
) -> None:
    scheme = Scheme(**(vars(scheme) | {"group_size": size if scheme.group_size > 0 else -1}))
    parts, stands_for = quantised.pack(torch.randn(8 * more, 8 * words), scheme)
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
    ours, theirs = (load(str(each), device="cpu", dtype="float32") for each in (folder, plain))
    assert logits(ours.network).equal(logits(theirs.network))
