"""E-mail through a relay of the operator's, by SMTP."""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from typing import Final

from core.domain.destinations import email_fault
from core.domain.errors import BillowError
from core.limits import EMAIL_THREADS_MAX
from core.settings import DeliverySettings
from core.storage.delivery_port import Due
from workers.attachments import AttachmentSource
from workers.attempts import Answer
from workers.email_message import compose

LOG = logging.getLogger(__name__)

TOO_LARGE: Final = 552  # also answered to MAIL FROM, by relays that announce SIZE
OK: Final = 250


class EmailSender:
    """The Sender of e-mail. One connection an attempt, in a thread of its own pool; `close` it at the end.

    What the relay says of the recipient and of the message counts: 4xx is tried again, 5xx is final. What it says
    before (greeting, STARTTLS, login, sender) is between it and the operator and is always tried again. Where STARTTLS
    is set nothing is ever sent without it.

    A message never goes without a document only because that cannot be had now: it is postponed.
    """

    def __init__(self, *, settings: DeliverySettings, attachments: AttachmentSource) -> None:
        self._settings = settings
        self._attachments = attachments
        self._places = asyncio.Semaphore(EMAIL_THREADS_MAX)
        self._threads = ThreadPoolExecutor(max_workers=EMAIL_THREADS_MAX, thread_name_prefix="smtp")

    async def close(self) -> None:
        """Ends the threads; a dialogue under way is left to its timeouts."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, due: Due) -> Answer:
        """Sends the invoice; within a few timeouts: one to get documents and a thread, one a step of the dialogue."""
        fault = email_fault(due.endpoint.target)
        if fault:
            return Answer(delivered=False, code=0, detail=f"the address {fault}", final=True)
        try:
            async with asyncio.timeout(self._settings.timeout_ms / 1_000):
                attached = await self._attachments.of(due.facts.number, due.endpoint.formats)
                await self._places.acquire()
        except (BillowError, TimeoutError) as error:
            LOG.warning("mail is postponed: %s", error, extra={"number": due.facts.number})
            words = (
                "the documents cannot be had now" if isinstance(error, BillowError) else "too much is to be mailed now"
            )
            return Answer(delivered=False, code=0, detail=words, postponed=True)
        try:
            message = compose(due, attached, sender=self._settings.smtp_sender)
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, message)
        finally:
            self._places.release()

    def _send(self, message: EmailMessage) -> Answer:
        """Speaks with the relay; blocks."""
        config = self._settings
        try:
            with smtplib.SMTP(config.smtp_host, config.smtp_port, timeout=config.timeout_ms / 1_000) as relay:
                if config.smtp_starttls:
                    relay.starttls(context=ssl.create_default_context())
                if config.smtp_user:
                    relay.login(config.smtp_user, config.smtp_password)
                relay.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code, words = next(iter(error.recipients.values()))
            return _refused(code, words, final=code >= 500)
        except smtplib.SMTPDataError as error:
            return _refused(error.smtp_code, error.smtp_error, final=error.smtp_code >= 500)
        except smtplib.SMTPResponseException as error:
            return _refused(error.smtp_code, error.smtp_error, final=error.smtp_code == TOO_LARGE)
        except (smtplib.SMTPException, OSError) as error:
            return Answer(delivered=False, code=0, detail=f"the relay: {type(error).__name__}")
        return Answer(delivered=True, code=OK, detail="")


def _refused(code: int, words: bytes | str, *, final: bool) -> Answer:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    code = code if 200 <= code <= 599 else 0  # -1: smtplib's for a connection that broke
    return Answer(delivered=False, code=code, detail=" ".join(text.split()), final=final)
