"""What servers answer, byte for byte, and what models write in it."""

import json
from random import Random
from typing import Any

from fuzz.grammar import damaged, mutated, size
from fuzz.inputs import NAMES, as_json, value
from fuzz.readmes import text

_STATUS = (
    200,
    200,
    200,
    200,
    201,
    204,
    302,
    307,
    400,
    401,
    402,
    403,
    404,
    408,
    409,
    422,
    429,
    500,
    503,
)
_HEADERS = (
    *("Retry-After: -1", "Retry-After: nan", "Retry-After: 1e999", "retry-after-ms: 1"),
    *("Content-Encoding: gzip", "Content-Encoding: x", "Transfer-Encoding: chunked", "Location: /"),
    *("Location: file:///etc/passwd", "Content-Type: text/event-stream", "Connection: keep-alive"),
    *(
        "X: " + "y" * 70_000,
        "Content-Type: application/json; charset=utf-7",
        "x-should-retry: true",
    ),
    *("Content-Length: 5", "Content-Length: -1", "Set-Cookie: a=b", "\x00: \xff", " folded", ""),
)


def answers(random: Random) -> list[bytes]:
    """Return the bytes that a server sends to one request after another, the last for good."""
    return [_answer(random) for _ in range(random.choice((1, 1, 2, 4)))]


def _answer(random: Random) -> bytes:
    if random.random() < 0.05:
        return random.randbytes(random.randint(0, 300))
    status, body = random.choice(_STATUS), _body(random)
    if random.random() < 0.5:
        status = 200
    head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n"
    if random.random() < 0.9:
        head += f"Content-Length: {len(body)}\r\n"
    while random.random() < 0.2:
        head += random.choice(_HEADERS) + "\r\n"
    whole = (head + "\r\n").encode("latin-1") + body
    return damaged(random, whole) if random.random() < 0.05 else whole


def _body(random: Random) -> bytes:
    if random.random() < 0.15:
        errors = (
            "response_format",
            "temperature",
            "max_completion_tokens",
            "model " * 99,
            "no",
            "",
        )
        return as_json(random, {"error": {"message": random.choice(errors)}})
    if random.random() < 0.1:
        return as_json(random, value(random, 6))
    message: dict[str, Any] = {"role": "assistant", "content": _reply(random)}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    if random.random() < 0.15:
        place = random.choice((message, choice, body))
        place[random.choice((*place, "refusal", "usage"))] = value(random)
    return as_json(random, body)


def _reply(random: Random) -> str:
    """Return what a model writes: a reply, or something like one."""
    tags: list[Any] = random.choices((*NAMES, "unknown"), k=random.randint(0, 4))
    if random.random() < 0.1:
        tags = [value(random), *tags]
    made = json.dumps({"id": random.choice(("1375", "1375", "1375", 1375, "x")), "tags": tags})
    marks = (
        "/*",
        "//",
        "</think>",
        "<think>",
        "```json\n",
        "[",
        "{",
        '"',
        "'",
        '{"a":',
        "\\",
        "#",
        ",",
    )
    match random.randrange(8):
        case 0:
            return random.choice(marks) * size(random, 8_000) + made
        case 1:
            return made + "".join(random.choices(marks, k=size(random, 4_000)))
        case 2:
            return f"<think>{text(random, 500)}</think>Here you are:\n```json\n{made}\n```"
        case 3:
            return mutated(random, mutated(random, made))
        case 4:
            return text(random, 30_000)
        case 5:
            return made.replace('"', "'")
    return made
