"""Adapters to MySQL and MariaDB: the truth."""
