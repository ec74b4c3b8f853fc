"""Adapters to object storage: archive segments."""
