"""`billow-admin migrate`: brings the schema up to date."""

from __future__ import annotations

import dataclasses

import click
import sqlalchemy

from admin.command import fail, json_option, print_json, run, settings_option
from admin.nodes import find_primary
from core.settings import Settings
from core.storage.migrations.run import upgrade


@click.command()
@settings_option
@json_option
def migrate(*, settings: Settings, as_json: bool) -> None:
    """Apply the migrations that the primary has not yet got. Safe to run again and at once with others."""
    mysql = dataclasses.replace(settings.mysql, primary=run(find_primary(settings.mysql))[0])
    try:
        revision = upgrade(mysql, user=mysql.admin_user or None, password=mysql.admin_password or None)
    except (sqlalchemy.exc.SQLAlchemyError, TimeoutError) as error:
        fail(f"migrate: {error}")
    if as_json:
        print_json({"revision": revision})
    else:
        click.echo(f"schema at revision {revision}")
