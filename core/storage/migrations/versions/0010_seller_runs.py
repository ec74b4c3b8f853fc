"""A row a run in place of an index entry an invoice: what a seller issued when (docs/adr/0028).

Fills the table from the runs that every batch carries and drops the index. No release has the index without the table,
so no server runs that would write invoices without their runs.
"""

from __future__ import annotations

import sqlalchemy
from alembic import op

from core.storage.block import unpack_runs

revision = "0010"
down_revision = "0009"

TABLE = """
    CREATE TABLE seller_runs (
        seller_key INT UNSIGNED NOT NULL,
        issued_at_us BIGINT UNSIGNED NOT NULL,
        first_number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        last_number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        PRIMARY KEY (seller_key, issued_at_us, first_number)
    ) ENGINE=InnoDB
"""
BATCHES_AT_ONCE = 1_000


def upgrade() -> None:
    """Creates the table, fills it, drops the index."""
    op.execute(TABLE)
    connection = op.get_bind()
    after = 0
    while found := _batches(connection, after):
        after = found[-1][0]
        rows = [
            (run.seller_key, issued_at_us, run.first_number, run.last_number)
            for _, issued_at_us, runs in found
            for run in unpack_runs(runs)
        ]
        if rows:
            connection.exec_driver_sql(
                "INSERT INTO seller_runs (seller_key, issued_at_us, first_number, last_number) VALUES (%s, %s, %s, %s)",
                rows,
            )
    op.execute("ALTER TABLE invoices DROP KEY by_time")


def _batches(connection: sqlalchemy.Connection, after: int) -> list[tuple[int, int, bytes]]:
    """Reads the next batches by id."""
    sql = "SELECT batch_id, issued_at_us, runs FROM batches WHERE batch_id > %s ORDER BY batch_id LIMIT %s"
    return [tuple(row) for row in connection.exec_driver_sql(sql, (after, BATCHES_AT_ONCE))]


def downgrade() -> None:
    """Refused, as for every migration."""
    raise NotImplementedError("migrations are not taken back")
