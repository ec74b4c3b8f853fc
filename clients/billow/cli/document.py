"""`billow document NUMBER`: an invoice as a file; `billow document link NUMBER`: a link to that file."""

import re
import sys
from pathlib import Path

import click

from .connection import Connection, connected
from .exits import EXIT_CODES_HELP, Exit
from .show import moment, print_json, say
from .sources import UnusableFile

LIFETIME_FORM = re.compile(r"(?P<count>[0-9]{1,7})(?P<unit>[smhd])", re.ASCII)
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

_FORMAT = click.option(
    "--format", "format_name", default="pdf", show_default=True, metavar="pdf|xml|ofd|ubl", help="What to make of it."
)


class _Documents(click.Group):
    """Without a command's name, `get` is meant: `billow document NUMBER`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = ["get", *args]
        return super().parse_args(ctx, args)


@click.group("document", cls=_Documents, short_help="Get an invoice as PDF, XML, OFD or UBL, or a link to it.")
def document() -> None:
    """Get an invoice as a document: `billow document NUMBER`; or a link for others: `billow document link NUMBER`."""


@document.command("get", short_help="Get it as a file: `get` may be left out.", epilog=EXIT_CODES_HELP)
@click.argument("number")
@_FORMAT
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Where to write it, a folder or - for the standard output; by default here, under the invoice's number.",
)
@connected
async def get(connection: Connection, *, number: str, format_name: str, output: Path | None) -> Exit:
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


@document.command("link", short_help="Make a link by which others can download it.", epilog=EXIT_CODES_HELP)
@click.argument("number")
@_FORMAT
@click.option(
    "--for",
    "lifetime",
    metavar="TIME",
    help="For how long at least, as in 90s, 15m, 2h, 7d; at most 30d. Default: a day.",
)
@connected
async def link(connection: Connection, *, number: str, format_name: str, lifetime: str | None) -> Exit:
    """Make a link to the invoice with NUMBER (20 digits) as a document. Whoever has it needs no API key."""
    lifetime_s = 0 if lifetime is None else seconds_of(lifetime)
    async with connection.client() as client:
        made = await client.documents.link(number, format_name, lifetime_s=lifetime_s)
    if connection.as_json:
        print_json({
            "url": made.url,
            "expire_time": made.expire_time.ToJsonString(),
            "file": made.file_name,
            "bytes": made.size_bytes,
            "sha256": made.sha256.hex(),
        })  # fmt: skip
    else:
        sys.stdout.write(made.url + "\n")
        until, digest = moment(made.expire_time), made.sha256.hex()
        say(f"until {until}: {made.file_name}, {made.size_bytes:,} bytes, SHA-256 {digest}")
    return Exit.OK


def seconds_of(text: str) -> int:
    """Reads a lifetime; raises click.UsageError."""
    found = LIFETIME_FORM.fullmatch(text)
    if found is None or not int(found["count"]):
        raise click.UsageError(f"--for {text!r} is not a time such as 90s, 15m, 2h or 7d")
    return int(found["count"]) * SECONDS[found["unit"]]
