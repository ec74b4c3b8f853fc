"""`billow document NUMBER`: an invoice as a file."""

import sys
from pathlib import Path

import click

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .show import print_json, say
from .sources import UnusableFile


@click.command("document", short_help="Get an invoice as PDF, XML, OFD or UBL.", epilog=EXIT_CODES_HELP)
@click.argument("number")
@click.option(
    "--format", "format_name", default="pdf", show_default=True, metavar="pdf|xml|ofd|ubl", help="What to make of it."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Where to write it, a folder or - for the standard output; by default here, under the invoice's number.",
)
@connected
async def document(connection: Connection, *, number: str, format_name: str, output: Path | None) -> Exit:
    """Get the invoice with NUMBER (20 digits) as a document. A file that is there already is replaced."""
    async with connection.client() as client:
        found = await client.documents.get(number, format_name)
    if output == Path("-"):
        sys.stdout.buffer.write(found.content)
        sys.stdout.buffer.flush()
        return Exit.OK
    path = output or Path(found.file_name)
    if path.is_dir():
        path /= found.file_name
    try:
        path.write_bytes(found.content)
    except OSError as error:
        raise UnusableFile(f"{path}: {error.strerror}") from error
    if connection.as_json:
        print_json({
            "file": str(path),
            "bytes": len(found.content),
            "media_type": found.media_type,
            "sha256": found.sha256.hex(),
            "version": found.version,
        })  # fmt: skip
    else:
        say(f"{path}: {len(found.content):,} bytes, {found.media_type}, SHA-256 {found.sha256.hex()}")
    return Exit.OK
