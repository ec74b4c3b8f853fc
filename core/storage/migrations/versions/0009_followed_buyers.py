"""Only followed buyers get positions: `filled` tells whether what a buyer received before has its positions, too.

Until now every buyer had them, so the heads there are are filled; whoever proved a taxpayer id has a head from now on.
A collector of the release before, still running, numbers more than is needed, in the same way; the default 0 makes the
heads it adds be looked through once.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    "ALTER TABLE received_heads ADD COLUMN filled TINYINT UNSIGNED NOT NULL DEFAULT 0, ADD KEY by_filled (filled)",
    "UPDATE received_heads SET filled = 1",
    (
        "INSERT INTO received_heads (buyer_tax_id, last_position, filled)"
        " SELECT DISTINCT tax_id, 0, 0 FROM tenant_tax_ids WHERE confirmed_at_us IS NOT NULL"
        " ON DUPLICATE KEY UPDATE last_position = last_position"
    ),
)


def upgrade() -> None:
    """Adds the column and the heads."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Refused, as for every migration."""
    raise NotImplementedError("migrations are not taken back")
