"""First-generation Qwen-Chat: the fixture's logits, tokens and ChatML by the original code."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiktoken.load import load_tiktoken_bpe
from transformers import AutoModelForCausalLM, AutoTokenizer

from support import legacy
from support.console import Run
from support.messages import refused
from tagger.errors import LoadError, UsageError
from tagger.models import qwen1 as first_generation
from tagger.models.chat_files import PATTERN
from tagger.models.convert import convert
from tagger.models.load import load
from tagger.models.shape import native
from tagger.models.tokenizer import ChatTokenizer

pytestmark = pytest.mark.slow

LOGITS = json.loads((legacy.KEPT / "logits.json").read_text())
TOKENS = json.loads((legacy.KEPT / "tokens.json").read_text())
WITHIN = [case for case in LOGITS["cases"] if case["within_trained_length"]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return legacy.save(tmp_path_factory.mktemp("legacy"))


@cache
def tokenizer() -> Any:
    return first_generation.load_tokenizer(legacy.vocabulary().parent)


@cache
def original() -> tiktoken.Encoding:
    """The original tokenizer without its control tokens."""
    ranks = load_tiktoken_bpe(str(legacy.vocabulary()))
    return tiktoken.Encoding("qwen", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})


@torch.inference_mode()
def largest_difference(network: Any, case: dict[str, Any]) -> float:
    logits = network(torch.tensor([case["input_ids"]])).logits[0]
    last = case["argmax_last_50"]
    assert logits[-len(last) :].argmax(-1).tolist() == last
    expected = torch.tensor(case["last_logits"])
    return float((logits[-1, LOGITS["probe_ids"]] - expected).abs().max())


def test_logits_are_those_of_the_original_code_up_to_the_trained_length(checkpoint: Path) -> None:
    network = load(str(checkpoint), device="cpu", dtype="float32").network
    assert len(WITHIN) == 4
    for case in WITHIN:
        assert largest_difference(network, case) < 1e-5


@pytest.mark.shared
def test_what_is_kept_of_the_fixture_is_the_original(checkpoint: Path, shared: Path) -> None:
    kept = legacy.kept()
    for shard in legacy.SHARDS:
        made, original = (load_file(at / shard) for at in (checkpoint, shared / "legacy-qwen"))
        assert set(made) == set(original)
        for name, weights in made.items():
            ids = kept.get(f"{name.removesuffix('.weight')}.ids", torch.arange(len(weights)))
            assert weights.shape == original[name].shape
            assert torch.equal(weights[ids], original[name][ids])


def test_the_context_is_the_trained_length(checkpoint: Path) -> None:
    assert load(str(checkpoint), device="cpu", dtype="float32").context_length == 2048


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_it_loads_in_every_number_format(checkpoint: Path, dtype: str) -> None:
    assert load(str(checkpoint), device="cpu", dtype=dtype).dtype == getattr(torch, dtype)


def test_a_converted_folder_is_loaded_by_plain_transformers(
    checkpoint: Path, tmp_path: Path
) -> None:
    convert(checkpoint, tmp_path / "native")
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "native", dtype=torch.float32)
    assert network.config.architectures == ["Qwen2ForCausalLM"]
    for case in WITHIN:
        assert largest_difference(network, case) < 1e-5
    plain = AutoTokenizer.from_pretrained(tmp_path / "native")
    for row in TOKENS["texts"]:
        assert plain(row["text"])["input_ids"] == row["ids_special"]
    ends = network.generation_config.eos_token_id
    assert ends == [TOKENS["special"]["<|im_end|>"], TOKENS["special"]["<|endoftext|>"]]


@pytest.mark.parametrize("row", TOKENS["texts"], ids=lambda row: row["text"][:12])
def test_token_ids_are_those_of_the_original_tokenizer(row: dict[str, Any]) -> None:
    assert tokenizer()(row["text"])["input_ids"] == row["ids_special"]
    assert ChatTokenizer(tokenizer()).encode(row["text"]) == row["ids_plain"]


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_has_the_original_tokens(text: str) -> None:
    import unicodedata

    expected = original().encode(unicodedata.normalize("NFC", text), disallowed_special=())
    assert ChatTokenizer(tokenizer()).encode(text) == expected


def test_a_chat_is_laid_out_as_the_original_does() -> None:
    chat = TOKENS["chatml"]
    messages = [
        {"role": "system", "content": chat["system"]},
        {"role": "user", "content": chat["user"]},
    ]
    text = tokenizer().apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == chat["text"]
    (ids,) = ChatTokenizer(tokenizer()).encode_chat(chat["system"], chat["user"])
    assert ids == chat["ids"]


def test_run_tags_with_it(run: Run, checkpoint: Path) -> None:
    outcome = run("run", "README.md", model=str(checkpoint))
    assert outcome.code == 0
    reply = json.loads(outcome.out)
    assert reply["id"] == "README.md"
    assert 1 <= len(reply["tags"]) <= 3
    assert "brings code of its own, which is not run" in outcome.err


def test_a_readme_budget_beyond_the_trained_length_is_lowered_and_said_so(
    run: Run, checkpoint: Path
) -> None:
    outcome = run("run", "README.md", "--readme-tokens", "5000", model=str(checkpoint))
    assert outcome.code == 0
    assert "tokens of each README are read, not 5000" in outcome.err


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def changed(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    "values",
    [
        {"no_bias": False},
        {"rotary_pct": 0.5},
        {"quantization_config": {"bits": 4}},
        {"kv_channels": 8},
        {"num_hidden_layers": 10**9},
        {"num_attention_heads": 0},
        {"rotary_emb_base": "x"},
    ],
)
def test_variants_without_a_qwen2_name_are_refused(copy: Path, values: dict[str, object]) -> None:
    changed(copy, **values)
    with refused(LoadError):
        load(str(copy), device="cpu")


def test_a_config_without_a_shape_says_what_it_lacks() -> None:
    with refused(LoadError):
        native({"model_type": "qwen"})


DOUBLED = legacy.vocabulary().read_bytes().replace(b"IQ== 0\n", b"IQ== 0\nIQ== 1\n", 1)


@pytest.mark.parametrize("content", [None, b"", b"not base64 at all\n", DOUBLED])
def test_a_damaged_tokenizer_is_refused(copy: Path, content: bytes | None) -> None:
    path = copy / "qwen.tiktoken"
    path.unlink() if content is None else path.write_bytes(content)
    with refused(LoadError):
        load(str(copy), device="cpu")


def test_a_tensor_that_no_shard_holds_is_refused(copy: Path) -> None:
    (copy / "model.safetensors.index.json").unlink()
    weights = load_file(copy / "model-00001-of-00002.safetensors")
    save_file(weights, copy / "model.safetensors")
    for shard in copy.glob("model-0*"):
        shard.unlink()
    with refused(LoadError):
        load(str(copy), device="cpu")


def test_what_is_no_number_is_not_converted(copy: Path) -> None:
    path = copy / "model-00002-of-00002.safetensors"
    weights = load_file(path)
    next(iter(weights.values())).fill_(torch.nan)
    save_file(weights, path, metadata={"format": "pt"})
    with refused(LoadError):
        convert(copy, copy / "out")
    assert not (copy / "out").exists()


def test_weights_kept_in_eight_bits_are_refused(copy: Path) -> None:
    path = copy / "model-00002-of-00002.safetensors"
    weights = {name: value.to(torch.int8) for name, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    with refused(LoadError):
        load(str(copy), device="cpu")


def test_converting_needs_a_first_generation_model_and_a_new_folder(
    checkpoint: Path, copy: Path, tiny_folder: Path
) -> None:
    with refused(UsageError):
        convert(tiny_folder, copy / "out")
    with refused(UsageError):
        convert(checkpoint, copy)


def test_models_convert_says_where_it_wrote(run: Run, checkpoint: Path, workplace: Path) -> None:
    outcome = run("models", "convert", str(checkpoint), "-o", "native")
    assert outcome.code == 0
    assert outcome.out == ""
    assert "is in native" in outcome.err
    assert (workplace / "native" / "tokenizer.json").is_file()
    assert [path.name for path in workplace.glob(".native*")] == []
