"""What server, workers and admin share: the domain, the stores, the settings, the limits."""
