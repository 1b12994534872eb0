"""The conversion gives what Transformers' own GGUF loading gives, in less memory."""

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

from support import tiny
from support.fake_models import Q5, write_gguf
from support.messages import refused
from tagger.errors import LoadError
from tagger.models.fetch import gguf as module
from tagger.models.fetch.gguf import convert

IDS = torch.arange(20).reshape(1, -1) * 7


def converted(source: Path) -> Path:
    target = source.parent / "converted"
    target.mkdir()
    convert(source, target, lambda done, total: None)
    return target


def logits(folder: Path, **options: Any) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **options)
    with torch.no_grad():
        found: torch.Tensor = model.float()(IDS).logits
    return found


def logits_of_gguf(path: Path) -> torch.Tensor:
    options = {"gguf_file": path.name, "quantization_config": GgufConfig(dequantize=True)}
    return logits(path.parent, **options)


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return found


@pytest.mark.parametrize("tied", [True, False])
def test_logits_equal_those_of_transformers_own_gguf_loading(tmp_path: Path, tied: bool) -> None:
    source = write_gguf(tmp_path / "m.gguf", tiny.network(tie_word_embeddings=tied))
    assert torch.equal(logits(converted(source)), logits_of_gguf(source))


def test_the_finer_of_two_quantisations_of_one_matrix_is_kept_once(tmp_path: Path) -> None:
    network = tiny.network(tie_word_embeddings=True)
    folder = converted(write_gguf(tmp_path / "m.gguf", network, embedding=Q5))
    found = parameters(folder)
    assert "lm_head.weight" not in found
    matrix = network.get_parameter("model.embed_tokens.weight").detach()
    error = (found["model.embed_tokens.weight"].float() - matrix).abs().max() / matrix.abs().max()
    assert error < 0.01  # eight bits; five would miss by a thirtieth
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_matrices_trained_apart_stay_apart(tmp_path: Path) -> None:
    network = tiny.network(tie_word_embeddings=False)
    folder = converted(write_gguf(tmp_path / "m.gguf", network))
    assert set(parameters(folder)) == set(network.state_dict())
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is False


def test_a_file_without_an_output_matrix_is_tied(tmp_path: Path) -> None:
    network = tiny.network(tie_word_embeddings=True)
    source = write_gguf(tmp_path / "m.gguf", network, without="output.weight")
    assert torch.equal(logits(converted(source)), logits_of_gguf(source))


def test_the_config_is_the_one_transformers_reads_from_the_file(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "m.gguf", tiny.network(tie_word_embeddings=True))
    ours = json.loads((converted(source) / "config.json").read_text())
    theirs = AutoConfig.from_pretrained(tmp_path, gguf_file=source.name).to_dict()
    assert ours.pop("dtype") == "bfloat16"
    assert ours.pop("tie_word_embeddings") is True
    ours.pop("architectures")
    assert ours == {key: theirs.get(key) for key in ours}


def test_large_models_are_cut_into_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_gguf(tmp_path / "m.gguf", tiny.network(tie_word_embeddings=True))
    monkeypatch.setattr(module, "SHARD_BYTES", 40_000)
    folder = converted(source)
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1
    assert torch.equal(logits(folder), logits_of_gguf(source))


def test_rows_are_dequantised_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_gguf(tmp_path / "m.gguf", tiny.network(tie_word_embeddings=True))
    monkeypatch.setattr(module, "BLOCK_ELEMENTS", 100)
    assert torch.equal(logits(converted(source)), logits_of_gguf(source))


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "m.gguf", tiny.network(tie_word_embeddings=True))
    target = tmp_path / "converted"
    target.mkdir()
    heard: list[tuple[int, int]] = []
    convert(source, target, lambda done, total: heard.append((done, total)))
    total = sum(tensor.nbytes for tensor in parameters(target).values())
    assert [done for done, _ in heard] == sorted({done for done, _ in heard})
    assert heard[-1] == (total, total)


def test_the_tokenizer_is_the_one_that_was_packed(tmp_path: Path) -> None:
    folder = converted(write_gguf(tmp_path / "m.gguf", tiny.network(tie_word_embeddings=True)))
    ours, packed = AutoTokenizer.from_pretrained(folder), tiny.tokenizer()
    turn = [{"role": "user", "content": "A game engine: café, cafe\N{COMBINING ACUTE ACCENT}"}]
    text = ours.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    assert text == packed.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    assert ours(text)["input_ids"] == packed(text)["input_ids"]
    assert ours("<tool_call>")["input_ids"] == packed("<tool_call>")["input_ids"]
    assert ours.eos_token == "<|im_end|>"


def test_the_tokenizer_file_holds_the_normaliser_that_gguf_leaves_out(tmp_path: Path) -> None:
    folder = converted(write_gguf(tmp_path / "m.gguf", tiny.network(tie_word_embeddings=True)))
    normalizer = Tokenizer.from_file(str(folder / "tokenizer.json")).normalizer
    assert normalizer.normalize_str("e\N{COMBINING ACUTE ACCENT}") == "é"


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    source = write_gguf(tmp_path / "m.gguf", tiny.network(), architecture="llama")
    with refused(LoadError):
        converted(source)


@pytest.mark.parametrize(
    "changes",
    [
        {"without": "blk.1.ffn_up.weight"},
        {"extra": {"blk.9.odd": torch.zeros(4)}},
        {"extra": {"output_norm.weight": torch.zeros(7)}},
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    source = write_gguf(tmp_path / "m.gguf", tiny.network(), **changes)
    with refused(LoadError):
        converted(source)


def test_metadata_that_is_missing_is_named(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "qwen2")
    writer.add_tensor("token_embd.weight", tiny.network().state_dict()["lm_head.weight"].numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with refused(LoadError):
        converted(tmp_path / "m.gguf")
