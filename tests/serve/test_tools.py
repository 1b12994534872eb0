"""The tools for agents, called by the SDK's own client."""

import asyncio
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcp.client
import pytest

from support.messages import MESSAGES
from support.serving import TAGS
from tagger.errors import LoadError
from tagger.evaluation.explain import explain
from tagger.methods.rank.rank import Rank
from tagger.readme.readme import Readme
from tagger.selection import Selection
from tagger.serve import tools
from tagger.tagger import Tagger

GAME = "# Voxel\n\nA game engine for the terminal."


def call(open_rank: Callable[[], Rank], rank: Rank, tool: str, **arguments: Any) -> Any:
    """Return what a tool answers, or its error."""

    async def talk() -> Any:
        server = tools.server(rank.vocabulary, open_rank, Selection())
        async with mcp.client.Client(server) as client:
            listed = {each.name: each for each in (await client.list_tools()).tools}
            assert listed.keys() == {"tag_readme", "list_tags", "explain_readme"}
            assert all(each.description for each in listed.values())
            assert not any(each.input_schema["additionalProperties"] for each in listed.values())
            answer = await client.call_tool(tool, arguments)
        if answer.is_error:
            return answer.content[0].text  # type: ignore[union-attr]
        return answer.structured_content

    return asyncio.run(talk())


def test_a_readme_is_tagged_as_by_run(server_rank: Rank) -> None:
    (expected,) = Tagger(server_rank).tag([Readme("README.md", GAME, "README.md")])
    found = call(lambda: server_rank, server_rank, "tag_readme", readme=GAME)
    assert found == json.loads(expected.to_json(scores=True))
    assert (
        len(call(lambda: server_rank, server_rank, "tag_readme", readme=GAME, max_tags=1)["tags"])
        == 1
    )


def test_the_vocabulary_is_listed_without_a_model(server_rank: Rank) -> None:
    found = call(lambda: pytest.fail("no model is needed"), server_rank, "list_tags")
    assert [tag["name"] for tag in found["tags"]] == TAGS


def test_a_readmes_tags_are_explained(server_rank: Rank) -> None:
    expected = explain(server_rank, Selection(), Readme("README.md", GAME, "README.md"))
    found = call(lambda: server_rank, server_rank, "explain_readme", readme=GAME, top=2)
    assert [tag["name"] for tag in found["tags"]] == [tag.name for tag in expected.tags[:2]]
    assert found["readme"]["last"] == expected.readme.last


def test_an_error_is_one_line_for_the_agent(server_rank: Rank) -> None:
    def fail() -> Rank:
        raise LoadError("the files are damaged")

    for text in (
        call(lambda: server_rank, server_rank, "tag_readme", readme=" "),
        call(fail, server_rank, "tag_readme", readme=GAME),
        call(lambda: 1 / 0, server_rank, "explain_readme", readme=GAME),  # type: ignore[arg-type, return-value]
    ):
        assert "\n" not in text
        MESSAGES.check(text)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"readme": 5, "file": 5},
        {"readme": "x", "file": "x" * 5_000},
        {"readme": "x", "threshold": 0.5},
        *({"readme": "x", "max_tags": wrong} for wrong in (0, 11, True, "3", 1.0)),
    ],
    ids=lambda arguments: str(arguments)[:40],
)
def test_arguments_that_are_refused(server_rank: Rank, arguments: dict[str, Any]) -> None:
    found = call(lambda: server_rank, server_rank, "tag_readme", **arguments)
    assert isinstance(found, str)
    assert "\n" not in found
    MESSAGES.check(found)


def test_half_a_surrogate_pair_does_not_leave_a_message_unanswered(
    server_rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"name": "client", "version": "1"}
    begin = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about}
    tool = {"name": "tag_readme", "arguments": {"readme": "A game \ud800.", "file": "\udfff"}}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": tool},
    ]
    reader, writer = os.pipe()
    os.write(writer, "".join(f"{json.dumps(message)}\n" for message in messages).encode())

    class Sent(io.BytesIO):
        """Ends the conversation when the tool has answered."""

        def write(self, data: Any) -> int:
            if b'"id":2,' in data:
                os.close(writer)
            return super().write(data)

    sent = Sent()
    with os.fdopen(reader, encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(sent))
        tools.server(server_rank.vocabulary, lambda: server_rank, Selection()).run("stdio")
    answers = {answer.get("id"): answer for answer in map(json.loads, sent.getvalue().splitlines())}
    assert answers[2]["result"]["structuredContent"]["id"] == "\ufffd"


def test_a_path_is_a_text_like_any_other(server_rank: Rank, workplace: Path) -> None:
    path = str(workplace / "README.md")
    found = call(lambda: server_rank, server_rank, "explain_readme", readme=path, file=path)
    assert found["readme"]["characters"] == len(path)
