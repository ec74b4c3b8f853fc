"""Reserved for delivery; changes nothing yet."""

from __future__ import annotations

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Nothing to do yet."""


def downgrade() -> None:
    """Nothing was done."""
