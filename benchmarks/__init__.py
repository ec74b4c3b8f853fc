"""Load shapes and measurements: `make bench`."""
