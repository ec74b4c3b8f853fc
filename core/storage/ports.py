"""The ports: what the rest may ask of the stores. Every method takes sequences and never blocks the loop.

Unless said otherwise a method raises BillowError(STORAGE_UNAVAILABLE) when its store is away, after at most the
timeout of the settings. Each port has an in-memory twin in core/storage/memory that passes the same contract tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.domain.errors import BillowError
from core.domain.parties import Party
from core.storage.block import Run


# --- values -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class SellerRecord:
    """A seller as registered."""

    seller_key: int
    tenant_key: int
    seller_id: str
    profile: str
    party: Party
    created_at_us: int


@dataclass(slots=True)
class Draft:
    """A validated invoice on its way into the database; everything but its number and time is known.

    `prepared` is the prepared part of its body (core/domain/body.py).
    """

    seller_key: int
    kind: int
    request_id: str
    request_sha256: bytes
    net_total_minor: int
    tax_total_minor: int
    gross_total_minor: int
    buyer_tax_id: str
    prepared: bytes


@dataclass(slots=True)
class Issued:
    """What is remembered of an issued invoice without its body: the answer to its request.

    `repeated`: it was there before the commit that answers with it, so much may have become of it since.
    """

    number: str
    seller_key: int
    request_id: str
    request_sha256: bytes
    kind: int
    color: int
    issued_at_us: int
    net_total_minor: int
    tax_total_minor: int
    gross_total_minor: int
    buyer_tax_id: str
    body_sha256: bytes
    repeated: bool = field(default=False, compare=False)


Answer = Issued | BillowError  # to an invoice that was to be issued
MakeDraft = Callable[[], Draft | BillowError]  # without I/O


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An issued invoice with where its body is and what has become of it."""

    issued: Issued
    batch_id: int
    batch_position: int
    red_total_minor: int


@dataclass(slots=True)
class VerificationEntry:
    """What checking an invoice needs to know of it; small enough to be cached for every invoice.

    Not frozen: that would triple the cost of making one, and streams make 60,000 a second.
    """

    number: str
    issued_at_us: int
    kind: int
    net_total_minor: int
    gross_total_minor: int
    red_total_minor: int
    seller_tax_id: str
    buyer_tax_id: str


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A commit's bodies: in the block, or, when that is None, in the segment from row `segment_row` on."""

    batch_id: int
    issued_at_us: int
    items: int
    runs: list[Run]
    block: bytes | None
    segment_id: int | None
    segment_row: int | None


@dataclass(frozen=True, slots=True)
class Segment:
    """An archive segment as the database knows it."""

    segment_id: int
    object_key: str
    sha256: bytes
    size_bytes: int
    invoices: int
    created_at_us: int
    retain_until_us: int


@dataclass(frozen=True, slots=True)
class PackedSegment:
    """A segment that lies in the object store and is not yet recorded. `batches` are in row order."""

    object_key: str
    sha256: bytes
    size_bytes: int
    invoices: int
    retain_until_us: int
    batches: Sequence[BatchRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFilter:
    """Which invoices of a tenant to list; `seller_key` or `buyer_tax_id` or both are set."""

    tenant_key: int  # the caller's own (P8)
    seller_key: int | None
    buyer_tax_id: str | None
    issued_from_us: int
    issued_before_us: int
    after: tuple[int, str] | None  # (issued_at_us, number) of the last one of the page before
    items_max: int


# --- the truth ---------------------------------------------------------------------------------------------------
class IssuingStore(Protocol):
    """Writes issued invoices; the primary's."""

    async def commit(self, drafts: Sequence[Draft]) -> list[Answer]:
        """Issues the drafts in one durable transaction and answers each, in order (P1, P2, P3).

        A draft whose request id is known gets the original `Issued` when its digest agrees, else
        REQUEST_ID_REUSED. One without a free number gets NO_NUMBER_RANGE or NUMBER_RANGE_EXHAUSTED, one beyond its
        seller's credit quota CREDIT_QUOTA_EXCEEDED (docs/adr/0022). The rest is numbered and committed together. A
        connection lost during COMMIT is resolved by request id before anything is answered. Raises STORAGE_UNAVAILABLE
        when it is not known what happened after COMMIT_ATTEMPTS_MAX. Must not be cancelled. Round trips: 2 when no
        request id is known, 3 or more after a duplicate or when the seller sent known ones last (docs/adr/0049).
        """
        ...


class InvoiceReader(Protocol):
    """Reads issued invoices; one of the primary's, one of the replicas'."""

    async def by_number(self, numbers: Sequence[str]) -> dict[str, InvoiceRow]:
        """Reads invoices of any tenant by number; 1 round trip."""
        ...

    async def by_request(self, seller_key: int, request_ids: Sequence[str]) -> dict[str, Issued]:
        """Reads invoices of one seller by request id; 1 round trip."""
        ...

    async def verification_entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry]:
        """Reads what checks need; 1 round trip."""
        ...

    async def list(self, wanted: ListFilter) -> list[Issued]:
        """Lists by (issued_at_us, number), oldest first, at most `items_max`; 1 round trip, by seller alone 2."""
        ...

    async def batch(self, batch_id: int) -> BatchRow | None:
        """Reads one batch with its block; 1 round trip."""
        ...

    async def segment(self, segment_id: int) -> Segment | None:
        """Reads one segment's record; 1 round trip."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a worker wants to lease: as many batches as stay within every maximum, but at least one.

    Nothing is leased unless a maximum is reached or the oldest free batch is `age_min_ms` old, so that segments get
    large under load and do not wait for ever without. Where a clock was wrong nothing waits for a time to come: a batch
    issued more than `age_min_ms` from now counts as old, a lease that ends later than any can is free.
    """

    owner: str  # one process's at a time; a process takes over what its slot's predecessor left
    batches_max: int
    invoices_max: int
    bytes_max: int  # of bodies before compression
    lease_ms: int
    age_min_ms: int

    @property
    def lease_max_ms(self) -> int:
        """What is left of a lease at most: statements read the clock when they begin, some time before they lease."""
        return 2 * self.lease_ms


