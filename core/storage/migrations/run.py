"""Brings the schema of the primary up to date."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config

from core.settings import MySQLSettings

MIGRATION_LOCK_S = 60


def upgrade(mysql: MySQLSettings, *, user: str | None = None, password: str | None = None) -> str:
    """Applies every migration not yet applied, one caller at a time, and returns the revision reached.

    Connects to the primary as `user` (default: the settings' user), who needs the right to create tables.
    Raises sqlalchemy.exc.SQLAlchemyError when the primary is away or a statement fails.
    """
    url = sqlalchemy.URL.create(
        "mysql+pymysql",
        username=user or mysql.user,
        password=password or mysql.password,
        host=mysql.primary.host,
        port=mysql.primary.port,
        database=mysql.database,
    )
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            locked = connection.exec_driver_sql("SELECT GET_LOCK('billow_migration', %s)", (MIGRATION_LOCK_S,)).scalar()
            if locked != 1:
                raise TimeoutError(f"another migration held the lock for {MIGRATION_LOCK_S} s")
            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
            revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            connection.exec_driver_sql("DO RELEASE_LOCK('billow_migration')")
            return str(revision)
    finally:
        engine.dispose()
