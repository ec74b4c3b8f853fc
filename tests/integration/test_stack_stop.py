"""A process that is killed and stopped at once stands still: supervisord does not start it again behind our back."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from stack.options import RunFolder
from stack.supervision import Program, Supervisor

TIMES = 20


def test_what_was_killed_just_before_it_was_stopped_stays_away(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    supervisor = Supervisor(folder)
    sleeper = (sys.executable, "-c", "import time; time.sleep(600)")
    supervisor.write_config([Program(name="sleeper", command=sleeper)])
    supervisor.launch(with_owner=True)
    try:
        for _ in range(TIMES):
            supervisor.start(["sleeper"])
            os.kill(supervisor.states()["sleeper"].pid, signal.SIGKILL)
            supervisor.stop(["sleeper"])
            found = supervisor.states()["sleeper"]
            assert (found.state, found.pid) in {("STOPPED", 0), ("FATAL", 0)}
    finally:
        supervisor.shutdown()
        supervisor.reap()
