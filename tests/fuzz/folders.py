"""Folders of models: a sound one with a few things changed."""

import json
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from fuzz.grammar import damaged, mutated
from fuzz.inputs import as_json, value
from support import tiny

_CONFIG: tuple[str, ...] = (
    *("attn_implementation", "_attn_implementation", "experts_implementation", "num_labels"),
    *("id2label", "label2id", "auto_map", "quantization_config", "layer_types", "model_type"),
    *("use_sliding_window", "sliding_window", "max_window_layers", "rope_parameters", "dtype"),
    *("rope_scaling", "rope_theta", "torch_dtype", "tie_word_embeddings", "eos_token_id"),
    *(
        "bos_token_id",
        "pad_token_id",
        "hidden_act",
        "architectures",
        "problem_type",
        "pruned_heads",
    ),
    *("is_encoder_decoder", "return_dict", "output_attentions", "use_cache", "torchscript"),
    *("chunk_size_feed_forward", "tokenizer_class", "vocab_size", "hidden_size", "rms_norm_eps"),
    *("intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("max_position_embeddings", "head_dim", "transformers_version", "attention_dropout"),
    *("initializer_range", "num_experts", "decoder_sparse_step", "mlp_only_layers", "per_layer"),
    *(
        "adapter",
        "peft_config",
        "_name_or_path",
        "base_model_tp_plan",
        "text_config",
        "name_or_path",
    ),
)
_CHOICES: tuple[Any, ...] = (
    *(
        "org/kernel",
        "flex_attention",
        "flash_attention_2",
        "paged|eager",
        "eager",
        "linear_attention",
    ),
    *("fp8", "float8_e4m3fn", "int8", "silu", "gelu_10", "qwen3", "qwen2_moe", "llama", "yarn"),
    *(
        10**9,
        4,
        32,
        64,
        512,
        2048,
        32768,
        {"rope_type": "yarn"},
        {"rope_type": "dynamic", "factor": 2},
    ),
    *(
        {"quant_method": "fp8"},
        {"quant_method": "gptq", "bits": 4, "group_size": 8},
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        [{}],
        [[1]],
    ),
    *(["linear_attention"] * 2, ["sliding_attention"] * 2, {"AutoModelForCausalLM": "m.M"}, ["M"]),
)
_TEMPLATES = (
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    '{{ "a" * 20000000000 }}',
    "{{ messages.__class__.__mro__ }}",
    "{% include 'config.json' %}",
    "{{ raise_exception('no') }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
    "{{ '%999999999d' | format(1) }}",
    "{{ 9 ** 999999999 }}",
    "{{ range(10 ** 9) | list }}",
    "{{ messages | tojson }}",
    "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
)


@cache
def _model() -> dict[str, bytes]:
    """Return the files of a sound tiny model."""
    with tempfile.TemporaryDirectory() as folder:
        return {path.name: path.read_bytes() for path in sorted(tiny.save(Path(folder)).iterdir())}


def model(random: Random) -> dict[str, bytes]:
    """Return the files of a model's folder with a few things changed."""
    files = dict(_model())
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        match random.randrange(10):
            case 0 | 1 | 2 | 3:
                _change(random, files, "config.json", _CONFIG)
            case 4:
                _change(random, files, "generation_config.json", ("eos_token_id", "chat_format"))
            case 5:
                keys = ("eos_token", "chat_template", "tokenizer_class", "auto_map", "pad_token")
                more = ("added_tokens_decoder", "model_max_length", "extra_special_tokens")
                _change(random, files, "tokenizer_config.json", keys + more)
            case 6:
                files["chat_template.jinja"] = random.choice(_TEMPLATES).encode()
                if random.random() < 0.5:
                    whole = _model()["chat_template.jinja"].decode()
                    files["chat_template.jinja"] = mutated(random, whole).encode("utf-8", "replace")
            case 7:
                places = {
                    "model.norm.weight": random.choice(("model.safetensors", "../x", "y" * 5_000))
                }
                index = {"metadata": {}, "weight_map": random.choice((places, value(random)))}
                files["model.safetensors.index.json"] = as_json(random, index)
            case 8:
                name = random.choice(sorted(files))
                files[name] = damaged(random, files[name])
            case _:
                name = random.choice((*files, "adapter_config.json", "special_tokens_map.json"))
                files[name] = as_json(random, value(random))
    return files


def _change(random: Random, files: dict[str, bytes], name: str, keys: tuple[str, ...]) -> None:
    """Give keys of a JSON file other values."""
    try:
        content = json.loads(files[name])
    except ValueError:  # changed before
        content = None
    if not isinstance(content, dict):
        content = {}
    key = random.choice((*keys, *content))
    odd = {"content": "<|im_end|>", "evil": 1, "special": True}
    content[key] = random.choice((value(random), random.choice(_CHOICES), odd))
    files[name] = json.dumps(content).encode()
