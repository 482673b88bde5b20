"""Sample every host of a service, each second, while a drill goes on.

The samples stream over SSH to the controller: those of a host that is destroyed are here up to its last second.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from pgrescue import recovery
from pgrescue.drill import samples
from pgrescue.drill.checklist import SAMPLING, Item
from pgrescue.drill.play import playbook
from pgrescue.drill.samples import Samples
from pgrescue.files import write_json

PLAYBOOK = "playbooks/sample_hosts.yml"
RECOVERS_WITHIN_S = 6 * 3600  # beyond it a host stops by itself, should nobody have told it to
FIRST_S = 10.0  # until every host must have begun
SILENT_S = 5.0  # after which no more is thought to come


class SamplingError(Exception):
    """A host cannot be sampled; the message says which and why."""


class Sampling:
    """Every host's stream; none where the drill goes on without."""

    def __init__(self, commands: Mapping[str, Sequence[str]], folder: Path) -> None:
        self._folder, self._commands = folder, commands
        self._streams: dict[str, subprocess.Popen[bytes]] = {}

    def begin(self) -> None:
        """Begin on all hosts, and see that each does. Raises SamplingError."""
        for host, command in self._commands.items():
            with self._recorded(host).open("wb") as out, self._said(host).open("wb") as errors:
                self._streams[host] = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True
                )
        ends, pause = time.monotonic() + FIRST_S, threading.Event()
        while silent := [host for host in self._streams if not self._recorded(host).stat().st_size]:
            gone = [host for host in silent if self._streams[host].poll() is not None]
            if gone or time.monotonic() > ends:
                host = (gone or silent)[0]
                raise SamplingError(f"{host} is not sampled: {self._why(host) or f'nothing came in {FIRST_S:g} s'}")
            pause.wait(0.05)  # a file that grows is looked at so often

    def keep(self, directory: Path, since: datetime | None = None) -> None:
        """End, and write what came into a record: of each host all of it, or what is not older than `since`."""
        ended = {host: why for host in self._streams if (why := self._ended(host))}
        self.end()
        for host in self._streams:
            found = self._read(host, since).model_copy(update={"ended": ended.get(host)})
            write_json(directory / samples.name(host), found.dump())

    def end(self) -> None:
        """Sample no more. What runs on a host ends when nobody listens."""
        for stream in self._streams.values():
            stream.kill()
            stream.wait()

    def _read(self, host: str, since: datetime | None) -> Samples:
        try:
            found = samples.convert(self._recorded(host))
        except samples.SamplesError as error:
            return Samples(host=host, samples=[], problem=str(error))
        return Samples(host=host, samples=[one for one in found if since is None or one.at >= since])

    def _ended(self, host: str) -> str | None:
        silent_s = time.time() - self._recorded(host).stat().st_mtime
        if self._streams[host].poll() is None and silent_s <= SILENT_S:
            return None
        return self._why(host) or f"nothing came for {silent_s:.0f} s"

    def _why(self, host: str) -> str:
        return (self._said(host).read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""])[-1]

    def _recorded(self, host: str) -> Path:
        return self._folder / f"{host}.sar"

    def _said(self, host: str) -> Path:
        return self._folder / f"{host}.err"


@contextmanager
def sampling(
    items: Sequence[Item], request: recovery.Request, waits_s: float, console: Console
) -> Iterator[Sampling | None]:
    """Sample the service's hosts for the length of a drill; None, said why, when that cannot begin."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="pgrescue-samples-")))
        if not any(one.item == SAMPLING and one.done for one in items):
            yield Sampling({}, folder)
            return
        limit = {"samples_limit_s": int(waits_s) + RECOVERS_WITHIN_S}
        played = playbook(PLAYBOOK, request, recovery.new_id(request), console, limit)
        begun = Sampling(played.results.get("samples", {}), folder)
        stack.callback(begun.end)
        try:
            if played.code or not played.results.get("samples"):
                raise SamplingError("The hosts cannot be sampled")
            begun.begin()
        except SamplingError as error:
            console.print(f"{error}. Nothing was broken. Go on without: --without {SAMPLING}=REASON", soft_wrap=True,
                          highlight=False, markup=False)  # fmt: skip
            yield None
            return
        yield begun
