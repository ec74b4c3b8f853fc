"""Exit codes of the command: one a kind of ending, stable, so that scripts may rely on them."""

import enum

from billow import BillowError, DeadlineExceeded, InternalError, NotAllowed, Overloaded, Unavailable


class Exit(enum.IntEnum):
    """How the command ended."""

    OK = 0
    """All done; every invoice issued, or every check a match."""
    REFUSED = 1
    """Billow answered no: some invoices refused, a check that is no match, not found, exists already."""
    USAGE = 2
    """The command, a setting or a file is wrong; nothing was sent, or the run stopped there."""
    UNAVAILABLE = 3
    """Nobody could be reached, or not in time, or Billow is overloaded: the same command may be given again."""
    INTERRUPTED = 4
    """Ctrl-C or SIGTERM. `billow issue --resume` goes on."""
    NOT_ALLOWED = 5
    """The API key is missing, unknown, revoked, or lacks a scope."""
    FAULT = 6
    """A fault inside Billow or this command; the message names the request id to look for, if there is one."""


EXIT_CODES_HELP = """\b
Exit codes:
  0  all done: every invoice issued, every check a match
  1  Billow refused: some invoices, a check that is no match, not found
  2  the command, a setting or a file is wrong
  3  unreachable, overloaded or too slow: try the same again
  4  interrupted
  5  the API key is missing, unknown, revoked or lacks a scope
  6  a fault inside Billow or this command
"""


def exit_of(error: BillowError) -> Exit:
    """The exit code that an error of Billow means."""
    if isinstance(error, NotAllowed):
        return Exit.NOT_ALLOWED
    if isinstance(error, (Unavailable, Overloaded, DeadlineExceeded)):
        return Exit.UNAVAILABLE
    if isinstance(error, InternalError):
        return Exit.FAULT
    return Exit.REFUSED
