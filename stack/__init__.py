"""The whole system on one machine. See stack/README.md; `python -m stack --help` for the command."""

from stack.options import ALL_PARTS, DATA_STORES, DEFAULT_RUN_DIR, StackError, StackOptions
from stack.system import Stack

__all__ = ["ALL_PARTS", "DATA_STORES", "DEFAULT_RUN_DIR", "Stack", "StackError", "StackOptions"]
