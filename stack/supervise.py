"""Runs supervisord, looking for ended children ten times a second.

supervisord looks once a second, unless output of a child wakes it, and a child's output often ends just before the
child does: measured, a killed process came back after 1.0 to 2.1 s. Looking more often makes that 0.1 to 0.2 s and
costs 0.13 % of a core.
"""

from __future__ import annotations

from typing import Any, Final

from supervisor import poller, supervisord

LOOK_S: Final = 0.1


class QuickPoller(poller.PollPoller):  # type: ignore[misc]  # supervisor has no types
    """Waits for output of children, but no longer than LOOK_S."""

    def poll(self, timeout: float) -> Any:
        """Returns the readable and the writable descriptors."""
        return super().poll(min(timeout, LOOK_S))


def main() -> None:
    """Takes supervisord's arguments from the command line."""
    poller.Poller = QuickPoller
    supervisord.main()


if __name__ == "__main__":
    main()
