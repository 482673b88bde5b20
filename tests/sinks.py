"""The stand-in for the vendors that alerts go to, as a process of its own, and channels that lead to it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from pgrescue.alerting.message import Message

PROGRAM = Path(__file__).parents[1] / "lab/files/alert_sink.py"
KEY = "20261124T012050Z-shop-incident"
AT = datetime(2026, 11, 24, 1, 20, 50, tzinfo=UTC)
KINDS = ("opened", "update", "escalation", "acknowledged", "resolved", "rehearsal")
SECRET = "s3cr3tT0kenOfThirtyTwoLetters123"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:alerts"


def message(**changes: Any) -> Message:
    facts: dict[str, Any] = {
        "key": KEY, "kind": "opened", "severity": "critical", "service": "shop",
        "title": "The primary does not answer",
        "lines": ("Since 01:20:50 UTC", "Seen from app1 and app2"),
        "commands": ("pgrescue failover --service shop",), "at": AT,
    }  # fmt: skip
    return Message(**(facts | changes))


def sink_module() -> Any:
    """The program as a module, for what it decides about a payload."""
    spec = importlib.util.spec_from_file_location("alert_sink", PROGRAM)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@dataclass
class Sink:
    """One that runs."""

    http: int
    smtp: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def received(self, key: str | None = None) -> list[dict[str, Any]]:
        return requests.get(f"{self.url}/received", params={"key": key} if key else {}, timeout=5).json()

    def order(self, channel: str, answer: Any, times: int = 1, retry_after: Any = None) -> None:
        said = {"channel": channel, "answer": answer, "times": times, "retry_after": retry_after}
        requests.post(f"{self.url}/control", json=said, timeout=5).raise_for_status()

    def quiet(self) -> None:
        """All orders are forgotten, what hangs is let go."""
        for channel in ("slack", "discord", "pagerduty", "datadog", "sns", "webhook", "smtp"):
            self.order(channel, "ok", 0)

    def channels(self) -> dict[str, dict[str, Any]]:
        """One channel of each kind, as an inventory says it; named as the sink names them, `topic` apart."""
        keys = {"access_key": "AKIDEXAMPLE", "secret_key": SECRET, "endpoint": f"{self.url}/sns", "region": "eu-west-1"}
        mail = {"host": "127.0.0.1", "port": self.smtp, "sender": "pgrescue@example.org", "to": ["dba@example.org"]}
        return {
            "slack": {"kind": "slack", "token": SECRET, "channel": "#incidents", "endpoint": f"{self.url}/slack/api/"},
            "discord": {"kind": "discord", "url": f"{self.url}/discord/api/webhooks/1/{SECRET}"},
            "pagerduty": {"kind": "pagerduty", "routing_key": SECRET, "endpoint": f"{self.url}/pagerduty"},
            "datadog": {"kind": "datadog", "api_key": SECRET, "endpoint": f"{self.url}/datadog"},
            "sns": {"kind": "sns", "phone": "+4915112345678", **keys},
            "topic": {"kind": "sns", "topic": TOPIC, **keys},
            "webhook": {"kind": "webhook", "url": f"{self.url}/webhook", "secret": SECRET},
            "smtp": {"kind": "email", "tls": "none", **mail},
        }


@contextmanager
def running(folder: Path, *options: str, python: str = sys.executable) -> Iterator[Sink]:
    """A sink on ports of its own."""
    log = folder / "received.jsonl"
    command = [python, str(PROGRAM), "--log", str(log), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        ports = json.loads(process.stdout.readline())
        yield Sink(ports["http"], ports["smtp"], log)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
