"""Lets `python -m workers` run a worker process."""

from __future__ import annotations

from workers.main import main

if __name__ == "__main__":
    main()
