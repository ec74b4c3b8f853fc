"""How Redis keeps what the caches put there, by the configuration that the stack gives it."""

from __future__ import annotations

from dataclasses import replace

from core.settings import load
from core.storage.redis.issue_cache import RedisIssueCache
from core.storage.redis.keys import ENTRIES, entry_place
from core.storage.redis.link import RedisLink
from stack import Stack
from tests.contract.test_caches import of_one_hundred

LONGEST_TAX_ID = "9" * 20


async def test_a_hundred_entries_lie_in_one_piece(data_stores: Stack) -> None:
    """Each would have a home of its own if there were more of them, or they were longer, than it is told to allow."""
    settings = load(data_stores.config_path).redis
    issued = [replace(item, buyer_tax_id=LONGEST_TAX_ID) for item in of_one_hundred(100)]
    key, _ = entry_place(issued[0].number)
    link = RedisLink(settings=settings)
    try:
        await RedisIssueCache(link=link, settings=settings).remember(issued, {issued[0].seller_key: LONGEST_TAX_ID})
        assert await link.family(ENTRIES).call("HLEN", key) == 100
        assert await link.call("OBJECT", "ENCODING", key) in (b"listpack", b"ziplist")
    finally:
        await link.close()
