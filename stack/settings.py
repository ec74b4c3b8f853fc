"""The settings file of servers and workers, written by the stack (its reader is core/settings.py)."""

from __future__ import annotations

import json

from core.settings import SettingsError, load
from stack import cache, document_key, download_key, edge_secret, mail, seaweed
from stack.mariadb import DATABASE
from stack.options import RunFolder, StackError
from stack.state import State, write


def render(folder: RunFolder, state: State) -> str:
    """Returns the TOML text."""
    tables: dict[str, dict[str, object]] = {
        "mysql": {
            "primary": f"127.0.0.1:{state.ports[state.primary]}",
            "replicas": [f"127.0.0.1:{state.ports[node]}" for node in state.others],
            "user": "billow",
            "password": state.secrets["mysql_app"],
            "admin_user": "billow_admin",
            "admin_password": state.secrets["mysql_admin"],
            "database": DATABASE,
        },
        "redis": {"url": cache.url(state)},
        "object_store": {
            "endpoint": seaweed.endpoint(state),
            "region": seaweed.REGION,
            "bucket": seaweed.BUCKET,
            "access_key": seaweed.ACCESS_KEY,
            "secret_key": state.secrets["s3_app"],
            "retention_days": 1,  # a machine to try things on: its archive may be deleted tomorrow
        },
        "server": {"host": "127.0.0.1"},
        "worker": {},
        "documents": {
            "signing_key": str(document_key.key_path(folder)),
            "signing_certificate": str(document_key.certificate_path(folder)),
            "seller_keys": str(document_key.sellers_path(folder)),
        },
        "downloads": {
            "keys": [download_key.ensure(folder)],
            "base_url": f"http://127.0.0.1:{state.ports['envoy']}",
        },
    }
    if state.options.jwt_keys:
        tables["server"]["edge_secret"] = edge_secret.ensure(folder)
    if "mail" in state.options.parts:
        tables["delivery"] = mail.settings(state)
    for name, extra in state.options.settings.items():
        tables.setdefault(name, {}).update(extra)
    lines = ["# Written by `python -m stack up` at every start; do not edit. Holds passwords."]
    for name, values in tables.items():
        lines += ["", f"[{name}]"]
        # JSON's strings and lists are TOML's too
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def write_settings(folder: RunFolder, state: State) -> None:
    """Writes the settings file, readable by its owner only, and reads it back as a server would."""
    document_key.ensure(folder)
    write(folder.settings, render(folder, state), mode=0o600)
    try:
        load(folder.settings)
    except SettingsError as error:
        raise StackError(f"core/settings.py does not take the stack's {folder.settings}: {error}") from error
