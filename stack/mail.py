"""The mail sink: a relay that takes every message and brings it nowhere but into a folder (stack/mail_sink.py)."""

from __future__ import annotations

import smtplib
import sys
from typing import Final

from stack.options import RunFolder
from stack.state import State
from stack.supervision import Program

NAME: Final = "mail-1"
SENDER: Final = "invoices@billow.example"
ANSWER_S: Final = 2.0


def program(folder: RunFolder, state: State) -> Program:
    """The sink's process."""
    port = str(state.ports[NAME])
    command = (sys.executable, "-m", "stack.mail_sink", "--port", port, "--folder", str(folder.mail))
    return Program(name=NAME, command=command, stop_grace_s=5)


def settings(state: State) -> dict[str, object]:
    """What delivery needs to know of it."""
    return {"smtp_host": "127.0.0.1", "smtp_port": state.ports[NAME], "smtp_sender": SENDER}


def answers(state: State) -> bool:
    """Tells whether it greets."""
    try:
        with smtplib.SMTP("127.0.0.1", state.ports[NAME], timeout=ANSWER_S) as relay:
            return relay.noop()[0] == 250
    except (OSError, smtplib.SMTPException):
        return False
