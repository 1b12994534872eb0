"""A batch that is killed at random moments and goes on each time.

`TAGGER_TEST_KILLS=30 python -m pytest tests/batch/test_batch_kill.py` kills it more often.
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("TAGGER_TEST_KILLS", "3"))
COUNT = 200


def test_a_killed_batch_goes_on_to_the_same_bytes(tmp_path: Path, tiny_folder: Path) -> None:
    draw = random.Random(KILLS)
    words = ["game", "engine", "terminal", "http", "client", "json", "server", "parser", "of"]
    with (tmp_path / "dump.jsonl").open("w") as file:
        for number in range(COUNT):
            text = " ".join(draw.choices(words, k=draw.randint(1, 400)))
            file.write(json.dumps({"id": number, "readme": text}) + "\n")
    (tmp_path / "tags.json").write_text('["cli", "game", "http", "http-client", "json"]')
    tagger = str(Path(sys.executable).with_name("tagger"))
    command = [tagger, "batch", "dump.jsonl", "--tags", "tags.json", "--model", str(tiny_folder)]

    def start(output: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*command, "--quiet", "-o", output], cwd=tmp_path, stderr=subprocess.PIPE
        )

    def lines() -> int:
        path = tmp_path / "killed.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    whole = start("whole.jsonl")
    assert whole.communicate()[1] == b""
    expected = (tmp_path / "whole.jsonl").read_bytes()
    assert expected.count(b"\n") == COUNT

    marks = sorted(draw.sample(range(COUNT - 5), KILLS))
    for mark in marks:
        process = start("killed.jsonl")
        while lines() < mark:
            assert process.poll() is None, process.communicate()
            time.sleep(0.0005)
        time.sleep(draw.uniform(0, 0.02))
        process.kill()
        process.communicate()
        assert process.returncode == -9, "it was still at work"
    last = start("killed.jsonl")
    assert last.communicate()[1] == b""
    assert (tmp_path / "killed.jsonl").read_bytes() == expected
