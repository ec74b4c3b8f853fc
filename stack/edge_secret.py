"""The secret by which servers know that it is Envoy that names a caller: made once a run folder."""

from __future__ import annotations

import secrets

from stack.options import RunFolder
from stack.state import write

SECRET_BYTES = 32


def ensure(folder: RunFolder) -> str:
    """Makes the secret unless it is there, and returns it."""
    file = folder.root / "keys" / "edge.secret"
    if not file.exists():
        write(file, secrets.token_urlsafe(SECRET_BYTES), mode=0o600)
    return file.read_text().strip()
