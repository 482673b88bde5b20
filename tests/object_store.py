"""A real S3 server for tests: the program the lab's stores run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from postgres import free_port, until

SECRET = "a-secret-of-realistic-length"


class ObjectStore:
    """One store whose buckets are folders below `root`."""

    def __init__(self, root: Path, *, bucket: str = "dumps", secret: str = SECRET) -> None:
        self.root, self.bucket, self.secret, self.port = root, bucket, secret, free_port()
        (root / bucket).mkdir(parents=True, exist_ok=True)
        self.log = root.parent / f"{root.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def place(self) -> dict[str, Any]:
        """The store as inventories name one."""
        url = f"http://127.0.0.1:{self.port}"
        return {"url": url, "bucket": self.bucket, "region": "east", "key": "lab", "secret": SECRET}

    @property
    def name(self) -> str:
        return f"{self.place['url']}/{self.bucket}"

    def path(self, key: str = "") -> Path:
        """Where an object is on disk."""
        return self.root / self.bucket / key

    def start(self) -> Self:
        program = Path(sys.executable).parent / "rclone"
        command = [program, "serve", "s3", self.root, "--addr", f"127.0.0.1:{self.port}"]
        command += ["--auth-key", f"lab,{self.secret}", "--vfs-cache-mode", "off", "--no-checksum"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stderr=log)
        until(lambda: "Starting s3 server" in self.log.read_text(), 10, "the store serves")
        return self

    def forget(self) -> None:
        """Have it look again at what is on the disk, after a test has changed objects there."""
        self.stop()
        self.start()

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
