"""A process that renders documents: `python -m press.process FONT SIGNING`. press/pool.py starts it.

SIGNING is core.settings.SigningSettings in JSON. Reads requests from stdin and writes answers to stdout, one at a time,
until stdin ends, as it does when the server that started it is gone. Knows no store and no network.
"""

from __future__ import annotations

import json
import signal
import sys
import traceback
from pathlib import Path

from billow.types.v1 import invoice_pb2
from core.documents.load_keys import load_keys
from core.documents.renderer import NotRenderable, Renderer
from core.documents.renderers import make_renderers
from core.settings import SigningSettings
from press.processes import DONE, FAILED, REFUSED, Answer, serve


def main() -> None:
    """Serves requests until stdin ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the server, which drains first
    font, signing = sys.argv[1:]
    renderers = make_renderers(font=Path(font), keys=load_keys(SigningSettings(**json.loads(signing))))
    serve(lambda name, body: answer(renderers[name], body), sys.stdin.buffer, sys.stdout.buffer)


def answer(renderer: Renderer, body: bytes) -> Answer:
    """Renders a body; a refusal or a fault comes back as text."""
    try:
        return DONE, renderer.render(invoice_pb2.Invoice.FromString(body))
    except NotRenderable as error:
        return REFUSED, str(error).encode()
    except Exception:  # noqa: BLE001 (the border: one bad invoice must not end the process)
        return FAILED, traceback.format_exc().encode()


if __name__ == "__main__":
    main()
