"""A tiny model as publishers ship one, and the places to fetch it from, all on this machine."""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import gguf
import torch

from support import tiny
from tagger.models.fetch.catalogue import CatalogueEntry
from tagger.models.fetch.mirror import Mirror, Wheel

Q8, Q5, F32 = (gguf.GGMLQuantizationType[name] for name in ("Q8_0", "Q5_0", "F32"))
NAME = "tiny-coder"
FILE = "tiny-coder-q8_0.gguf"


def write_gguf(
    path: Path,
    network: torch.nn.Module,
    *,
    embedding: Any = Q8,
    architecture: str = "qwen2",
    without: str = "",
    extra: Mapping[str, torch.Tensor] | None = None,
) -> Path:
    """Write a network of `tiny` as GGUF, with the output matrix beside the embedding even if tied.

    Like the published files: matrices quantised, the embedding coarser if `embedding` says so, the
    rest in float32. `without` leaves one tensor out, `extra` adds some.
    """
    config: Any = network.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    _add_tokenizer(writer, config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers)
    tensors = {
        names.get_name(name, try_suffixes=(".weight", ".bias")): tensor
        for name, tensor in network.state_dict().items()
    }
    for name, tensor in {**tensors, **(extra or {})}.items():
        if name == without:
            continue
        kind = F32 if tensor.dim() == 1 else embedding if name == "token_embd.weight" else Q8
        writer.add_tensor(name, gguf.quants.quantize(tensor.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any, size: int) -> None:
    backend = tiny.tokenizer().backend_tokenizer
    added = {token.content: token.special for token in backend.get_added_tokens_decoder().values()}
    tokens = sorted(backend.get_vocab(), key=backend.get_vocab().__getitem__)
    kinds = [{True: 3, False: 4, None: 1}[added.get(token)] for token in tokens]
    padding = range(len(tokens), size)
    merges = json.loads(backend.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens + [f"[PAD{number}]" for number in padding])
    writer.add_token_types(kinds + [5] * len(padding))
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_chat_template(tiny.CHATML)


def published(content: bytes, wheels: Path, parts: int = 3) -> CatalogueEntry:
    """Cut a file into wheels in the folder `wheels`, and return its catalogue entry."""
    wheels.mkdir(exist_ok=True)
    size = -(-len(content) // parts)
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    mirror = Mirror(
        member="*/data/part*.bin",
        wheels=tuple(_wheel(wheels, number, piece) for number, piece in enumerate(pieces, 1)),
    )
    return CatalogueEntry(
        name=NAME,
        repository="Tiny/Tiny-Coder-GGUF",
        revision="main",
        file=FILE,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        licence="Apache-2.0",
        parameters=40_000,
        memory_bytes=10**9,
        mirror=mirror,
        notes="Made by a test.",
    )


def _wheel(folder: Path, number: int, piece: bytes) -> Wheel:
    module, version = f"tiny_model_part{number}", "0.1.0"
    package, about = module.replace("_", "-"), f"{module}-{version}.dist-info"
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        # Importing or installing the wheel would be noticed.
        archive.writestr(f"{module}/__init__.py", "raise RuntimeError('this is data')")
        archive.writestr(f"{module}/data/part{number:02}.bin", piece)
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Wheel(package=package, version=version, bytes=len(content), sha256=digest)


@contextmanager
def hub(
    content: bytes, *, ranges: bool = True, sent: list[int] | None = None, most: int | None = None
) -> Iterator[str]:
    """Serve `content` as the Hub serves a file, whatever its name; give the address.

    Args:
        content: what is served.
        ranges: whether parts of it may be asked for.
        sent: gets the number of bytes of each answer.
        most: bytes after which an answer breaks off.

    """

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(0)

        def answer(self, start: int) -> None:
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                whole = len(content)
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()

        def do_GET(self) -> None:
            if "/resolve/" not in self.path:  # what else the Hub's client asks for now and then
                self.send_error(404)
                return
            asked = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")
            start = int(asked) if ranges else 0
            self.answer(start)
            body = content[start:][:most]
            self.wfile.write(body)
            if sent is not None:
                sent.append(len(body))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
