"""The tools that agents are given over the Model Context Protocol.

A README comes as text, never as a path: an agent that follows a planted instruction must not get to
read files through this.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from io import TextIOWrapper
from typing import Annotated, Any

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from mcp.types import Tool
from pydantic import Field, ValidationError

from tagger import __version__
from tagger._util.text import printable
from tagger.errors import TaggerError
from tagger.evaluation.explain import Explanation, explain
from tagger.methods.rank.rank import Rank
from tagger.readme.readme import Readme
from tagger.readme.sources import MAX_ID
from tagger.selection import MAX_TAGS, Selection
from tagger.serve.body import with_whole_pairs
from tagger.serve.faults import faults
from tagger.serve.schemas import TagsOut
from tagger.tagger import Tagger
from tagger.vocabulary import Vocabulary

Text = Annotated[
    str, Field(description="The README's text, with its markup, of which 128 KiB are read.")
]
File = Annotated[
    str,
    Field(
        max_length=MAX_ID,
        description="Its file name, whose ending says how it is marked up; no file is read.",
    ),
]
MaxTags = Annotated[
    int | None, Field(strict=True, ge=1, le=MAX_TAGS, description="The most tags that are given.")
]
Top = Annotated[
    int, Field(strict=True, ge=1, le=100, description="How many of the best tags to explain.")
]


class Tools:
    """What the tools do.

    Args:
        vocabulary: the tags.
        open_rank: loads the model, when a tool first needs it.
        selection: how many tags are given.

    """

    def __init__(
        self, vocabulary: Vocabulary, open_rank: Callable[[], Rank], selection: Selection
    ) -> None:
        self._vocabulary = vocabulary
        self._open_rank = open_rank
        self._selection = selection
        self._lock = threading.Lock()  # tools are called from several threads

    def tag_readme(
        self, readme: Text, file: File = "README.md", max_tags: MaxTags = None
    ) -> dict[str, Any]:
        """Give a repository's README the best tags of the fixed list, with their confidences."""
        with self._alone():
            selection = self._chosen(max_tags)
            found = _readme(readme, file)
            (tagging,) = Tagger(self._rank, selection).tag([found])
        reply: dict[str, Any] = json.loads(tagging.to_json(scores=True))
        return reply

    def list_tags(self) -> TagsOut:
        """List the tags that a README can be given."""
        return TagsOut.of(self._vocabulary)

    def explain_readme(
        self, readme: Text, file: File = "README.md", top: Top = 10, max_tags: MaxTags = None
    ) -> Explanation:
        """Explain why a README gets its tags: the evidence for the best ones, and what was read."""
        with self._alone():
            found = _readme(readme, file)
            explained = explain(self._rank, self._chosen(max_tags), found)
        return explained.model_copy(update={"tags": explained.tags[:top]})

    def _chosen(self, max_tags: int | None) -> Selection:
        if max_tags is None:
            return self._selection
        least = min(self._selection.min_tags, max_tags)
        return replace(self._selection, max_tags=max_tags, min_tags=least)

    @cached_property
    def _rank(self) -> Rank:
        rank = self._open_rank()
        rank.prepare()
        return rank

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Use the model alone; an error becomes one line for the agent."""
        with self._lock:
            try:
                yield
            except TaggerError as error:
                raise ToolError(str(error)) from error
            except Exception as error:
                raise ToolError(f"internal error: {type(error).__name__}: {error}") from error


def _readme(text: str, file: str) -> Readme:
    return Readme.from_text(text, file, printable(file))


class _Server(MCPServer[Any]):
    """Words what is wrong with arguments plainly, and answers whatever characters they have."""

    async def list_tools(self) -> list[Tool]:
        """List the tools, none of which takes other arguments than it says."""
        closed = {"additionalProperties": False}
        return [
            each.model_copy(update={"input_schema": each.input_schema | closed})
            for each in await super().list_tools()
        ]

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Call a tool. Raises `ToolError` with one line."""
        known = {each.name: each.input_schema["properties"] for each in await self.list_tools()}
        unknown = [each for each in arguments if each not in known.get(name, arguments)]
        if unknown:
            raise ToolError(f"{printable(unknown[0])[:100]}: is not an argument of {name}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(cause := error.__cause__, ValidationError):
                found = faults(cause.errors(), arguments)
                raise ToolError("; ".join(map(str, found))) from error
            raise

    async def run_stdio_async(self) -> None:
        """Serve on standard input and output."""
        stdin = anyio.wrap_file(_Messages(sys.stdin.buffer, encoding="utf-8", errors="replace"))
        async with stdio_server(stdin) as (received, sent):
            lowlevel = self._lowlevel_server
            await lowlevel.run(received, sent, lowlevel.create_initialization_options())


class _Messages(TextIOWrapper):
    """Messages without half surrogate pairs: the SDK would leave those unanswered."""

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        return with_whole_pairs(super().readline(size))

    def close(self) -> None:
        """Leave standard input open: it belongs to the process."""
        with suppress(ValueError):
            self.detach()


def server(
    vocabulary: Vocabulary, open_rank: Callable[[], Rank], selection: Selection
) -> MCPServer[Any]:
    """Return a server of the tools; see `Tools`."""
    tools = Tools(vocabulary, open_rank, selection)
    made = _Server(
        "tagger",
        version=__version__,
        instructions="Tags from a fixed list for the READMEs of repositories.",
        log_level="CRITICAL",
    )
    for tool in (tools.tag_readme, tools.list_tags, tools.explain_readme):
        made.add_tool(tool)
    return made
