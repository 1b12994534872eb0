"""How far things are, on stderr: live on a terminal; elsewhere a batch logs a line now and then."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Self

from rich.bar import Bar
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from tagger._util.closing import Closing
from tagger._util.text import printable
from tagger.batch.pipeline import Row
from tagger.cli import options
from tagger.tagging import Failure
from tagger.types import Progress as Callback

LINE_SECONDS = 30.0
"""Seconds between plain lines."""

_BARS = 12
"""Tags that the summary draws."""

_BAR_WIDTH = 32


class _Clock:
    """Tells when the next plain line is due."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def due(self) -> bool:
        """Say whether the last line is old enough, and count from now on if it is."""
        now = time.monotonic()
        if now - self._last < LINE_SECONDS:
            return False
        self._last = now
        return True


@contextmanager
def working(what: str, *, quiet: bool) -> Iterator[None]:
    """Show that something goes on which takes a while, and for how long."""
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        redirect_stdout=False,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as live:
        live.add_task(what, total=None)
        yield


@contextmanager
def fetching(*, quiet: bool) -> Iterator[Callback]:
    """Show how many bytes of something are done."""
    with _bars(
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        quiet=quiet,
    ) as show:
        yield show


@contextmanager
def counting(*, quiet: bool) -> Iterator[Callback]:
    """Show how many of something are done, and how long the rest will take.

    Where stderr is not a terminal, a line now and then says it.
    """
    clock, live = _Clock(), Console(stderr=True).is_terminal
    with _bars(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), quiet=quiet) as show:

        def show_or_tell(what: str, done: int, total: int) -> None:
            show(what, done, total)
            if not live and clock.due():
                options.log.info("%s: %s of %s", what, f"{done:,}", f"{total:,}")

        yield show_or_tell


@contextmanager
def _bars(*columns: ProgressColumn, quiet: bool) -> Iterator[Callback]:
    """Give a callback that draws a bar for what is under way."""
    console = Console(stderr=True)
    rows: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}", markup=False),
        *columns,
        console=console,
        redirect_stdout=False,
        transient=True,
        # A log file has no use for a line that is drawn over and over.
        disable=quiet or not console.is_terminal,
    ) as live:

        def show(what: str, done: int, total: int) -> None:
            if what not in rows:
                for row in rows.values():
                    live.remove_task(row)
                rows.clear()
                rows[what] = live.add_task(what)
            live.update(rows[what], completed=done, total=total)

        yield show


class Display(Closing):
    """Counts the rows of a batch and shows how it goes.

    Args:
        total: how many READMEs there are, if that is known.
        quiet: show nothing.

    """

    def __init__(self, total: int | None, *, quiet: bool) -> None:
        self._console = Console(stderr=True)
        self._total = total
        self._quiet = quiet
        self._live = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            console=self._console,
            redirect_stdout=False,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._live.add_task("tagging", total=total, state="reading the list of tags")
        self._start = time.monotonic()
        self._clock = _Clock()
        self.rows = 0
        self.failed = 0
        self._read = 0
        self._tokens = 0
        self._suspicious = 0
        self._human = 0
        self._tags: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def close(self) -> None:
        """Stop showing."""
        self._live.stop()

    def add(self, row: Row) -> None:
        """Count a row, and show it."""
        self.rows += 1
        self._read += bool(row.tokens)
        self._tokens += row.tokens
        if isinstance(row.reply, Failure):
            self.failed += 1
            self._errors[row.reply.type] += 1
        else:
            self._suspicious += row.reply.suspicious
            self._human += row.reply.source == "human"
            self._tags.update(tag.name for tag in row.reply.tags)
        state = self._state(time.monotonic())
        self._live.update(self._task, completed=self.rows, state=state)
        if self._live.disable and not self._quiet and self._clock.due():
            options.log.info("%s", state)

    def summary(self) -> None:
        """Say what came of the batch, and which tags were given how often."""
        if self._quiet:
            return
        seconds = time.monotonic() - self._start
        parts = [f"{self._read:,} tagged in {_duration(seconds)}"]
        if self._human:
            parts.append(f"{self._human:,} decided by a person")
        if known := self.rows - self._read - self.failed - self._human:
            parts.append(f"{known:,} known already or the same as another")
        if self._suspicious:
            parts.append(f"{self._suspicious:,} suspicious")
        if self.failed:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in self._errors.most_common())
            parts.append(f"{self.failed:,} failed ({kinds})")
        noun = "README" if self.rows == 1 else "READMEs"
        options.log.info("%s %s: %s", f"{self.rows:,}", noun, ", ".join(parts))
        if not self._tags:
            return
        chart = Table.grid(padding=(0, 1))
        common = self._tags.most_common(_BARS)
        for name, count in common:
            bar = Bar(common[0][1], 0, count, width=_BAR_WIDTH)
            chart.add_row(Text(printable(name.strip())), bar, Text(f"{count:,}", justify="right"))
        self._console.print(chart)
        if rest := len(self._tags) - len(common):
            self._console.print(Text(f"and {rest:,} other tags"))

    def _state(self, now: float) -> str:
        """Return done of total, failures, speed and the time left, in words."""
        parts = [f"{self.rows:,}" + (f" of {self._total:,}" if self._total else "")]
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        seconds = now - self._start
        if self._read and seconds > 0:
            speed = self._read / seconds
            # The most wanted first: a narrow terminal cuts the end off.
            if self._total:
                parts.append(f"{_duration((self._total - self.rows) / speed)} left")
            parts.append(f"{speed:.2f} READMEs/s" if speed < 10 else f"{speed:,.0f} READMEs/s")
            parts.append(f"{self._tokens / seconds:,.0f} tokens/s")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
