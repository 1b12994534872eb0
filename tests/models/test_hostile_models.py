"""Folders made to harm: what a model's files say is data, which chooses nothing and is bounded."""

import dataclasses
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from support import tiny
from support.console import Run
from support.messages import check_line
from tagger.errors import LoadError
from tagger.models import shape, template
from tagger.models.load import load
from tagger.models.shape import ARCHITECTURES, native

pytestmark = pytest.mark.slow

INDEX = "model.safetensors.index.json"

Edit = Callable[[Path], None]


def edited(name: str, **values: object) -> Edit:
    """Change keys of a JSON file, which may not be there."""

    def edit(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(content | values))

    return edit


def written(name: str, content: str | bytes) -> Edit:
    """Write a file."""

    def edit(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return edit


def replaced(name: str, make: Edit | None = None) -> Edit:
    """Take a file away, and put something else in its place."""

    def edit(folder: Path) -> None:
        (folder / name).unlink()
        if make:
            make(folder / name)

    return edit


def both(first: Edit, second: Edit) -> Edit:
    """Do one, then the other."""

    def edit(folder: Path) -> None:
        first(folder)
        second(folder)

    return edit


def huge(path: Path) -> None:
    """Write a file of a terabyte, which takes no room."""
    with path.open("wb") as file:
        file.truncate(2**40)


def config(**values: object) -> Edit:
    """Change keys of the configuration."""
    return edited("config.json", **values)


def merged(name: str, key: str, **values: object) -> Edit:
    """Change keys of an object within a JSON file."""

    def edit(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | {key: content[key] | values}))

    return edit


