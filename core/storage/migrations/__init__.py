"""Schema migrations, run by Alembic: `billow-admin migrate`."""
