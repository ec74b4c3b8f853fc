"""Reserved for imported invoices; changes nothing yet."""

from __future__ import annotations

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Nothing to do yet."""


def downgrade() -> None:
    """Nothing was done."""
