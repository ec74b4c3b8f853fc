"""Adapters to Redis: caches and wake-up calls, nothing that cannot be rebuilt."""
