"""Breaks a running stack on purpose, and compares what clients were told with what is there (docs/chaos.md)."""
