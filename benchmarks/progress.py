"""What a benchmark is doing: a bar with its present step on a terminal, a line a step elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar


class Progress:
    """Shows the parts done of all, and the step under way."""

    def __init__(self, *, parts: int, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._part = ""
        self._bar = Bar(
            SpinnerColumn(),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=parts)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def begin(self, part: str) -> None:
        """A part begins."""
        self._part = part
        self.tell("")

    def tell(self, step: str) -> None:
        """A step begins."""
        words = f"{self._part}: {step}" if step else self._part
        if self._console.is_terminal:
            self._bar.update(self._task, description=words)
        elif step:
            self._console.print(f"{time.monotonic() - self._began:5.0f} s  {words}", highlight=False, soft_wrap=True)

    def end(self) -> None:
        """A part has ended."""
        self._bar.advance(self._task)
