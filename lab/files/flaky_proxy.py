#!/usr/bin/python3
"""Pass TCP connections on, a few of them badly: one in a hundred is dropped in the middle, and one in a hundred answers late.

    flaky_proxy.py --seed 1 --share 0.01 --delay 0.4 5432=10.81.0.11:5432 8080=10.81.0.31:8080

Says at its end how many were passed on, dropped and delayed. It stands between clients and a service, and nothing in either knows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal


class Proxy:
    """Counts what it did."""

    def __init__(self, dice: random.Random, share: float, delay_s: float) -> None:
        self.dice, self.share, self.delay_s = dice, share, delay_s
        self.counts = {"passed": 0, "dropped": 0, "delayed": 0}

    async def serve(self, port: int, target: str) -> None:
        """Listen on a port for a target."""
        host, _colon, its_port = target.rpartition(":")

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.pass_on(reader, writer, host, int(its_port))

        server = await asyncio.start_server(accept, "0.0.0.0", port)
        await server.serve_forever()

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        """Pass one connection on."""
        drop, delay = self.dice.random() < self.share, self.dice.random() < self.share
        self.counts["dropped" if drop else "delayed" if delay else "passed"] += 1
        try:
            to_server = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        there = self.copy(reader, to_server[1], 0.0, None)
        back = self.copy(to_server[0], writer, self.delay_s if delay else 0.0, 64 if drop else None)
        await asyncio.gather(there, back)

    @staticmethod
    async def copy(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float, most: int | None
    ) -> None:
        """Copy one direction, late if so wanted, and no more than so many bytes."""
        left = most
        try:
            while data := await reader.read(65536):
                await asyncio.sleep(delay_s)  # this is the fault
                writer.write(data if left is None else data[:left])
                await writer.drain()
                if left is not None and (left := left - len(data)) <= 0:
                    break
        except OSError:
            pass  # either side may hang up
        finally:
            writer.close()


async def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("routes", nargs="+", metavar="PORT=HOST:PORT")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--delay", type=float, default=0.4)
    arguments = parser.parse_args()
    proxy = Proxy(random.Random(arguments.seed), arguments.share, arguments.delay)
    servers = [
        asyncio.ensure_future(proxy.serve(int(port), target))
        for port, _equals, target in (route.partition("=") for route in arguments.routes)
    ]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print("ready", flush=True)
    await stop.wait()
    for server in servers:
        server.cancel()
    print(json.dumps(proxy.counts), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
