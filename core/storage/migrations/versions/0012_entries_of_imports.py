"""Entries of imported invoices (docs/adr/0025).

They stand in `invoice_entries` and `entry_events` like all others, under a key in place of the number. What is added
is how an entry finds the imports of an invoice that it locks, and the reds that name it.
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Adds the indexes; rows may be written meanwhile."""
    op.execute(
        "ALTER TABLE imported_invoices ADD KEY by_invoice (number, code), ADD KEY by_blue (blue_number, color),"
        " ALGORITHM=INPLACE, LOCK=NONE"
    )


def downgrade() -> None:
    """Refused, as for every migration."""
    raise NotImplementedError("migrations are not taken back")