VOCABULARY = tiny.tokenizer().backend_tokenizer.get_vocab(with_added_tokens=False)
SPLIT = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
GROWTH = {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaaaaaaaa"}

HARMLESS: dict[str, Edit] = {
    "attention from the Hub": config(attn_implementation="org/kernel"),
    "attention that compiles": config(attn_implementation="flex_attention"),
    "attention by its private name": config(_attn_implementation="flex_attention"),
    "paged attention": config(attn_implementation="paged|eager"),
    "experts from elsewhere": config(experts_implementation="deepgemm"),
    "a thousand million labels": config(num_labels=10**9),
    "labels of odd kinds": config(id2label={"x": 1}, problem_type="evil"),
    "code": config(auto_map={"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.C"}),
    "output of attention": config(output_attentions=True, output_hidden_states=True),
    "settings of a layer": config(per_layer_config={"0": {"hidden_size": 1}}),
    "fused kernels": config(fusion_config={"a": 1}),
    "weights elsewhere": config(transformers_weights="../evil.safetensors"),
    "chunked feeding": config(chunk_size_feed_forward=7, is_encoder_decoder=True),
    "padding beyond the vocabulary": config(pad_token_id=10**12, bos_token_id="x"),
    "a class of tokenizer": edited("tokenizer_config.json", tokenizer_class="BertTokenizer"),
    "a token with an unknown key": edited(
        "tokenizer_config.json", eos_token={"content": "<|im_end|>", "evil": 1}
    ),
    "tokens of odd ids": edited("tokenizer_config.json", added_tokens_decoder={"x": [1]}),
    "tokens in a file of their own": written("added_tokens.json", '{"<evil>": 99999999999}'),
    "a map of special tokens": written("special_tokens_map.json", '{"eos_token": [1]}'),
    "code that generates": edited("generation_config.json", custom_generate="org/evil"),
    "settings for compiling": edited("generation_config.json", compile_config={"mode": [1]}),
    "an adapter": written("adapter_config.json", '{"base_model_name_or_path": "org/evil"}'),
    "a pipe beside the weights": lambda folder: os.mkfifo(folder / "evil.safetensors"),
    "a distributed checkpoint": written("shard-00000-model-00001-of-00001.safetensors", b"x"),
    "a tokenizer that cuts": edited(
        "tokenizer.json",
        truncation={
            "direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 0
        },
    ),
    "a tokenizer that throws dice": merged("tokenizer.json", "model", dropout=1.0),
}  # fmt: skip
"""What has no effect whatever it says."""

REFUSED: dict[str, Edit] = {
    "a window without a size": config(use_sliding_window=True, sliding_window=None),
    "layers with a window without a size": config(
        layer_types=["sliding_attention"] * 2, sliding_window=None
    ),
    "linear attention": config(layer_types=["linear_attention"] * 2),
    "quantisation": config(quantization_config={"quant_method": "fp8"}),
    "another activation": config(hidden_act="evil"),
    "positions of an unknown kind": config(rope_scaling={"type": "evil"}),
    "positions that are no object": config(rope_scaling=[1]),
    "positions without a factor": config(rope_scaling={"type": "yarn"}),
    "a base of one": config(rope_theta=1.0),
    "a number without end": config(rms_norm_eps=float("inf")),
    "a number as text": config(hidden_size="x" * 10**6),
    "a truth for a number": config(num_hidden_layers=True),
    "layers without end": config(num_hidden_layers=10**9),
    "heads without end": config(head_dim=10**9),
    "heads of odd groups": config(num_key_value_heads=3),
    "heads of odd size": config(hidden_size=36),
    "a kind of 5,000 characters": config(model_type="x" * 5000),
    "a kind that is a list": config(model_type=["qwen2"]),
    "no object": written("config.json", "[1]"),
    "deep nesting": written("config.json", "[" * 10**6),
    "a config of a terabyte": replaced("config.json", huge),
    "a config that is a pipe": replaced("config.json", os.mkfifo),
    "ends that are objects": edited("generation_config.json", eos_token_id={"a": 1}),
    "ends that are lists of lists": edited("generation_config.json", eos_token_id=[[1]]),
    "ends that are objects, in the config": config(eos_token_id={"a": 1}),
    "settings that are a pipe": replaced("generation_config.json", os.mkfifo),
    "a token that is a list": edited("tokenizer_config.json", eos_token=[1]),
    "a template that is a number": both(
        replaced("chat_template.jinja"),
        edited("tokenizer_config.json", chat_template=7),
    ),
    "a template that is a pipe": replaced("chat_template.jinja", os.mkfifo),
    "a template of a terabyte": replaced("chat_template.jinja", huge),
    "a tokenizer of a terabyte": replaced("tokenizer.json", huge),
    "a tokenizer cut short": written("tokenizer.json", "{"),
    "another kind of tokenizer": edited(
        "tokenizer.json", model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    ),
    "a pattern that takes for ever": edited(
        "tokenizer.json", pre_tokenizer={"type": "Sequence", "pretokenizers": [SPLIT]}
    ),
    "text that grows and grows": edited(
        "tokenizer.json", normalizer={"type": "Sequence", "normalizers": [GROWTH] * 9}
    ),
    "tokens beyond the weights": merged("tokenizer.json", "model", vocab=VOCABULARY | {"!": 10**6}),
    "a shard of 5,000 characters": both(
        replaced("model.safetensors"),
        edited(INDEX, metadata={}, weight_map={"lm_head.weight": "x" * 5000}),
    ),
    "a template that fails": written("chat_template.jinja", "{{ raise_exception('no\nsystem') }}"),
    "a template that looks inside": written(
        "chat_template.jinja", "{{ messages.__class__.__mro__ }}"
    ),
    "a template without a reply": written(
        "chat_template.jinja", "{{ messages[0].content }}{{ messages[1].content }}"
    ),
}
"""What is refused in a line."""

BOMBS = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "a power": "{{ 10 ** (10 ** 9) }}",
}
LARGE = {
    "a product": "{{ 'a' * 20000000000 }}",
    "an output": "{{ 'a' * 20000000 }}",
    "a list": "{% set ns = namespace(a=['a']) %}{% for i in range(99) %}"
    "{% set ns.a = ns.a + ns.a %}{% endfor %}",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.save(tmp_path / "model")


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_not_read_has_no_effect(name: str, folder: Path, run: Run) -> None:
    plain = run("run", "README.md", "--tags", "tags.json", model=str(folder))
    HARMLESS[name](folder)
    outcome = run("run", "README.md", "--tags", "tags.json", model=str(folder))
    assert (outcome.code, outcome.out) == (0, plain.out)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_in_a_line(name: str, folder: Path, run: Run) -> None:
    REFUSED[name](folder)
    outcome = run("run", "README.md", "--tags", "tags.json", model=str(folder))
    assert outcome.code == 3, outcome.err
    assert outcome.out == ""
    check_line(outcome.err)
    assert len(outcome.err) < 1000


@pytest.mark.parametrize("name", ["a thousand million labels", "attention that compiles"])
def test_a_plan_is_not_led_astray_either(name: str, folder: Path, run: Run) -> None:
    HARMLESS[name](folder)
    begun = time.monotonic()
    assert run("models", "plan", str(folder)).code == 0
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("name", ["linear attention", "layers without end", "quantisation"])
def test_a_plan_refuses_the_same(name: str, folder: Path, run: Run) -> None:
    REFUSED[name](folder)
    outcome = run("models", "plan", str(folder))
    assert (outcome.code, outcome.out) == (3, "")
    check_line(outcome.err)


@pytest.mark.parametrize("name", BOMBS)
def test_a_template_ends_when_its_time_is_over(name: str) -> None:
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises(LoadError, match="takes more than 2 s"):
        template.render(BOMBS[name], {})
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.ru_utime - begun.ru_utime < template.SECONDS + 2


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no limit on addresses")
@pytest.mark.parametrize("name", LARGE)
def test_a_template_cannot_take_the_memory(name: str) -> None:
    script = (
        "import resource, sys\n"
        "from tagger.errors import LoadError\n"
        "from tagger.models import template\n"
        "try: template.render(sys.stdin.read(), {})\n"
        "except LoadError as error: print(error, file=sys.stderr)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=LARGE[name], capture_output=True, text=True
    )
    # On a slow machine the time is over before the memory is full.
    refusals = "needs more than 1,024 MiB|is longer than 1,048,576|takes more than 2 s"
    assert re.search(refusals, done.stderr)
    assert int(done.stdout) < 1.5 * template.MEMORY


def test_templates_render_as_with_transformers() -> None:
    source = (
        "{%- if tools %}tools{% endif -%}\n{% for message in messages %}\n"
        "    {%- if loop.index > 9 %}{% break %}{% endif %}\n"
        "{% generation %}{{ message.role + bos_token }}{% endgeneration %}\n"
        "{{ message | tojson(indent=2) }} {{ {'a': 'é<'} | tojson }}\n{% endfor %}"
        "{% set ns = namespace(n=0) %}{% set ns.n = 3 %}{{ ns.n }}{{ enable_thinking }}"
        "{{ strftime_now('%%') }}{{ undefined_name is defined }}"
    )
    messages = [{"role": "system", "content": "A'b"}, {"role": "user", "content": "ü"}]
    theirs = tiny.tokenizer().apply_chat_template(
        messages, chat_template=source, tokenize=False, enable_thinking=False, bos_token="<b>"
    )
    context = {
        "messages": messages, "tools": None, "documents": None, "enable_thinking": False,
        "add_generation_prompt": False, "bos_token": "<b>",
    }  # fmt: skip
    assert template.render(source, context) == theirs


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_only_known_keys_reach_transformers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    make = AutoConfig.for_model

    def noted(name: str, **keys: Any) -> Any:
        given.update(keys)
        return make(name, **keys)

    monkeypatch.setattr(AutoConfig, "for_model", noted)
    config = tiny.KINDS[kind][0]
    plain = native({"model_type": kind}).to_dict()
    others = {field.name for field in dataclasses.fields(config)} | {
        "attn_implementation", "_attn_implementation", "experts_implementation", "num_labels",
        "auto_map", "quantization_method", "per_layer_config", "output_attentions", "dtype",
        "torch_dtype", "name_or_path", "fusion_config", "transformers_weights", "evil",
    }  # fmt: skip
    others -= {*ARCHITECTURES[kind].model_fields, *shape.Window.model_fields}
    made = native({"model_type": kind, **dict.fromkeys(others, "evil")})
    assert set(given) <= set(ARCHITECTURES[kind].model_fields)
    assert made.to_dict() == plain


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_known_keys_are_all_that_the_model_is_computed_by(kind: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "rms_norm_eps": 1e-3,
        "rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 5000.0,
                            "original_max_position_embeddings": 1024},
    } | ({"norm_topk_prob": True} if "moe" in kind else {})  # fmt: skip
    tiny.network(kind, **settings).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    config(attn_implementation="eager", experts_implementation="batched_mm")(tmp_path)
    ours = load(str(tmp_path), device="cpu", dtype="float32").network
    assert ours.config._attn_implementation == "sdpa"
    assert ours.config._experts_implementation == plain.config._experts_implementation
    ids = torch.arange(5, 60)[None]
    with torch.inference_mode():
        assert ours(ids).logits.equal(plain(ids).logits)


def test_what_libraries_print_is_no_result(folder: Path) -> None:
    """Also what C and Rust print, and to a real pipe."""
    program = (
        "import os\nfrom tagger.models import stdout\nprint('before')\n"
        "with stdout.kept_for_results():\n    print('python')\n    os.write(1, b'native\\n')\n"
        "print('after')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "before\nafter\n"
    assert sorted(done.stderr.split()) == ["native", "python"]
