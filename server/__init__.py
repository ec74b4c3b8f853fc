"""The gRPC server: `python -m server`."""
