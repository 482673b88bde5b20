"""A stand-in for AWX's API, as far as awx/ goes through the modules of awx.awx: what is posted is kept and given back.

It knows no permissions, launches nothing, and was written from the modules' requests and AWX's documented answers. What
it refuses is what AWX refuses that is easily got wrong: rules of schedules, variables that a template does not ask for.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from serving import Answers, served

UNIFIED = ("job_templates", "projects", "inventory_sources", "workflow_job_templates", "workflow_approval_templates")
GIVEN = {
    "credential_types": ["Machine", "Vault", "Red Hat Ansible Automation Platform"],
    "credentials": ["pgrescue secret store"],  # what a person makes once
}
TOKEN = "t0k3n"


def rule_problems(rule: str) -> list[str]:
    """Why AWX would not take the rule of a schedule; its serializer's checks, in our words."""
    found = []
    if len(re.findall(r"DTSTART(?:;[^:]+)?:\d+T\d+Z?", rule)) != 1:
        found.append("one DTSTART")
    if re.search(r"DTSTART:\d+T\d+(?!\d|Z)", rule):
        found.append("a DTSTART without a zone")
    for part in re.findall(r"RULE:\S*", rule) or [""]:
        if "INTERVAL" not in part:
            found.append("an INTERVAL")
        if "SECONDLY" in part or re.search(r"BYDAY=[+-]?\d", part) or "BYWEEKNO" in part or "BYYEARDAY" in part:
            found.append("a rule that it knows")
    if len(rule) > 255 or "EXDATE" in rule or "RDATE:" in rule:
        found.append("a rule alone, of 255 letters")
    return found


class Store:
    """What the API keeps."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[int, dict[str, Any]]] = {}
        self.links: dict[tuple[str, int, str], list[int]] = {}
        self.surveys: dict[tuple[str, int], Any] = {}
        self.count = 0
        for endpoint, names in GIVEN.items():
            for name in names:
                self.make(endpoint, {"name": name})

    def make(self, endpoint: str, fields: dict[str, Any]) -> dict[str, Any]:
        """A new object."""
        self.count += 1
        kept = {**fields, "id": self.count, "type": endpoint[:-1], "url": f"/api/v2/{endpoint}/{self.count}/"}
        kept["related"] = {"survey_spec": f"{kept['url']}survey_spec/"}
        if endpoint == "projects":  # fetched already
            kept |= {"scm_revision": "0" * 40, "summary_fields": {}}
        self.objects.setdefault(endpoint, {})[self.count] = kept
        return kept

    def all(self, endpoint: str) -> list[dict[str, Any]]:
        """The objects of an endpoint."""
        rooms = UNIFIED if endpoint == "unified_job_templates" else (endpoint,)
        return [self.shown(one) for room in rooms for one in self.objects.get(room, {}).values()]

    def shown(self, one: dict[str, Any]) -> dict[str, Any]:
        """As it is given out."""
        if one["type"] != "schedule":
            return one
        template = next(
            t for room in UNIFIED for t in self.objects.get(room, {}).values() if t["id"] == one["unified_job_template"]
        )
        return {**one, "summary_fields": {"unified_job_template": {"id": template["id"], "name": template["name"]}}}

    def find(self, endpoint: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        """Those that a query asks for."""
        wanted = {k: v for k, v in asked.items() if k not in ("page_size", "page") and not k.startswith("or__")}
        alike = [one for one in self.all(endpoint) if all(str(one.get(k)) == v for k, v in wanted.items())]
        either = {k[4:]: v for k, v in asked.items() if k.startswith("or__")}
        return [one for one in alike if not either or any(str(one.get(k)) == v for k, v in either.items())]

    def problem(self, endpoint: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Why AWX would not take this; nothing when it does."""
        if endpoint == "schedules":
            template = self.objects["job_templates"].get(fields["unified_job_template"], {})
            wrong = rule_problems(fields["rrule"])
            if wrong:
                return {"rrule": wrong}
            if fields.get("extra_data") and not template.get("ask_variables_on_launch"):
                return {"extra_data": ["Variables are not allowed on launch."]}
            if "timeout" in fields and not template.get("ask_timeout_on_launch"):
                return {"timeout": ["Field is not configured to prompt on launch."]}
        if endpoint == "credential_input_sources" and not isinstance(fields.get("metadata"), dict):
            return {"metadata": ["This field is required."]}
        return {}


def answer(store: Store, method: str, url: str, said: dict[str, Any]) -> tuple[int, Any]:
    """Status and body."""
    parts = urlsplit(url)
    path = [part for part in parts.path.removeprefix("/api/v2/").split("/") if part]
    if len(path) == 1 and method == "GET":
        found = store.find(path[0], dict(parse_qsl(parts.query)))
        return 200, {"count": len(found), "next": None, "previous": None, "results": found}
    if len(path) == 1:
        wrong = store.problem(path[0], said)
        return (400, wrong) if wrong else (201, store.make(path[0], said))
    room, number = path[0], int(path[1])
    one = store.objects[room][number]
    if len(path) == 2:
        return _one(store, room, one, method, said)
    return _part(store, room, one, path[2], method, said)


def _one(store: Store, room: str, one: dict[str, Any], method: str, said: dict[str, Any]) -> tuple[int, Any]:
    if method == "DELETE":
        del store.objects[room][one["id"]]
        return 204, None
    if method == "PATCH":
        wrong = store.problem(room, {**one, **said})
        if wrong:
            return 400, wrong
        # what the modules send beside the fields of an approval is passed over
        one |= {k: v for k, v in said.items() if room != "workflow_approval_templates" or k in one}
    return 200, store.shown(one)


def _part(
    store: Store, room: str, one: dict[str, Any], part: str, method: str, said: dict[str, Any]
) -> tuple[int, Any]:
    key = (room, one["id"])
    if part == "survey_spec":
        if method == "POST":
            store.surveys[key] = said
        return 200, store.surveys.get(key, {})
    if part == "create_approval_template":
        template = store.make("workflow_approval_templates", {k: said[k] for k in ("name", "description", "timeout")})
        one["unified_job_template"] = template["id"]
        one["related"]["unified_job_template"] = template["url"]
        return 201, template
    linked = store.links.setdefault((*key, part), [])
    if method == "GET":
        return 200, {"count": len(linked), "next": None, "previous": None, "results": [{"id": id_} for id_ in linked]}
    if said.get("disassociate"):
        linked.remove(said["id"])
    else:
        linked.append(said["id"])
    return 204, None


@contextmanager
def running() -> Iterator[tuple[Store, dict[str, str]]]:
    """The API, what it keeps, and the environment with which awx.awx finds it."""
    store, lock = Store(), threading.Lock()

    class Api(Answers):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            said = json.loads(self.rfile.read(length) or b"{}")
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                status, body = 401, {"detail": "no"}
            else:
                with lock:
                    status, body = answer(store, self.command, self.path, said)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-API-Product-Name", "AWX")
            self.send_header("X-API-Product-Version", "24.6.1")
            self.end_headers()
            if body is not None:
                self.wfile.write(json.dumps(body).encode())

        do_GET = do_POST = do_PATCH = do_DELETE = _do  # noqa: N815 - as the server calls them

    with served(Api) as url:
        yield store, {"CONTROLLER_HOST": url, "CONTROLLER_OAUTH_TOKEN": TOKEN, "CONTROLLER_REQUEST_TIMEOUT": "60"}