class OutboxStore(Protocol):
    """The archive's side of `batches`; the primary's."""

    async def claim(self, wanted: Claim) -> list[BatchRow]:
        """Leases unarchived batches that nobody else holds, oldest first, with their blocks; see Claim.

        Returns nothing when there is not enough to be worth a segment. Leases run by the database's clock.
        2 round trips when nothing is claimed, else 4 and one more for every few thousand invoices.
        """
        ...

    async def release(self, *, owner: str, batch_ids: Sequence[int] | None = None) -> int:
        """Gives leases back early, all of the owner's when no ids are given, and returns how many; 1 round trip."""
        ...

    async def archive(self, *, owner: str, packed: PackedSegment, now_us: int) -> int:
        """Records the segment, points its batches at it and empties their blocks, all or nothing; returns its id.

        Raises LeaseLost when any of the batches is not leased to `owner` any more or is archived already (P6).
        After STORAGE_UNAVAILABLE it may or may not have happened: claiming again finds out. 4 round trips,
        and 1 for every CASES_MAX batches more.
        """
        ...

    async def backlog(self) -> tuple[int, int]:
        """Returns (unarchived batches, issued_at_us of the oldest or 0)."""
        ...


class LeaseLost(Exception):
    """Another worker has, or had, the batch."""


# --- the cache ---------------------------------------------------------------------------------------------------
class IssueCache(Protocol):
    """Remembers answers and verification entries. Never raises: an absent Redis is an empty cache (P5)."""

    async def known(self, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Issued]:
        """Returns the remembered answers of (seller_key, request_id); 1 round trip."""
        ...

    async def remember(
        self, issued: Sequence[Issued], seller_tax_ids: Mapping[int, str], *, answers: bool = True
    ) -> None:
        """Remembers answers, if wanted, and verification entries, and wakes the workers; 1 round trip.

        What is remembered already stays: a red-letter may have come in between. An invoice that is a repetition, or
        whose seller is not in `seller_tax_ids`, gets no entry.
        """
        ...


class VerificationCache(Protocol):
    """Remembers verification entries and absences. Never raises."""

    async def entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry | None]:
        """Returns what is remembered; None is a remembered absence; 1 round trip."""
        ...

    async def remember(self, found: Sequence[VerificationEntry], absent: Sequence[str]) -> None:
        """Remembers entries that were read, and absences for at most NOT_FOUND_TTL_MS (P7); at most 1 round trip.

        Entries remembered already stay: they may be newer than what was read.
        """
        ...

    async def replace(self, entries: Sequence[VerificationEntry]) -> bool:
        """Puts entries that have changed in the place of the old ones (P7); 1 round trip.

        One that knows of more reds stays: sums of reds only grow. Returns False when the cache is away: it may then
        come back with the old ones.
        """
        ...

    async def count_public_checks(self, numbers: Sequence[str], day: int) -> list[int]:
        """Counts one more check without a key on `day` (yyyymmdd) of each number and returns the counts; 1 round trip.

        While the cache is away each process counts for itself.
        """
        ...


# --- the archive --------------------------------------------------------------------------------------------------
class ObjectStore(Protocol):
    """An S3 bucket under Object Lock."""

    async def put(self, key: str, data: bytes, *, retain_until_us: int) -> None:
        """Stores an object under a retention lock (kept to the second, rounded up).

        Storing the same key and bytes again is no error and makes no second version. 2 round trips.
        """
        ...

    async def read(self, key: str, *, start: int, length: int) -> bytes:
        """Reads a range of an object, shorter at its end; raises ObjectMissing. 1 round trip."""
        ...

    async def size(self, key: str) -> int | None:
        """Returns the size in bytes, or None when there is no such object; 1 round trip."""
        ...

    async def retained_until_us(self, key: str) -> int:
        """Returns the end of the object's retention lock, 0 when it has none; raises ObjectMissing. 1 round trip."""
        ...

    def keys(self, prefix: str) -> AsyncIterator[str]:
        """Walks the keys below a prefix, in pages."""
        ...


class ObjectMissing(Exception):
    """There is no object of that key, or none of its bytes in the range asked for."""


class WakeSource(Protocol):
    """Tells a worker that there is new work. A mere accelerator: never raises, may say so in vain or never (P5)."""

    async def wait(self, timeout_ms: int) -> bool:
        """Waits for a message, at most so long, and tells whether one came."""
        ...
