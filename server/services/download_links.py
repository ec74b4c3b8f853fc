"""Links to documents: made here for those who may read the document, opened by the web process for whoever has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core import limits
from core.domain.download_link import PATH_PREFIX, DownloadLink, expiry_s, sign
from core.domain.errors import Violation
from core.settings import DownloadSettings
from server.services.auth import Caller
from server.services.documents import DocumentService
from server.services.registry_rules import refuse

S_US = 1_000_000


@dataclass(frozen=True, slots=True)
class MadeLink:
    """A link and what it opens."""

    url: str
    file_name: str
    opens: DownloadLink


class DownloadLinkService:
    """Makes links for callers who may read the document themselves (P8)."""

    def __init__(self, *, documents: DocumentService, settings: DownloadSettings, now_us: Callable[[], int]) -> None:
        self._documents = documents
        self._keys = settings.link_keys
        self._settings = settings
        self._now_us = now_us

    async def create(self, caller: Caller, *, number: str, format_name: str, lifetime_s: int) -> MadeLink:
        """Makes a link to a document that is in the object store when it is answered; 0 is the usual lifetime.

        Links of one document and lifetime whose ends fall into one step are the same text. Raises INVALID_REQUEST
        and what DocumentService.get_document raises, STORAGE_UNAVAILABLE while the object store is away. Its trips.
        """
        if not self._keys:
            refuse([Violation("format", "DOWNLOADS_OFF", "this installation has no key to sign links with")])
        if not 0 <= lifetime_s <= limits.DOWNLOAD_LIFETIME_S_MAX:
            words = f"must be 1 to {limits.DOWNLOAD_LIFETIME_S_MAX} seconds, or 0 for the usual time"
            refuse([Violation("lifetime_s", "LIFETIME_RANGE", words)])
        found = await self._documents.get_document(caller, number=number, format_name=format_name, must_be_kept=True)
        link = DownloadLink(
            number=number,
            format_name=found.format.name,
            version=found.format.version,
            sha256=found.sha256,
            size_bytes=len(found.content),
            expires_s=expiry_s(
                now_s=self._now_us() // S_US,
                lifetime_s=lifetime_s or self._settings.lifetime_s,
                step_s=self._settings.step_s,
            ),
        )
        url = f"{self._settings.base_url}{PATH_PREFIX}{sign(link, self._keys[0])}/{found.file_name}"
        return MadeLink(url, found.file_name, link)
