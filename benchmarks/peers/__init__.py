"""What people would use instead of Billow, measured beside it."""
