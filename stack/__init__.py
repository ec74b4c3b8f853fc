"""The whole system on one machine. See stack/README.md; `python -m stack --help` for the command."""

from typing import TYPE_CHECKING

from stack.options import ALL_PARTS, DATA_STORES, DEFAULT_RUN_DIR, StackError, StackOptions

if TYPE_CHECKING:
    from stack.system import Stack

__all__ = ["ALL_PARTS", "DATA_STORES", "DEFAULT_RUN_DIR", "Stack", "StackError", "StackOptions"]


def __getattr__(name: str) -> object:
    """Imports Stack when it is first asked for: `python3 -m stack.install` runs before its libraries are there."""
    if name == "Stack":
        from stack.system import Stack

        return Stack
    raise AttributeError(name)
