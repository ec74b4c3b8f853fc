"""Reserved for red letter; changes nothing yet."""

from __future__ import annotations

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Nothing to do yet."""


def downgrade() -> None:
    """Nothing was done."""
