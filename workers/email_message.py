"""The e-mail of a delivery as bytes for the relay: the same bytes for the same delivery. Pure.

Headers that are not ASCII are encoded by RFC 2047, names of files by RFC 2231; bodies are base64, so that a relay
without 8BITMIME takes them too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final

from core.domain.kinds import InvoiceColor
from core.storage.delivery_port import Due, Facts
from workers.attachments import Attached
from workers.attempts import message_id
from workers.webhook_sender import moment

POLICY: Final = policy.SMTP.clone(cte_type="7bit")


def compose(due: Due, attached: Attached, *, sender: str) -> EmailMessage:
    """Writes the message: the facts in Chinese and English, and the documents.

    The Message-ID is made of the delivery's id: mailboxes recognise a repeat by it. The date is the order's.
    """
    facts = due.facts
    user, _, domain = sender.rpartition("@")
    message = EmailMessage(policy=POLICY)
    message["From"] = Address(display_name=facts.seller_name, username=user, domain=domain)
    message["To"] = due.endpoint.target
    message["Subject"] = subject(facts)
    message["Date"] = format_datetime(datetime.fromtimestamp(due.created_at_us // 1_000_000, tz=UTC))
    message["Message-ID"] = f"<{message_id(due.delivery_id)}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text(facts, attached), cte="base64")
    for file in attached.files:
        main, _, sub = file.media_type.partition("/")
        message.add_attachment(file.content, maintype=main, subtype=sub, filename=file.file_name, cte="base64")
    if message.is_multipart():
        message.set_boundary(f"=_billow_{message_id(due.delivery_id)}")
    return message


def subject(facts: Facts) -> str:
    """Returns the subject."""
    what = "红字发票 Credit note" if facts.color == InvoiceColor.RED else "发票 Invoice"
    return f"{what} {facts.number}"


def text(facts: Facts, attached: Attached) -> str:
    """Returns the body."""
    lines = [
        f"{facts.seller_name} 向您开具了一张电子发票。",
        f"{facts.seller_name} has issued an electronic invoice to you.",
        "",
        f"发票号码 Number: {facts.number}",
        f"开票时间 Issued: {moment(facts.issued_at_us)}",
        f"不含税金额 Net: {amount(facts.net_total_minor)}",
        f"税额 Tax: {amount(facts.tax_total_minor)}",
        f"价税合计 Gross: {amount(facts.gross_total_minor)}",
    ]
    if attached.files:
        lines += ["", "附件 Attached:", *(f"- {file.file_name}" for file in attached.files)]
    if attached.left_out:
        lines += ["", "未附 Not attached:", *(f"- {name.upper()}: {why}" for name, why in attached.left_out)]
    return "\n".join(lines) + "\n"


def amount(minor: int) -> str:
    """Writes minor units as people read them."""
    sign, whole = "-" if minor < 0 else "", abs(minor)
    return f"{sign}{whole // 100:,}.{whole % 100:02d}"
