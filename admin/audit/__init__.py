"""The audit: walks database and archive and proves P1 to P6 for all that is there."""
