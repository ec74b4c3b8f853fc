"""The archive on any S3 whose bucket was made with Object Lock.

Integrity: every upload carries its SHA-256, which the store checks before it keeps anything and remembers. Nothing else
of botocore's newer checksums is used (`when_required`): not every S3 implements trailing checksums.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from core.domain.errors import BillowError, Reason
from core.settings import ObjectStoreSettings
from core.storage.ports import ObjectMissing

S_US = 1_000_000
ATTEMPTS_MAX = 3  # of one request, the first included; the callers have their own, slower, repetition
CONNECTIONS_MAX = 16  # of one process
AWAY_RETRY_MS = 1_000
MISSING = frozenset({"404", "NoSuchKey", "NotFound", "InvalidRange"})


class S3ObjectStore:
    """The ObjectStore of core/storage/ports.py over one open client; made by `open_s3`."""

    def __init__(self, *, client: Any, settings: ObjectStoreSettings) -> None:
        self._client = client
        self._bucket = settings.bucket
        self._mode = settings.retention_mode

    async def put(self, key: str, data: bytes, *, retain_until_us: int) -> None:
        """Stores an object; see the port. A different object under the key gets a new version, as S3 does it."""
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        with self._away():
            if await self._checksum(key) == (len(data), checksum):
                return
            await self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=data,
                ContentType="application/octet-stream",
                ChecksumSHA256=checksum,
                ObjectLockMode=self._mode,
                ObjectLockRetainUntilDate=datetime.fromtimestamp(-(-retain_until_us // S_US), UTC),
            )

    async def _checksum(self, key: str) -> tuple[int, str] | None:
        """Returns size and SHA-256 (base64) of an object as the store remembers them, or None."""
        try:
            head = await self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if _code(error) in MISSING:
                return None
            raise
        return int(head["ContentLength"]), str(head.get("ChecksumSHA256", ""))

    async def read(self, key: str, *, start: int, length: int) -> bytes:
        """Reads a range; see the port."""
        with self._away(key):
            answer = await self._client.get_object(
                Bucket=self._bucket, Key=key, Range=f"bytes={start}-{start + length - 1}"
            )
            async with answer["Body"] as body:
                return bytes(await body.read())

    async def size(self, key: str) -> int | None:
        """Returns the size; see the port."""
        with self._away():
            found = await self._checksum(key)
        return None if found is None else found[0]

    async def retained_until_us(self, key: str) -> int:
        """Returns the end of the lock; see the port."""
        with self._away(key):
            head = await self._client.head_object(Bucket=self._bucket, Key=key)
        until: datetime | None = head.get("ObjectLockRetainUntilDate")
        return 0 if until is None else int(until.timestamp()) * S_US

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        """Walks the keys in order; see the port. 1 round trip for every 1,000 keys."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        with self._away():
            async for page in pages:
                for item in page.get("Contents", ()):
                    yield item["Key"]

    @contextmanager
    def _away(self, key: str | None = None) -> Iterator[None]:
        """Translates the client's errors; with a key, its absence becomes ObjectMissing."""
        try:
            yield
        except ClientError as error:
            if key is not None and _code(error) in MISSING:
                raise ObjectMissing(key) from error
            raise _unavailable(error) from error
        except (BotoCoreError, HTTPClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unavailable(error) from error  # aiohttp's own: a body that ends too soon


def _code(error: ClientError) -> str:
    """Returns the S3 code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _unavailable(error: BaseException) -> BillowError:
    """The error for an object store that is away, or refuses us."""
    return BillowError(Reason.STORAGE_UNAVAILABLE, f"the object store is away: {error}", retry_delay_ms=AWAY_RETRY_MS)


@asynccontextmanager
async def open_s3(settings: ObjectStoreSettings) -> AsyncIterator[S3ObjectStore]:
    """Opens one client, kept for the life of the process. Does not connect yet, so the store may be away."""
    config = AioConfig(
        connect_timeout=settings.timeout_ms / 1_000,
        read_timeout=settings.timeout_ms / 1_000,
        max_pool_connections=CONNECTIONS_MAX,
        retries={"total_max_attempts": ATTEMPTS_MAX, "mode": "standard"},
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            get_session().create_client(
                "s3",
                endpoint_url=settings.endpoint,
                region_name=settings.region,
                aws_access_key_id=settings.access_key,
                aws_secret_access_key=settings.secret_key,
                config=config,
            )
        )
        yield S3ObjectStore(client=client, settings=settings)
