"""A page of shell commands with what they print: taken apart, run in one shell, compared.

A block of `sh` is commands; a block of `text` right below it is what they print. What differs from run to run (numbers,
ids, times) may be anything of its form, but the same everywhere it stands on the page; … stands for anything in a line.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

BLOCK: Final = re.compile(
    r"^```sh\n(?P<commands>.*?)^```\n(?:```text\n(?P<prints>.*?)^```\n)?", re.DOTALL | re.MULTILINE
)
PART: Final = re.compile(
    r"(?P<left_out>…)"
    r"|(?P<space>\s+)"
    r"|(?P<time>\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b)"
    r"|(?P<date>\b20[2-9]\d[01]\d[0-3]\d\b)"
    r"|(?P<id>\bdlv_\d+\b|\b[0-9a-f]{9,}\b)"
)
FORMS: Final = {
    "left_out": r"[^\n]*?",
    "space": r"\s+",
    "time": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    "date": r"20\d{6}",
}
MARK: Final = "@@end of block@@"
RUN_S: Final = 300


@dataclass(frozen=True, slots=True)
class Block:
    """Some commands and what the page says they print; `line` of the page, from 1."""

    line: int
    commands: str
    prints: str


@dataclass(slots=True)
class Comparison:
    """Knows what the page's own numbers and ids are in this run."""

    known: dict[str, str] = field(default_factory=dict)

    def fits(self, prints: str, printed: str) -> bool:
        """Tells whether that was printed, and learns what stands for the page's numbers and ids."""
        learning: list[str] = []
        form = self._form(prints.strip(), learning)
        found = re.fullmatch(form, printed.strip())
        if found is None:
            return False
        self.known |= dict(zip(learning, found.groups(), strict=True))
        return True

    def _form(self, prints: str, learning: list[str]) -> str:
        """The expression that what is printed must match; `learning` gets the ids that its groups are."""
        form, end = "", 0
        for part in PART.finditer(prints):
            form += re.escape(prints[end : part.start()])
            end = part.end()
            kind, text = str(part.lastgroup), part.group()
            if kind != "id":
                form += FORMS[kind]
            elif text in self.known:
                form += re.escape(self.known[text])
            elif text in learning:
                form += rf"\{learning.index(text) + 1}(?![0-9])"
            else:
                learning.append(text)
                form += r"(dlv_\d+)" if text.startswith("dlv_") else rf"([0-9a-f]{{{len(text)}}})"
        return form + re.escape(prints[end:])


def blocks_of(page: Path) -> list[Block]:
    """Takes a page apart."""
    text = page.read_text()
    return [
        Block(text.count("\n", 0, found.start()) + 1, found["commands"], found["prints"] or "")
        for found in BLOCK.finditer(text)
    ]


def run(blocks: list[Block], *, folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[Block, str]]:
    """Runs all blocks in one bash in a folder; yields each with what it printed, both outputs as one.

    An unset variable ends the shell: what is behind it then prints nothing.
    """
    script = "exec 2>&1\nset -u\n" + "".join(f"{block.commands}printf '%s\\n' '{MARK}'\n" for block in blocks)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    printed = done.stdout.split(MARK + "\n")
    for place, block in enumerate(blocks):
        yield block, printed[place] if place < len(printed) else ""
