"""Credit quotas: what a seller may issue in a month, and what is used of it (docs/adr/0022).

`number_ranges.quota_on` tells the issuing transaction, which locks those rows anyway, that the seller has a quota. Code
from before this migration goes on and sees no quotas: switch one on when every server process is new.
`ceiling_minor` is the greatest quota in force at any commit of the month, or what was used when it was switched on.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    "ALTER TABLE number_ranges ADD COLUMN quota_on TINYINT UNSIGNED NOT NULL DEFAULT 0",
    """
    CREATE TABLE credit_quotas (
        seller_key INT UNSIGNED NOT NULL PRIMARY KEY,
        quota_minor BIGINT NOT NULL,
        since_us BIGINT UNSIGNED NOT NULL,
        changed_at_us BIGINT UNSIGNED NOT NULL
    ) ENGINE=InnoDB
    """,
    """
    CREATE TABLE credit_quota_months (
        seller_key INT UNSIGNED NOT NULL,
        month INT UNSIGNED NOT NULL,
        used_minor BIGINT NOT NULL,
        ceiling_minor BIGINT NOT NULL,
        PRIMARY KEY (seller_key, month)
    ) ENGINE=InnoDB
    """,
)


def upgrade() -> None:
    """Adds the flag and the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Takes quotas away; nothing issued depends on them."""
    op.execute("DROP TABLE credit_quota_months")
    op.execute("DROP TABLE credit_quotas")
    op.execute("ALTER TABLE number_ranges DROP COLUMN quota_on")
