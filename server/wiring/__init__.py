"""Builds the services of a server process and their stores, one module a family, for server.bootstrap."""
