"""The alert rules as text: enough of them to compare with runbooks and with what processes expose."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
OWN: Final = FOLDER / "billow.rules.yml"
HOSTS: Final = FOLDER / "hosts.rules.yml"
_ALERT: Final = re.compile(r"^ *- alert: (\w+)$", re.MULTILINE)
_RUNBOOK: Final = re.compile(r"^ *runbook: (\S+)$", re.MULTILINE)
_METRIC: Final = re.compile(r"\b(?:billow|envoy|process|node)_[a-z0-9_]+\b(?!=)")
_LABELLED: Final = re.compile(r"\b(\w+)\{(\w+)=\"(\w+)\"\}")
_COMMENT: Final = re.compile(r"^ *#.*$| {2,}#.*$", re.MULTILINE)
_TEXT: Final = re.compile(r"^ *(?:summary|runbook): .*$", re.MULTILINE)
_GROUPING: Final = re.compile(r"\b(?:by|on|without|ignoring) \([^)]*\)")


def alerts(path: Path) -> list[str]:
    """The names of the alerts, each once."""
    return list(dict.fromkeys(_ALERT.findall(path.read_text())))


def runbooks(path: Path) -> list[str]:
    """Where the annotations point, one an alert."""
    return _RUNBOOK.findall(path.read_text())


def metrics(path: Path) -> set[str]:
    """The names of all metrics that the expressions read."""
    return set(_METRIC.findall(_expressions(path)))


def labelled(path: Path) -> set[tuple[str, str, str]]:
    """Selectors of one exact label: metric, label and value."""
    return set(_LABELLED.findall(_expressions(path)))


def _expressions(path: Path) -> str:
    return _GROUPING.sub("", _TEXT.sub("", _COMMENT.sub("", path.read_text())))
