"""`billow inspect FILE…`: tells whether files, or an invoice by what stands on its face, are genuine."""

from pathlib import Path
from typing import Any

import click

from billow import (
    INSPECTION_OUTCOME_ALTERED,
    INSPECTION_OUTCOME_DATA_GENUINE,
    INSPECTION_OUTCOME_GENUINE,
    INSPECTION_OUTCOME_UNREADABLE,
    INSPECTION_OUTCOME_UNRECOGNIZED,
    VERIFICATION_OUTCOME_MATCH,
    AsyncClient,
    DocumentKind,
    InspectionOutcome,
    InvoiceCheck,
    InvoiceState,
    SignatureResult,
    UnreadableReason,
    VerifyDocumentResponse,
)
from billow._inspection import DOCUMENT_BYTES_MAX

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .show import ItemProgress, amount, print_json
from .sources import UnusableFile
from .verify import describe, parse_amount, parse_date, result_fields

QR_FIELDS_MIN = 6


@click.command("inspect", short_help="Tell whether documents are genuine.", epilog=EXIT_CODES_HELP)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--number", metavar="NUMBER", help="Instead of files: the number of an invoice, 20 digits.")
@click.option("--date", metavar="YYYY-MM-DD", help="With --number: the issue date.")
@click.option("--total", metavar="AMOUNT", help="With --number: the total with tax as it stands on it.")
@click.option("--qr", metavar="TEXT", help="Instead of files: the text of the QR code on the face.")
@connected
async def inspect(
    connection: Connection,
    *,
    files: tuple[Path, ...],
    number: str | None,
    date: str | None,
    total: str | None,
    qr: str | None,
) -> Exit:
    """Tell whether each FILE (XML, OFD or PDF, at most 10 MiB) is the invoice it says it is.

    Works without an API key, a few times a day an invoice. Exit code 0 only when everything is genuine.
    """
    if sum(map(bool, (files, number, qr))) != 1:
        raise click.UsageError("give files, or --number with --date and --total, or --qr")
    if files:
        return await _files(connection, files)
    check = _check_of_qr(qr) if qr else _check_of_face(number or "", date, total)
    async with connection.client() as client:
        result = await client.verify(check)
    if connection.as_json:
        print_json({"number": check.number, **result_fields(result)})
    else:
        click.echo(f"{check.number}: {describe(result)}")
    return Exit.OK if result.outcome == VERIFICATION_OUTCOME_MATCH else Exit.REFUSED


async def _files(connection: Connection, files: tuple[Path, ...]) -> Exit:
    genuine = 0
    async with connection.client() as client:
        with ItemProgress("inspecting", total=len(files), shown=len(files) > 1 and not connection.as_json) as progress:
            for done, file in enumerate(files, 1):
                answer = await _inspected(client, file)
                genuine += answer.outcome == INSPECTION_OUTCOME_GENUINE
                if connection.as_json:
                    print_json({"file": str(file), **fields_of(answer)})
                else:
                    click.echo(f"{file}: {words_of(answer)}")
                progress.moved(position=done, items=done, rate=0)
    return Exit.OK if genuine == len(files) else Exit.REFUSED


async def _inspected(client: AsyncClient, file: Path) -> VerifyDocumentResponse:
    return await client.inspection.verify_document(document_of(file), file_name=file.name[:255])


def document_of(file: Path) -> bytes:
    """The bytes of a file that is to be looked at. Raises UnusableFile, also for one that is empty or too long."""
    try:
        with file.open("rb") as opened:
            content = opened.read(DOCUMENT_BYTES_MAX + 1)
    except OSError as error:
        raise UnusableFile(f"{file}: {error.strerror}") from error
    if not 0 < len(content) <= DOCUMENT_BYTES_MAX:
        raise UnusableFile(f"{file}: is empty or longer than {DOCUMENT_BYTES_MAX:,} bytes")
    return content


def fields_of(answer: VerifyDocumentResponse) -> dict[str, Any]:
    """What a program is told of a document."""
    fields: dict[str, Any] = {"outcome": _plain(InspectionOutcome.Name(answer.outcome), "INSPECTION_OUTCOME_")}
    if answer.kind:
        fields["kind"] = _plain(DocumentKind.Name(answer.kind), "DOCUMENT_KIND_")
    if answer.unreadable_reason:
        fields["unreadable_reason"] = _plain(UnreadableReason.Name(answer.unreadable_reason), "UNREADABLE_REASON_")
    if answer.unreadable_detail:
        fields["unreadable_detail"] = answer.unreadable_detail
    if answer.signature:
        fields["signature"] = _plain(SignatureResult.Name(answer.signature), "SIGNATURE_RESULT_")
    if answer.HasField("document_invoice"):
        fields["number"] = answer.document_invoice.number
    if answer.HasField("byte_identical"):
        fields["byte_identical"] = answer.byte_identical
    if answer.state:
        state = _plain(InvoiceState.Name(answer.state), "INVOICE_STATE_")
        fields |= {"state": state, "red_total_minor": answer.red_total_minor}
    if answer.outcome == INSPECTION_OUTCOME_ALTERED:
        told = [
            {"path": each.path, "document_value": each.document_value, "issued_value": each.issued_value}
            for each in answer.differences
        ]
        fields |= {"differences": told, "difference_count": answer.difference_count}
        fields["differences_withheld"] = answer.differences_withheld
    return fields


def words_of(answer: VerifyDocumentResponse) -> str:
    """What a person is told of a document."""
    fields = fields_of(answer)
    text: str = fields["outcome"].replace("_", " ")
    if answer.outcome in (INSPECTION_OUTCOME_UNREADABLE, INSPECTION_OUTCOME_UNRECOGNIZED):
        return f"{text}, {answer.unreadable_detail}"
    if "number" in fields:
        text += f", invoice {fields['number']}"
    if "signature" in fields:
        text += f", signature {fields['signature'].replace('_', ' ')}"
    if answer.outcome == INSPECTION_OUTCOME_DATA_GENUINE:
        text += ", the pages were not compared: look at the data"
    if "state" in fields:
        text += f", {fields['state'].replace('_', ' ')}"
        text += f", red {amount(answer.red_total_minor)}" if answer.red_total_minor else ""
    if answer.outcome == INSPECTION_OUTCOME_ALTERED:
        text += ", which fields is not told" if answer.differences_withheld else ""
        text += "".join(
            f"\n  {each.path}: {each.document_value}" + (f", issued: {each.issued_value}" if each.issued_value else "")
            for each in answer.differences
        )
        more = answer.difference_count - len(answer.differences)
        text += f"\n  and {more} more" if more > 0 else ""
    return text


def _plain(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def _check_of_face(number: str, date: str | None, total: str | None) -> InvoiceCheck:
    if date is None or total is None:
        raise click.UsageError("--date and --total are needed with --number")
    return InvoiceCheck(number=number, issue_date=parse_date(date), gross_total_minor=parse_amount(total))


def _check_of_qr(text: str) -> InvoiceCheck:
    """Reads the text of a QR code: version, kind, nothing, number, total with tax, date and what else there is."""
    parts = text.strip().split(",")
    if len(parts) < QR_FIELDS_MIN or parts[0] != "01":
        raise click.BadParameter("is not the text of an invoice's QR code", param_hint="--qr")
    return InvoiceCheck(number=parts[3], issue_date=parse_date(parts[5]), gross_total_minor=parse_amount(parts[4]))
