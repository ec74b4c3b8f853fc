"""How the kernel takes turns between the threads of this process and all others."""

from __future__ import annotations

import logging
import os

LOG = logging.getLogger(__name__)


def take_turns() -> None:
    """Lets whoever is on a core finish: a thread of this process that wakes pushes nobody off (SCHED_BATCH, sched(7)).

    gRPC's polling thread wakes some three times a call, to tell the event loop that something came. With the usual
    policy the kernel may give it the event loop's core each time; with this one it tells of several things at once,
    when the event loop rests: an eighth less CPU of a server for a single call (docs/adr/0052). A core that is free is
    taken at once, as before. Threads and processes begin with the policy of who starts them, so this comes before any
    is started. Where the kernel does not allow it, a warning is all.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:
        LOG.warning("SCHED_BATCH is not allowed here; calls cost more CPU", extra={"error": str(error)})
