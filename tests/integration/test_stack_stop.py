"""A process that is killed and stopped at once stands still: supervisord does not start it again behind our back."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from stack.options import RunFolder
from stack.supervision import Program, Supervisor

NAMES = [f"sleeper-{place}" for place in range(4)]
PAUSES_S = (0.0, 0.03, 0.1)  # one of them meets the moment between an end that was seen and the next start


def test_what_was_killed_just_before_it_was_stopped_stays_away(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    supervisor = Supervisor(folder)
    sleeper = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
    supervisor.write_config([Program(name=name, command=sleeper) for name in NAMES])
    supervisor.launch(with_owner=True)
    try:
        for pause_s in PAUSES_S:
            supervisor.start(NAMES)
            while any(known.state != "RUNNING" for known in supervisor.states().values()):
                time.sleep(0.05)
            for known in supervisor.states().values():
                os.kill(known.pid, signal.SIGKILL)
            time.sleep(pause_s)
            supervisor.stop(NAMES)
            time.sleep(0.15)  # longer than supervisord takes to start one again
            assert {(known.state, known.pid) for known in supervisor.states().values()} == {("STOPPED", 0)}
    finally:
        supervisor.shutdown()
        supervisor.reap()
