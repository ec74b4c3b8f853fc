"""Ports to the stores (ports.py) and their adapters: mysql/, redis/, objects/, memory/; migrations/."""
