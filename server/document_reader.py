"""Reads documents that anybody may have made, in processes of their own: in bounded time and memory."""

from __future__ import annotations

import dataclasses
import json
import signal
import struct
from typing import Final

from core import limits
from core.documents.findings import Comparison, Difference, SignatureState
from core.documents.read_invoice import Refusal, Unreadable
from core.domain.errors import BillowError, Reason, Violation
from core.settings import SigningSettings
from press.processes import DONE, OVERLOADED_RETRY_MS, REFUSED, Processes, ProcessFailed
from server.services.imports import DocumentFacts
from server.services.inspection import ReadDocument

# what is asked of the process (server/document_reader_process.py), and how two parts are told apart
READ, COMPARE, SAME_SIGNATURE, FACTS = "read", "compare", "same_signature", "facts"
LENGTH: Final = struct.Struct(">I")  # of the first of two parts

# how a document ends the process that reads it: its CPU time, a crash in a library's native code
_BY_THE_DOCUMENT: Final = frozenset({-signal.SIGXCPU, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE})


class ReadingFailed(Exception):
    """A fault in the reading process; the text is its traceback."""


class ProcessReader:
    """The DocumentReader of server/services/inspection.py over processes that are started when first needed.

    Each piece of work has READER_CPU_S_MAX of CPU and READER_MAX_MS by the clock, each process
    READER_MEMORY_BYTES_MAX; a process that ends or hangs is replaced. Belongs to one event loop.
    """

    def __init__(
        self,
        *,
        signing: SigningSettings,
        processes: int = 1,
        waiting_max: int = limits.READER_WAITING_MAX,
        waiting_public_max: int = limits.READER_WAITING_PUBLIC_MAX,
        read_max_ms: int = limits.READER_MAX_MS,
    ) -> None:
        self._processes = Processes(
            module="server.document_reader_process",
            arguments=(json.dumps(dataclasses.asdict(signing)),),
            processes=processes,
            waiting_max=waiting_max,
            work_max_ms=read_max_ms,
        )
        self._waiting_public_max = waiting_public_max

    async def read(self, content: bytes, *, public: bool) -> ReadDocument:
        """Reads a document; see the port."""
        done = await self._work(READ, content, public=public)
        (length,) = LENGTH.unpack_from(done)
        facts = json.loads(done[LENGTH.size : LENGTH.size + length])
        facts["signature"] = SignatureState(facts["signature"])
        return ReadDocument(invoice=done[LENGTH.size + length :], **facts)

    async def facts(self, content: bytes) -> DocumentFacts:
        """Reads what importing needs; see the port in server/services/imports.py."""
        told = json.loads(await self._work(FACTS, content, public=False))
        told["signature"] = SignatureState(told["signature"])
        told["faults"] = tuple(Violation(*fault) for fault in told["faults"])
        return DocumentFacts(**told)

    async def compare(self, content: bytes, body: bytes, *, public: bool) -> Comparison:
        """Compares; see the port."""
        done = await self._work(COMPARE, LENGTH.pack(len(content)), content, body, public=public)
        listed, count, same_file = json.loads(done)
        return Comparison(tuple(Difference(*item) for item in listed), count, same_file)

    async def same_signature(self, content: bytes, genuine_xml: bytes, *, public: bool) -> bool:
        """Compares signature values; see the port."""
        done = await self._work(SAME_SIGNATURE, LENGTH.pack(len(content)), content, genuine_xml, public=public)
        return bool(json.loads(done))

    async def close(self) -> None:
        """Finishes what is under way and ends the processes."""
        await self._processes.close()

    async def _work(self, name: str, *parts: bytes, public: bool) -> bytes:
        waiting_max = self._waiting_public_max if public else None
        try:
            outcome, content = await self._processes.answer(name, *parts, waiting_max=waiting_max)
        except ProcessFailed as error:
            if error.took_too_long or error.exit_code in _BY_THE_DOCUMENT:
                words = "reading the document took more time or memory than an invoice needs"
                raise Unreadable(Refusal.TOO_COSTLY, words) from error
            # not the document's doing: a process that could not start, or was ended from outside
            words = "the process that reads documents was lost"
            raise BillowError(Reason.OVERLOADED, words, retry_delay_ms=OVERLOADED_RETRY_MS) from error
        if outcome == DONE:
            return content
        if outcome == REFUSED:
            refusal, words = json.loads(content)
            raise Unreadable(Refusal(refusal), words)
        raise ReadingFailed(content.decode())
