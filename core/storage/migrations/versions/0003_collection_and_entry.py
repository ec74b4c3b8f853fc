"""Reserved for collection and entry; changes nothing yet."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Nothing to do yet."""


def downgrade() -> None:
    """Nothing was done."""
