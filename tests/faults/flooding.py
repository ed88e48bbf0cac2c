"""Clients that ask for more than they may, in a process of their own: ``python -m tests.faults.flooding PORT`` reads orders.

Each line of standard input is one order in JSON, each line of standard output says that it is done. `{"floods": [...]}` sends at
least so many requests of each flood (see `Flood`), goes on until the next line, and counts the answers by status. `{"hold": ...}` (see
`hold`) begins forms and never ends them. Standard library alone: nothing of ours is needed to be a nuisance.
"""

import asyncio
import itertools
import json
import sys
from collections import Counter
from dataclasses import dataclass, field

_TOO_BUSY = (429, 503)


@dataclass
class Flood:
    """One client: so many requests over so many connections."""

    name: str
    address: str
    authorization: str
    method: str
    path: str
    requests: int
    connections: int
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def raw(self) -> bytes:
        """Write the request, which is the same each time."""
        key = f"Authorization: {self.authorization}\r\n" if self.authorization else ""
        return f"{self.method} {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}\r\n".encode()


async def pour(flood: Flood, port: int, enough: asyncio.Event) -> None:
    """Send all requests of a flood as fast as they are answered, and more until it is enough."""
    numbers = itertools.count()

    async def on_one_connection() -> None:
        reader = writer = None
        while next(numbers) < flood.requests or not enough.is_set():
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(flood.address, 0))
                writer.write(flood.raw)
                flood.seen[await _outcome(reader)] += 1
            except (OSError, asyncio.IncompleteReadError):
                flood.seen["no answer"] += 1
                writer = None
        if writer is not None:
            writer.close()

    await asyncio.gather(*(on_one_connection() for _ in range(flood.connections)))


async def _outcome(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(" ", 2)[1])
    length = next((int(line.partition(":")[2]) for line in head.splitlines() if line.startswith("content-length:")), 0)
    await reader.readexactly(length)
    return f"{status} without retry-after" if status in _TOO_BUSY and "\r\nretry-after:" not in head else str(status)


async def hold(port: int, *, address: str, path: str, connections: int, secret: str = "") -> list[asyncio.StreamWriter]:
    """Begin to send as many forms as there are connections, or with a key as many JSON bodies, and never end them."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
    kind = f"Cookie: csrftoken={'a' * 32}\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\ncode="
    if secret:
        kind = f"Authorization: Bearer {secret}\r\nIdempotency-Key: slow\r\nContent-Type: application/json\r\n\r\n{{"
    held = []
    for _ in range(connections):
        _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        writer.write((head + kind).encode())
        await writer.drain()
        held.append(writer)
    return held


async def main(port: int) -> None:
    """Do what each line says until there is none."""
    held = []
    while order := await asyncio.to_thread(sys.stdin.readline):
        told = json.loads(order)
        if "hold" in told:
            held += await hold(port, **told["hold"])
            print("holding", flush=True)
            continue
        floods, enough = [Flood(**flood) for flood in told["floods"]], asyncio.Event()
        pouring = asyncio.gather(*(pour(flood, port, enough) for flood in floods))
        await asyncio.to_thread(sys.stdin.readline)
        enough.set()
        await pouring
        print(json.dumps({flood.name: flood.seen for flood in floods}), flush=True)
    for writer in held:
        writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
