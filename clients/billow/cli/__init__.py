"""The `billow` command."""
