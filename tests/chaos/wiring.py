"""What families of faults put between the parts: proxies, by way of the settings file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from stack import Stack, settings, state
from tests.chaos.faults import FAMILIES


@contextmanager
def wired(stack: Stack) -> Iterator[None]:
    """Lets each family that has a `wire(stack)` put itself between, and restarts what reads the settings.

    `wire` is a context manager that is given the running stack and yields tables of the settings file, such as
    {"mysql": {"primary": "127.0.0.1:1234"}}; its proxies last as long as the block.
    """
    with ExitStack() as opened:
        tables: dict[str, dict[str, Any]] = {}
        for family in FAMILIES:
            wire = getattr(family, "wire", None)
            if wire is not None:
                more: Mapping[str, Mapping[str, Any]] = opened.enter_context(wire(stack))
                for name, values in more.items():
                    tables.setdefault(name, {}).update(values)
        if tables:
            before = stack.state
            after = replace(before, options=replace(before.options, settings={**before.options.settings, **tables}))
            state.save(stack.folder, after)
            settings.write_settings(stack.folder, after)
            for name in stack.status():
                if name.startswith(("server-", "worker-", "web-")):
                    stack.restart(name)
            stack.wait_healthy("envoy")
        yield
