"""The audit renders kept documents again and finds those that do not say what was issued (P4)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from billow.types.v1.invoice_pb2 import Invoice
from core.documents.formats import FORMATS
from core.documents.load_keys import load_keys
from core.documents.renderer import Renderer
from core.documents.renderers import make_renderers
from core.storage.bodies import Bodies
from core.storage.mysql.reader import PrimaryReader
from core.storage.segment_reader import SegmentReader
from press.kept import key_of
from stack import Stack
from tests.support.archiving import audited, told
from tests.support.audit_subject import DOCUMENTS, number, sound_stores
from tests.support.databases import OwnStores
from tests.support.documents import FONT

MADE = {name: made for name, made in FORMATS.items() if name != "ubl"}  # the sums of test invoices are no EN 16931's


@pytest.fixture
async def stores(data_stores: Stack, tmp_path: Path) -> AsyncIterator[OwnStores]:
    async with sound_stores(data_stores, tmp_path) as opened:
        yield opened


async def render(stores: OwnStores, renderer: Renderer, place: int) -> bytes:
    """Renders the invoice at that place, archived or not."""
    reader = PrimaryReader(primary=lambda: stores.primary)
    archived = SegmentReader(objects=stores.objects).read_body
    row = (await reader.by_number([number(place)]))[number(place)]
    body = await Bodies(batch=reader.batch, segment=reader.segment, archived=archived).read(row)
    return renderer.render(Invoice.FromString(body))


async def test_kept_documents_are_rendered_again(stores: OwnStores) -> None:
    renderers = make_renderers(font=FONT, keys=load_keys(stores.settings.documents.signing))
    plain = make_renderers(font=FONT)
    kept = {key_of(made, number(0)): await render(stores, renderers[name], 0) for name, made in MADE.items()}
    kept[key_of(FORMATS["xml"], number(15))] = await render(stores, plain["xml"], 15)
    wrong = {key_of(made, number(1)): await render(stores, renderers[name], 2) for name, made in MADE.items()}
    wrong[key_of(FORMATS["xml"], number(3))] = (await render(stores, renderers["xml"], 3)).replace(
        b"widget 1", b"widget X"
    )
    wrong[key_of(FORMATS["pdf"], number(3))] = await render(stores, renderers["pdf"], 3) + b"\n"
    wrong[key_of(FORMATS["ofd"], number(3))] = b"x"
    kept[f"documents/xml/1/{number(4)}.xml"] = b"older"
    for key, content in (kept | wrong).items():
        await stores.objects.put(key, content, retain_until_us=time.time_ns() // 1_000 + 60_000_000)
    try:
        outcome = await audited(stores)
    finally:  # the bucket is shared by the tests of a session; this hides the objects
        for key in kept | wrong:
            await stores.objects._client.delete_object(Bucket=stores.settings.object_store.bucket, Key=key)
    (report,) = [report for report in outcome.reports if report.name == DOCUMENTS]
    assert {check: sorted(lines) for check, lines in told(outcome).items()} == {
        DOCUMENTS: sorted(f"object {key}: is not what is rendered of its invoice" for key in wrong)
    }
    assert report.notes == [
        "1 of older versions were not rendered again",
        f"{len(kept) + len(wrong) - 1} were rendered again",
        "1 of them are from before there was a key",
    ]
