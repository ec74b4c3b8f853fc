"""The epoch: how often the primary has changed (docs/adr/0029).

One row. A failover raises it on the node it promotes, before that takes writes; every writing transaction compares it
with the one its process has seen. `confirmations` is counted up only to commit something (Primary.confirm).
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

FENCING = """
    CREATE TABLE fencing (
        only_row TINYINT UNSIGNED NOT NULL PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
        epoch BIGINT UNSIGNED NOT NULL,
        confirmations BIGINT UNSIGNED NOT NULL DEFAULT 0
    ) ENGINE=InnoDB
"""


def upgrade() -> None:
    """Creates the table with its row."""
    op.execute(FENCING)
    op.execute("INSERT INTO fencing (only_row, epoch) VALUES (1, 1)")


def downgrade() -> None:
    """Refused, as for every migration."""
    raise NotImplementedError("migrations are not taken back")
