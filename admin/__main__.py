"""Lets `python -m admin` run the tool."""

from __future__ import annotations

from admin.main import main

if __name__ == "__main__":
    main()
