"""The secret that signs links to documents on this machine: made once a run folder."""

from __future__ import annotations

import secrets
from pathlib import Path

from stack.options import RunFolder
from stack.state import write

KEY_ID = "development"
SECRET_BYTES = 32


def path(folder: RunFolder) -> Path:
    """Where it is; secret."""
    return folder.root / "keys" / "downloads.secret"


def ensure(folder: RunFolder) -> str:
    """Makes the secret unless it is there, and returns it as a setting: id, colon, secret."""
    file = path(folder)
    if not file.exists():
        write(file, secrets.token_urlsafe(SECRET_BYTES), mode=0o600)
    return f"{KEY_ID}:{file.read_text().strip()}"
