"""E-mail through a relay of the operator's, by SMTP."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from core.domain.destinations import email_fault
from core.settings import DeliverySettings
from core.storage.delivery_port import Due
from workers.attempts import Answer, message_id
from workers.webhook_sender import moment


class EmailSender:
    """The Sender of e-mail. One connection an attempt, in a thread; a relay's 4xx is tried again, 5xx is final."""

    def __init__(self, *, settings: DeliverySettings, now_us: Callable[[], int]) -> None:
        self._settings = settings
        self._now_us = now_us

    async def send(self, due: Due) -> Answer:
        """Sends the facts of the invoice; within a few timeouts, as each step of the dialogue has its own."""
        fault = email_fault(due.endpoint.target)
        if fault:
            return Answer(delivered=False, code=0, detail=f"the address {fault}", final=True)
        return await asyncio.to_thread(
            self._send, compose(due, sender=self._settings.smtp_sender, at_us=self._now_us())
        )

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
            return _refused(code, words)
        except smtplib.SMTPResponseException as error:
            return _refused(error.smtp_code, error.smtp_error)
        except (smtplib.SMTPException, OSError) as error:
            return Answer(delivered=False, code=0, detail=f"the relay: {type(error).__name__}")
        return Answer(delivered=True, code=250, detail="")


def _refused(code: int, words: bytes | str) -> Answer:
    text = words.decode("ascii", "replace") if isinstance(words, bytes) else words
    return Answer(delivered=False, code=code, detail=" ".join(text.split()), final=code >= 500)


def compose(due: Due, *, sender: str, at_us: int) -> EmailMessage:
    """Writes the message: the facts in Chinese and English. A repeat has the same Message-ID."""
    facts = due.facts
    user, _, domain = sender.rpartition("@")
    message = EmailMessage()
    message["From"] = Address(username=user, domain=domain)
    message["To"] = due.endpoint.target
    message["Subject"] = f"发票 Invoice {facts.number}"
    message["Date"] = format_datetime(datetime.fromtimestamp(at_us / 1_000_000, tz=UTC))
    message["Message-ID"] = f"<{message_id(due.delivery_id)}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"发票号码 Number: {facts.number}\n"
        f"销售方 Seller: {facts.seller_name}\n"
        f"开票时间 Issued: {moment(facts.issued_at_us)}\n"
        f"不含税金额 Net: {_amount(facts.net_total_minor)}\n"
        f"税额 Tax: {_amount(facts.tax_total_minor)}\n"
        f"价税合计 Gross: {_amount(facts.gross_total_minor)}\n"
    )
    return message


def _amount(minor: int) -> str:
    sign, whole = "-" if minor < 0 else "", abs(minor)
    return f"{sign}{whole // 100:,}.{whole % 100:02d}"
