"""The command tree of `billow-admin`; this module only wires."""

from __future__ import annotations

import click

from admin.audit.command import audit_command
from admin.keys import key
from admin.schema import migrate


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """Operate a Billow installation."""


for command in (migrate, key, audit_command):
    main.add_command(command)
