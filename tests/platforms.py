"""Platforms that cannot be had in a test, played by their public API: Fly.io's Machines and Kubernetes' deployments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from serving import Answers, served

TOKEN = "a-token"


class Platform:
    """Answers requests that carry the token, and remembers those that change something."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.well = True

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Status and JSON for a request."""
        raise NotImplementedError


class Fly(Platform):
    """Machines of the application `orders`."""

    def __init__(self, *states: str) -> None:
        super().__init__()
        self.machines = {
            f"{n}8e4": {
                "id": f"{n}8e4",
                "state": state,
                "instance_id": f"01H{n}",
                "region": "cdg",
                "cordoned": False,
                "checks": [],
            }
            for n, state in enumerate(states, 1)
        }
        self.leased: set[str] = set()

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        parts = path.removeprefix("/v1/apps/orders/machines").strip("/").split("/")
        if parts == [""]:
            return 200, list(self.machines.values())
        machine, verb = self.machines[parts[0]], parts[1]
        if verb == "wait":
            if query["state"] == "stopped" and query.get("instance_id") != machine["instance_id"]:
                return 400, {"error": "instance_id is required"}
            done = machine["state"] == query["state"]
            return (200, {"ok": True}) if done else (408, {"error": "deadline_exceeded"})
        if parts[0] in self.leased:
            return 409, {"error": f"machine ID {parts[0]} lease currently held by a deployment"}
        if verb in ("start", "stop"):
            machine["state"] = {"start": "started", "stop": "stopped"}[verb]
        else:
            machine["cordoned"] = verb == "cordon"
        return 200, {"ok": True}

    def says(self, machine: str, **checks: str) -> None:
        """What the checks of a machine say, in the shape of `CheckStatus` in the Machines API's specification."""
        at = "2026-11-24T01:20:50.123Z"
        self.machines[machine]["checks"] = [
            {"name": name, "status": status, "output": "HTTP GET /health", "updated_at": at}
            for name, status in checks.items()
        ]

    def states(self) -> list[tuple[str, bool]]:
        """State of each machine, and whether requests are kept from it."""
        return [(str(m["state"]), bool(m["cordoned"])) for m in self.machines.values()]


class Kubernetes(Platform):
    """A deployment `orders` in `default`, whose pods take two looks to end."""

    def __init__(self, replicas: int) -> None:
        super().__init__()
        self.replicas, self.ending, self.ready = replicas, 0, True

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        deployment = "/apis/apps/v1/namespaces/default/deployments/orders"
        scale = {"spec": {"replicas": self.replicas}, "status": {"replicas": self.replicas, "selector": "app=orders"}}
        if path == "/api/v1/namespaces/default/pods" and query == {"labelSelector": "app=orders"}:
            self.ending = max(self.ending - 1, 0)
            return 200, {"items": [{}] * (self.replicas + self.ending)}
        if (method, path) == ("GET", deployment):
            return 200, {"status": {"readyReplicas": self.replicas} if self.ready and self.replicas else {}}
        if (method, path) == ("PATCH", deployment + "/scale"):
            wanted = body["spec"]["replicas"]
            self.ending += max(self.replicas - wanted, 0)
            self.replicas = wanted
            return 200, scale
        return (200, scale) if (method, path) == ("GET", deployment + "/scale") else (404, {"kind": "Status"})


@contextmanager
def played[P: Platform](platform: P) -> Iterator[P]:
    """The platform on a loopback address."""

    class Api(Answers):
        def reply(self) -> None:
            asked = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, said = 200, {}
            if asked.path == "/health":
                status = 200 if platform.well else 503
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status = 401
            else:
                query = {key: values[0] for key, values in parse_qs(asked.query).items()}
                status, said = platform.answer(self.command, asked.path, query, body)
                if self.command != "GET":
                    platform.asked.append(asked.path.rpartition("/")[2])
            out = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(out)))
            self.end_headers()
            self.wfile.write(out)

        do_GET = do_POST = do_PATCH = reply  # noqa: N815 - the names that the base class calls

    with served(Api) as platform.url:
        yield platform
