"""Tests against the real system."""
