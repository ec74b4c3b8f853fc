"""Messages: which documents an e-mail carries."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Adds the formats, separated by commas; e-mail endpoints there are get PDF and XML."""
    op.execute(
        "ALTER TABLE delivery_endpoints"
        " ADD COLUMN formats VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'pdf,xml'"
    )


def downgrade() -> None:
    """Refused: it would forget what receivers chose."""
    raise NotImplementedError("what receivers chose is not forgotten")
