"""`tagger serve` and `tagger mcp` as programs: what they refuse to start with, and how they end."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import mcp.client
import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client

from support import serving
from support.console import Run
from support.messages import check_line
from support.serving import PATIENCE, wait_until

README = {"readme": "A game engine for the terminal. " * 20}
PROGRAM = [sys.executable, "-m", "tagger"]
LISTENING = re.compile(r"listening on (\S+)")


@pytest.mark.slow
def test_sigterm_ends_the_server_when_everything_accepted_is_answered(
    tiny_folder: Path, workplace: Path, request: pytest.FixtureRequest
) -> None:
    command = [*PROGRAM, "serve", "--port", "0", "--model", str(tiny_folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    request.addfinalizer(process.communicate)
    request.addfinalizer(process.kill)
    assert process.stderr is not None
    address = next(found[1] for line in process.stderr if (found := LISTENING.search(line)))
    wait_until(lambda: serving.get(f"{address}/readyz").status_code == 200)

    def tag(_: int) -> int:
        body = {"readmes": [README] * 8}
        return serving.post(f"{address}/v1/tag", json=body).status_code

    with ThreadPoolExecutor(8) as clients:
        requests = [clients.submit(tag, number) for number in range(8)]
        wait_until(lambda: "tagger_waiting 64.0" in serving.get(f"{address}/metrics").text)
        process.send_signal(signal.SIGTERM)
        assert [request.result() for request in requests] == [200] * 8
    assert process.wait(PATIENCE) == 0
    with pytest.raises(httpx2.ConnectError):
        serving.get(f"{address}/healthz")


SLOW = """
import sys, time
from tagger.cli import main
from tagger.methods.rank.rank import Rank
Rank.read = lambda *_: print("reading", file=sys.stderr) or time.sleep(600)
main()
"""


@pytest.mark.slow
def test_sigterm_ends_the_server_at_once_when_nobody_waits_any_more(
    tiny_folder: Path, workplace: Path, request: pytest.FixtureRequest
) -> None:
    command = [sys.executable, "-c", SLOW, "serve", "--port", "0", "--model", str(tiny_folder)]
    process = subprocess.Popen([*command, "--timeout", "1"], stderr=subprocess.PIPE, text=True)
    request.addfinalizer(process.communicate)
    request.addfinalizer(process.kill)
    assert process.stderr is not None
    address = next(found[1] for line in process.stderr if (found := LISTENING.search(line)))
    wait_until(lambda: serving.get(f"{address}/readyz").status_code == 200)
    assert serving.post(f"{address}/v1/tag", json=README).status_code == 504
    assert "reading\n" in process.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_other_machines_need_a_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("0.0.0.0", "::", "example.com"):
        outcome = run("serve", "--host", host)
        assert outcome.code == 2
        check_line(outcome.err)
    monkeypatch.setenv("TAGGER_SERVE_KEY", "two words")
    outcome = run("serve")
    assert outcome.code == 2
    check_line(outcome.err)


def test_a_kubernetes_service_called_tagger_sets_no_port(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setenv("TAGGER_PORT", port)
        assert f"port {port}" in run("serve", "-q").err
    monkeypatch.setenv("TAGGER_PORT", "tcp://10.0.0.1:8000")
    check_line(run("serve", "--host", "0.0.0.0").err)  # and nothing about a port
    monkeypatch.setenv("TAGGER_PORT", "eighty")
    check_line(run("serve").err)


def test_an_address_that_is_taken(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = run("serve", "-q", "--port", str(taken.getsockname()[1]))
    assert outcome.code == 2
    assert "cannot listen on 127.0.0.1 port" in outcome.err


def test_what_cannot_be_served_is_said_before_anything_is_loaded(run: Run) -> None:
    for command in ("serve", "mcp"):
        for wrong in (("--tags", "none.json"), ("--min-tags", "5"), ("--head", "none.safetensors")):
            outcome = run(command, "-q", *wrong)
            assert outcome.code == 2
            assert outcome.out == ""
            check_line(outcome.err)


@pytest.mark.slow
def test_an_agent_starts_its_server_itself(workplace: Path, tiny_folder: Path) -> None:
    async def talk() -> None:
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "tagger", "mcp", "-q", "--model", str(tiny_folder)],
            env=dict(os.environ),
        )
        async with mcp.client.Client(stdio_client(server)) as client:
            answer = await client.call_tool("tag_readme", {"readme": "A game."})
            assert not answer.is_error
            assert answer.structured_content is not None
            assert answer.structured_content["tags"]

    asyncio.run(talk())
