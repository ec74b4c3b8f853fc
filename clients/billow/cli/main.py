"""The `billow` command: wires the commands together."""

import click

from billow import __version__

from .book import book
from .deliver import deliver
from .document import document
from .exits import EXIT_CODES_HELP
from .get import get
from .inbox import inbox
from .inbox_import import inbox_import, inbox_imported
from .inspect import inspect
from .issue import issue
from .listing import listing
from .quota import quota
from .red import red
from .registry import key, number_range, seller, tenant
from .tax_ids import tax_id
from .verify import verify


@click.group(epilog=EXIT_CODES_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="billow")
def main() -> None:
    """Issue invoices exactly once, look at them, and tell whether one is real.

    Every command needs --target or BILLOW_TARGET, and all but `verify NUMBER` and `inspect` an API key.
    """


_COMMANDS = (
    *(issue, verify, inspect, get, listing, document, deliver, red),
    *(tenant, key, seller, number_range, book, tax_id, inbox),
)
for _command in _COMMANDS:
    main.add_command(_command)
for _command in (quota,):
    seller.add_command(_command)
for _command in (inbox_import, inbox_imported):
    inbox.add_command(_command)

if __name__ == "__main__":
    main()
