"""The command tree of `billow-admin`; this module only wires."""

from __future__ import annotations

import click

from admin.audit.command import audit_command
from admin.registry import key, number_range, seller, tenant
from admin.schema import migrate
from admin.status import status


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """Operate a Billow installation."""


for command in (migrate, tenant, key, seller, number_range, status, audit_command):
    main.add_command(command)
