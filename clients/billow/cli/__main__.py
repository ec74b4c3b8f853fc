"""`python -m billow.cli`."""

from .main import main

main()
