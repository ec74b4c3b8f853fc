"""Reserved for documents; changes nothing yet."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Nothing to do yet."""


def downgrade() -> None:
    """Nothing was done."""
