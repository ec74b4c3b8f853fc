"""Every metric that an alert reads is exposed by a real server, worker, web process or Envoy, with its labels."""

from __future__ import annotations

import re
import urllib.request

from stack import Stack
from tests.support.alert_rules import OWN, labelled, metrics

PAGES = {
    "server-1-metrics": "/metrics",
    "worker-1-metrics": "/metrics",
    "web-1-metrics": "/metrics",
    "envoy-admin": "/stats/prometheus",
}
TYPE = re.compile(r"^# TYPE (\w+) ", re.MULTILINE)
SAMPLE = re.compile(r"^(\w+)\{(.*)\} ", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
SELDOM = {"answer", "result"}  # their values appear with the first event


def test_alerts_read_what_is_there(running_stack: Stack) -> None:
    text = ""
    for name, path in PAGES.items():
        address = running_stack.address(name)
        with urllib.request.urlopen(f"http://{address.host}:{address.port}{path}", timeout=30) as page:
            text += page.read().decode()
    assert metrics(OWN) - set(TYPE.findall(text)) == set()
    samples = {(name, *pair) for name, labels in SAMPLE.findall(text) for pair in LABEL.findall(labels)}
    assert {item for item in labelled(OWN) if item[1] not in SELDOM} - samples - {
        item for item in labelled(OWN) if item[1] == "job"
    } == set()
