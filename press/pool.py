"""The press: a few processes that render documents, so that rendering never holds the event loop that issues."""

from __future__ import annotations

import json
from dataclasses import asdict

from core import limits
from core.documents.renderer import NotRenderable
from core.settings import SigningSettings
from press.processes import DONE, REFUSED, Processes, ProcessFailed


class PressFailed(Exception):
    """Rendering failed; the text is the traceback of the process, or says how the process ended."""


class ProcessPress:
    """The Press of press/documents.py over up to `processes` processes, started when first needed.

    At most `waiting_max` renderings wait or are under way; more are refused with OVERLOADED. One that takes longer
    than `render_max_ms` fails, and its process is replaced. A caller that goes away ends its waiting, not the
    rendering. `signing` says which keys sign; the processes open them. Belongs to one event loop.
    """

    def __init__(
        self,
        *,
        font: str,
        processes: int,
        signing: SigningSettings | None = None,
        waiting_max: int = limits.DOCUMENTS_WAITING_MAX,
        render_max_ms: int = limits.DOCUMENT_RENDER_MAX_MS,
    ) -> None:
        self._processes = Processes(
            module="press.process",
            arguments=(font, json.dumps(asdict(signing or SigningSettings()))),
            processes=processes,
            waiting_max=waiting_max,
            work_max_ms=render_max_ms,
        )

    async def render(self, format_name: str, body: bytes) -> bytes:
        """Renders a canonical body. Raises OVERLOADED, NotRenderable, PressFailed."""
        try:
            outcome, content = await self._processes.answer(format_name, body)
        except ProcessFailed as error:
            raise PressFailed(str(error)) from error
        if outcome == DONE:
            return content
        if outcome == REFUSED:
            raise NotRenderable(content.decode())
        raise PressFailed(content.decode())

    async def close(self) -> None:
        """Finishes what is under way and ends the processes."""
        await self._processes.close()
