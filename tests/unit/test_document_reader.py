"""The reading process: hostile documents are refused in bounded time and memory, and the next one is read (P9)."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import psutil
import pytest

from core import limits
from core.documents.findings import SignatureState, recognized
from core.documents.load_keys import load_checker
from core.documents.read_invoice import Refusal, Unreadable
from core.documents.renderers import make_renderers
from core.domain.errors import BillowError, Reason
from core.settings import SigningSettings
from press import processes
from server import document_reader_process
from server.document_reader import ProcessReader
from tests.support.documents import FONT, NUMBER, issued_invoice
from tests.support.hostile_documents import hostile_documents
from tests.support.signing_keys import key_pair, ring

DOCUMENTS = {name: made.render(issued_invoice(3)) for name, made in make_renderers(font=FONT).items() if name != "ubl"}
ROUNDS = 150
SEED = 20_261_122


@pytest.fixture
async def reader() -> AsyncIterator[ProcessReader]:
    made = ProcessReader(signing=SigningSettings())
    yield made
    await made.close()


async def pid_of(reader: ProcessReader) -> int:
    """Takes the idle process out and puts it back."""
    slots = reader._processes._slots
    process = await slots.get()
    slots.put_nowait(process)
    assert process is not None
    return process.pid


async def test_hostile_documents_are_refused_and_the_next_one_is_read(reader: ProcessReader) -> None:
    await reader.read(DOCUMENTS["xml"], public=True)
    first = await pid_of(reader)
    for name, content, refusals in hostile_documents():
        assert recognized(content) is not None, name
        with pytest.raises(Unreadable) as refused:
            await reader.read(content, public=True)
        assert refused.value.refusal in refusals, (name, refused.value.message)
        peak = psutil.Process(await pid_of(reader)).memory_info().vms
        assert peak <= limits.READER_MEMORY_BYTES_MAX, name
    for content in DOCUMENTS.values():
        assert (await reader.read(content, public=True)).number == NUMBER
    assert await pid_of(reader) == first  # nothing of this corpus had to be killed


async def test_a_document_that_takes_too_long_is_refused_and_the_next_one_is_read() -> None:
    reader = ProcessReader(signing=SigningSettings(), read_max_ms=1)
    with pytest.raises(Unreadable) as refused:
        await reader.read(DOCUMENTS["pdf"], public=True)
    assert refused.value.refusal is Refusal.TOO_COSTLY
    reader._processes.work_max_ms = 30_000
    assert (await reader.read(DOCUMENTS["pdf"], public=True)).number == NUMBER
    await reader.close()


@pytest.mark.parametrize("number", [signal.SIGXCPU, signal.SIGSEGV, signal.SIGKILL])
async def test_who_ended_the_process_decides_what_is_told(reader: ProcessReader, number: signal.Signals) -> None:
    await reader.read(DOCUMENTS["xml"], public=True)
    pid = await pid_of(reader)
    os.kill(pid, signal.SIGSTOP)
    reading = asyncio.create_task(reader.read(DOCUMENTS["xml"], public=True))
    await asyncio.sleep(0)
    os.kill(pid, number)
    os.kill(pid, signal.SIGCONT)
    if number is signal.SIGKILL:  # not the document's doing: it may be brought again
        with pytest.raises(BillowError) as lost:
            await reading
        assert lost.value.reason is Reason.OVERLOADED
        assert lost.value.retry_delay_ms
    else:
        with pytest.raises(Unreadable) as refused:
            await reading
        assert refused.value.refusal is Refusal.TOO_COSTLY
    assert (await reader.read(DOCUMENTS["xml"], public=True)).number == NUMBER
    assert await pid_of(reader) != pid


async def test_callers_without_a_key_leave_room_for_those_with_one() -> None:
    reader = ProcessReader(signing=SigningSettings(), waiting_max=4, waiting_public_max=2)
    public = [reader.read(DOCUMENTS["xml"], public=True) for _ in range(3)]
    keyed = [reader.read(DOCUMENTS["xml"], public=False) for _ in range(3)]
    answers = await asyncio.gather(*public, *keyed, return_exceptions=True)
    refused = [isinstance(answer, BillowError) and answer.reason is Reason.OVERLOADED for answer in answers]
    assert refused == [False, False, True, False, False, True]
    await reader.close()


async def test_documents_are_read_and_compared(reader: ProcessReader) -> None:
    body = issued_invoice(3).SerializeToString()
    for content in DOCUMENTS.values():
        read = await reader.read(content, public=False)
        assert (read.signature, read.whole_file) == (SignatureState.UNSIGNED, False)
        found = await reader.compare(content, body, public=False)
        assert [each.path for each in found.differences] == ["currency"]  # this body has none
    assert not await reader.same_signature(DOCUMENTS["pdf"], DOCUMENTS["xml"], public=False)


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_garbled_documents_are_read_or_refused_never_a_fault(name: str) -> None:
    """Seeded: flips, cuts, doublings and numbers made large, in the same process code but not confined."""
    chance = random.Random(SEED)
    key, certificate = key_pair()
    good = make_renderers(font=FONT, keys=ring(key, certificate))[name].render(issued_invoice(3))
    checker = load_checker(SigningSettings())
    outcomes = set()
    for round_ in range(ROUNDS):
        content = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(content))
            change = chance.randrange(4)
            if change == 0:
                content[place] ^= 1 << chance.randrange(8)
            elif change == 1:
                del content[place : place + chance.randrange(1, 200)]
            elif change == 2:
                content[place:place] = content[max(place - 60, 0) : place]
            else:
                content[place : place + 2] = b"99"
        outcome, told = document_reader_process.answer("read", bytes(content), checker)
        assert outcome in (processes.DONE, processes.REFUSED), (round_, told)
        outcomes.add(outcome)
    assert processes.REFUSED in outcomes


def test_the_process_gives_itself_the_limits() -> None:
    """Memory that nobody may have, asked for in a process confined as the reading one is."""
    code = (
        "from server.document_reader_process import confine; confine()\n"
        f"try: bytearray({limits.READER_MEMORY_BYTES_MAX})\nexcept MemoryError: print('bounded')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "bounded\n", done.stderr


def test_a_server_loads_none_of_the_libraries_that_read_and_render_documents() -> None:
    """What hostile bytes are given to is in the reading process only; it would be 18 MiB of every server, too."""
    code = (
        "import sys, server.bootstrap, workers.bootstrap\n"
        "print(*sorted({'lxml', 'pikepdf', 'reportlab', 'signxml', 'fontTools'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "\n", done.stdout + done.stderr
