"""The command tree of `billow-admin`; this module only wires."""

from __future__ import annotations

import importlib
from typing import Final

import click

# a command's modules are imported when it is asked for: the audit's alone take a second
COMMANDS: Final = {
    "migrate": "admin.schema:migrate",
    "tenant": "admin.registry:tenant",
    "key": "admin.registry:key",
    "seller": "admin.registry:seller",
    "range": "admin.registry:number_range",
    "quota": "admin.quotas:quota",
    "tax-id": "admin.tax_ids:tax_id",
    "epoch": "admin.epoch:epoch",
    "status": "admin.status:status",
    "audit": "admin.audit.command:audit_command",
}


class LazyGroup(click.Group):
    """A group of the commands in COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Names the commands in their order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        """Imports a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """Operate a Billow installation."""
