"""How a start or stop tells what it is doing: a spinner and ticks on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table


class Progress(Protocol):
    """Shown the steps of a start or stop, from several threads."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Wraps one step; an exception inside means that it failed."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:  # noqa: ARG002  # shows nothing
        """Wraps one step."""
        yield


class Plain:
    """One line when a step has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Wraps one step."""
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self._console.print(f"failed {name}")
            raise
        self._console.print(f"ok     {name} ({time.monotonic() - began:.1f} s)")


class Spinners:
    """A spinner for each step under way, a tick and its time for each one done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._running: dict[str, Spinner] = {}
        self._live: Live | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Wraps one step."""
        began = time.monotonic()
        self._change(name, began=True)
        mark = "[red]✗[/]"
        try:
            yield
            mark = "[green]✓[/]"
        finally:
            self._change(name, began=False)
            self._console.print(f"{mark} {name} [dim]{time.monotonic() - began:.1f} s[/]", highlight=False)

    def _change(self, name: str, *, began: bool) -> None:
        with self._lock:
            if began:
                self._running[name] = Spinner("dots", name)
            else:
                del self._running[name]
            if self._live is None:
                self._live = Live(console=self._console, transient=True, refresh_per_second=10)
                self._live.start()
            table = Table.grid()
            for spinner in self._running.values():
                table.add_row(spinner)
            self._live.update(table)
            if not self._running:
                self._live.stop()
                self._live = None


def for_console(console: Console) -> Progress:
    """Returns the form that suits the console."""
    return Spinners(console) if console.is_terminal else Plain(console)
