"""The press: real rendering processes; bounded, replaced when they end, never out of step (P9, P10)."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator

import pytest

from billow.types.v1 import invoice_pb2
from core.documents.formats import FORMATS, PDF, XML
from core.documents.renderer import DocumentFormat, NotRenderable
from core.documents.renderers import make_renderers
from core.domain.errors import BillowError, Reason
from core.domain.issued_invoice import IssuedInvoiceView
from core.settings import DocumentSettings
from press import process as press_process
from press.pool import PressFailed, ProcessPress
from press.processes import ANSWER, REFUSED, REQUEST, serve
from tests.support.documents import FONT, issued_invoice

BODY = issued_invoice(2).SerializeToString()


@pytest.fixture
async def press() -> AsyncIterator[ProcessPress]:
    made = ProcessPress(font=DocumentSettings().font, processes=1, waiting_max=4)
    yield made
    await made.close()


async def process_of(press: ProcessPress) -> asyncio.subprocess.Process:
    """Takes the idle process out and puts it back."""
    process = await press._processes._slots.get()
    press._processes._slots.put_nowait(process)
    assert process is not None
    return process


async def test_what_a_process_renders_is_what_we_would(press: ProcessPress) -> None:
    renderers = make_renderers(font=FONT)
    for name in (PDF.name, XML.name):
        assert await press.render(name, BODY) == renderers[name].render(invoice_pb2.Invoice.FromString(BODY))


def test_the_formats_offered_are_those_rendered() -> None:
    renderers = make_renderers(font=FONT)
    assert {name: renderer.format for name, renderer in renderers.items()} == FORMATS


async def test_more_than_may_wait_is_refused_at_once(press: ProcessPress) -> None:
    results = await asyncio.gather(*(press.render("xml", BODY) for _ in range(6)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BillowError)]
    assert [(error.reason, error.retry_delay_ms) for error in refused] == [(Reason.OVERLOADED, 500)] * 2
    assert len({result for result in results if isinstance(result, bytes)}) == 1
    assert isinstance(await press.render("xml", BODY), bytes)


async def test_a_process_that_was_killed_is_replaced(press: ProcessPress) -> None:
    first = await press.render("xml", BODY)
    process = await process_of(press)
    process.kill()
    await process.wait()
    assert await press.render("xml", BODY) == first
    assert (await process_of(press)).pid != process.pid


async def test_garbage_fails_and_the_next_one_does_not(press: ProcessPress) -> None:
    with pytest.raises(PressFailed, match="DecodeError"):
        await press.render("xml", b"\xff\xff\xff")
    assert await press.render("xml", BODY)


async def test_a_rendering_that_hangs_is_ended() -> None:
    press = ProcessPress(font=DocumentSettings().font, processes=1, render_max_ms=1)
    with pytest.raises(PressFailed, match="took longer"):
        await press.render("pdf", issued_invoice(2_000).SerializeToString())
    press._processes.work_max_ms = 30_000
    assert await press.render("xml", BODY)
    await press.close()


async def test_a_caller_that_goes_away_leaves_the_press_in_step(press: ProcessPress) -> None:
    await press.render("xml", BODY)
    task = asyncio.create_task(press.render("pdf", issued_invoice(300).SerializeToString()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await press.render("xml", BODY)).startswith(b"<EInvoice")


async def test_closing_ends_the_processes() -> None:
    press = ProcessPress(font=DocumentSettings().font, processes=2)
    await asyncio.gather(press.render("xml", BODY), press.render("xml", BODY))
    process = await process_of(press)
    await press.close()
    assert process.returncode == 0


class Choosy:
    """A renderer that takes no invoice."""

    format = DocumentFormat(name="xml", version=1, media_type="application/xml", extension="xml")

    def render(self, invoice: IssuedInvoiceView) -> bytes:
        raise NotRenderable(f"{invoice.number} is not for me")


def test_a_refusal_comes_back_in_words() -> None:
    requests = io.BytesIO(REQUEST.pack(3, len(BODY)) + b"xml" + BODY)
    answers = io.BytesIO()
    serve(lambda _, body: press_process.answer(Choosy(), body), requests, answers)
    outcome, length = ANSWER.unpack(answers.getvalue()[: ANSWER.size])
    words = answers.getvalue()[ANSWER.size :]
    assert (outcome, words) == (REFUSED, b"26110000000000000042 is not for me")
    assert length == len(words)
