"""Downloads a second through Envoy and its cache: cold, hot, drawn by a law of popularity, in parts, and past Envoy.

`python -m benchmarks.downloads [--documents 400] [--kib 40] [--requests 8000]`: object store, Envoy and one web process
of a stack of its own; h2load (Debian: nghttp2-client) asks over HTTP/1.1 with keep-alive. The documents are bytes under
the keys of PDFs, and the links are signed here with the stack's key: no database takes part. About 40 s.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core import settings
from core.documents.formats import PDF
from core.domain.download_link import PATH_PREFIX, DownloadLink, sign
from core.storage.objects.s3 import open_s3
from press.kept import key_of
from stack import Stack, StackOptions, edge

CALLERS: Final = 8
PUTS_AT_ONCE: Final = 8
LIVES_S: Final = 3_600
ZIPF: Final = 1.0
DONE: Final = re.compile(r"finished in .*?, ([0-9.]+) req/s")
CODES: Final = re.compile(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")


@dataclass(frozen=True)
class Round:
    """What one round gave."""

    name: str
    requests: int
    per_s: float
    hits: int
    misses: int

    def __str__(self) -> str:
        asked = self.hits + self.misses
        rate = f"{100 * self.hits / asked:5.1f} % of {asked:,} from the cache" if asked else "the cache was not asked"
        return f"{self.name:44} {self.requests:7,} requests {self.per_s:8,.0f} a second   {rate}"


async def _make(config: settings.Settings, documents: int, size_bytes: int) -> list[str]:
    """Stores the documents and returns the paths of their links."""
    paths: list[str] = []
    until_us = time.time_ns() // 1_000 + 60_000_000
    room = asyncio.Semaphore(PUTS_AT_ONCE)
    async with open_s3(config.object_store) as objects:

        async def one(number: str, content: bytes) -> None:
            async with room:
                await objects.put(key_of(PDF, number), content, retain_until_us=until_us)

        work = []
        for serial in range(documents):
            number = f"{time.time_ns() // 1_000_000:013}{serial:07}"
            content = random.Random(number).randbytes(size_bytes)
            link = DownloadLink(
                number=number,
                format_name=PDF.name,
                version=PDF.version,
                sha256=hashlib.sha256(content).digest(),
                size_bytes=size_bytes,
                expires_s=int(time.time()) + LIVES_S,
            )
            paths.append(f"{PATH_PREFIX}{sign(link, config.downloads.link_keys[0])}/{number}.{PDF.extension}")
            work.append(one(number, content))
        await asyncio.gather(*work)
    return paths


def _events(stack: Stack) -> dict[str, int]:
    text = edge.admin(stack.state, "stats?filter=cache.event&format=json") or "{}"
    return {item["name"].rpartition(".")[2]: item["value"] for item in json.loads(text).get("stats", [])}


async def _ask(port: int, paths: Sequence[str], folder: Path, *headers: str) -> float:
    """Asks for each path once, from CALLERS processes with a share each; returns requests a second."""

    async def share(caller: int) -> float:
        mine = paths[caller::CALLERS]
        file = folder / f"urls-{caller}"
        file.write_text("".join(f"http://127.0.0.1:{port}{path}\n" for path in mine))
        extra = [part for header in headers for part in ("-H", header)]
        command = ["h2load", "--h1", "-c", "1", "-n", str(len(mine)), "-i", str(file), *extra]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        done, codes = DONE.search(out.decode()), CODES.search(out.decode())
        if done is None or codes is None or int(codes[1]) + int(codes[2]) != len(mine):
            raise SystemExit(f"not every request succeeded:\n{out.decode()}")
        return float(done[1])

    began = time.monotonic()
    await asyncio.gather(*(share(caller) for caller in range(min(CALLERS, len(paths)))))
    return len(paths) / (time.monotonic() - began)


async def measure(stack: Stack, folder: Path, *, documents: int, size_bytes: int, requests: int) -> list[Round]:
    """Runs the rounds in their order: each finds the cache as the one before left it."""
    config = settings.load(stack.config_path)
    edge_port, web_port = stack.envoy.port, stack.address("web-1").port
    rounds: list[Round] = []

    async def run(name: str, port: int, paths: Sequence[str], *headers: str) -> None:
        before = _events(stack)
        per_s = await _ask(port, paths, folder, *headers)
        after = _events(stack)
        hits, misses = (after.get(kind, 0) - before.get(kind, 0) for kind in ("hit", "miss"))
        rounds.append(Round(name, len(paths), per_s, hits, misses))
        print(rounds[-1], flush=True)

    first, second = await _make(config, documents, size_bytes), await _make(config, documents, size_bytes)
    chance = random.Random(1)
    weights = [1 / (rank + 1) ** ZIPF for rank in range(documents)]
    hot = [first[place % documents] for place in range(requests)]
    await run("each document once, cold", edge_port, first)
    await run("each document again and again, hot", edge_port, hot)
    await run("one document, hot", edge_port, [first[0]] * requests)
    await run("drawn by popularity (Zipf), from cold", edge_port, chance.choices(second, weights, k=requests))
    await run("the first KiB of hot ones (past the cache)", edge_port, hot[: requests // 4], "Range: bytes=0-1023")
    await run("not modified (past the cache)", edge_port, hot[: requests // 4], "If-None-Match: *")
    await run("straight from the web process", web_port, hot[: requests // 4])
    return rounds


def main() -> None:
    """Runs `python -m benchmarks.downloads`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.downloads", description=__doc__)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--kib", type=int, default=40, help="size of a document; a PDF of one page has about 40")
    parser.add_argument("--requests", type=int, default=8_000, help="of each of the hot rounds")
    arguments = parser.parse_args()
    if shutil.which("h2load") is None:
        raise SystemExit("h2load is missing: apt-get install nghttp2-client")
    options = StackOptions(servers=0, workers=0, parts=frozenset({"s3", "envoy"}))
    with tempfile.TemporaryDirectory(prefix="downloads-") as name:
        folder = Path(name)
        with Stack(run_dir=folder / "run", options=options) as stack:
            sizes = {"documents": arguments.documents, "size_bytes": arguments.kib * 1024}
            asyncio.run(measure(stack, folder, requests=arguments.requests, **sizes))


if __name__ == "__main__":
    main()
