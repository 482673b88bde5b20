"""A stand-in for all that alerts are sent to: it writes down what came, and whether the vendor would have taken it.

usage: alert_sink.py --log FILE [--address ADDRESS] [--http PORT] [--smtp PORT] [--cert FILE --key FILE]

Plays Slack (/slack/api/chat.postMessage), Discord (/discord/api/webhooks/ID/TOKEN), PagerDuty (/pagerduty/v2/enqueue), Datadog
(/datadog/api/v1/events), Amazon SNS (/sns), any webhook (/webhook), and a mail server. Its first line says which ports it has. Needs Python 3.11 and nothing
else; with python3-jsonschema it also holds what came against the schemas beside it, which follow the vendors' documentation.

GET /received?key=KEY lists what came, POST /control {"channel", "answer", "times", "retry_after"} decides how the next
requests are answered: an HTTP status, or "hang", or "drip" (a byte now and then), or "ok".
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import email
import email.policy
import json
import ssl
import sys
import threading
import time
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

try:
    import jsonschema
except ImportError:  # then only what a schema cannot say is looked at
    jsonschema = None

SCHEMAS = Path(__file__).resolve().parent / "alert_schemas"
CHANNELS = ("slack", "discord", "pagerduty", "datadog", "sns", "webhook", "smtp")
LONGEST_HANG_S = 120
KIBIBYTE = 1024
SNS_NAMES = "http://sns.amazonaws.com/doc/2010-03-31/"
SMTP_LINE = 998  # RFC 5321: a line without its end


def problems(channel: str, payload: dict[str, Any]) -> list[str] | None:
    """What the vendor would not take. None when nothing can be said, because there is no jsonschema."""
    found = limits(channel, payload)
    if jsonschema is None:
        return found or None
    schema = json.loads((SCHEMAS / f"{channel}.json").read_text(encoding="utf-8"))
    checker = jsonschema.Draft202012Validator(schema)
    return found + [
        f"{'/'.join(map(str, error.absolute_path)) or 'payload'}: {error.message[:300]}"
        for error in checker.iter_errors(payload)
    ]


def limits(channel: str, payload: dict[str, Any]) -> list[str]:
    """Limits that add up over several places, or that count bytes."""
    size = len(json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if channel == "pagerduty" and size > 512 * KIBIBYTE:
        return [f"payload: {size} bytes are more than 512 KB"]
    if channel == "sns":
        return sns_limits(payload)
    if channel == "discord":
        total = sum(map(embed_length, payload.get("embeds") or []))
        return [f"embeds: {total} characters together are more than 6000"] if total > 6000 else []
    if channel == "smtp" and payload.get("longest_line", 0) > SMTP_LINE:
        return [f"a line of {payload['longest_line']} bytes is longer than {SMTP_LINE}"]
    return []


def sns_limits(payload: dict[str, Any]) -> list[str]:
    """Limits of SNS: of a message as a whole, and of what becomes a text message."""
    message = str(payload.get("Message", ""))
    found = []
    if len(message.encode("utf-8", "surrogatepass")) > 256 * KIBIBYTE:
        found.append("Message: more than 256 KB")
    texts = {"Message": message} if "PhoneNumber" in payload else {}
    if payload.get("MessageStructure") == "json":
        try:
            parts = json.loads(message)
        except ValueError:
            return [*found, "Message: is no JSON"]
        if not isinstance(parts.get("default"), str):
            found.append("Message: has no default")
        texts = {"sms": str(parts.get("sms", parts.get("default", "")))}
    found += [f"{name}: more than 1600 characters for SMS" for name, text in texts.items() if len(text) > 1600]
    if sum(place in payload for place in ("PhoneNumber", "TopicArn", "TargetArn")) != 1:
        found.append("payload: exactly one of PhoneNumber, TopicArn and TargetArn is given")
    return found


def embed_length(embed: dict[str, Any]) -> int:
    """What counts towards the 6000 characters of all embeds."""
    texts = [embed.get("title"), embed.get("description"), (embed.get("footer") or {}).get("text")]
    texts += [(embed.get("author") or {}).get("name")]
    texts += [text for field in embed.get("fields") or [] for text in (field.get("name"), field.get("value"))]
    return sum(len(text) for text in texts if isinstance(text, str))


def sns_error(code: str) -> str:
    """A refusal in the query protocol."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{code}</Message></Error>"
    return f"<ErrorResponse xmlns='{SNS_NAMES}'>{error}<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"


def sns_arguments(form: dict[str, str]) -> dict[str, Any]:
    """The query protocol's `MessageAttributes.entry.1.Name=...` as the mapping that it was made from."""
    made: dict[str, Any] = {name: value for name, value in form.items() if "." not in name}
    entries: dict[str, dict[str, str]] = {}
    for name, value in form.items():
        if name.startswith("MessageAttributes.entry."):
            _, _, number, what = name.split(".", 3)
            entries.setdefault(number, {})[what] = value
    if entries:
        made["MessageAttributes"] = {
            entry.get("Name", number): {
                "DataType": entry.get("Value.DataType"),
                "StringValue": entry.get("Value.StringValue"),
            }
            for number, entry in entries.items()
        }
    return made


class Book:
    """What came, in memory and on disk, and how the next requests are answered."""

    def __init__(self, log: Path) -> None:
        self.lock = threading.Lock()
        self.log = log.open("a", buffering=1, encoding="utf-8")
        self.entries: list[dict[str, Any]] = []
        self.orders: dict[str, dict[str, Any]] = {}
        self.released = threading.Event()

    def order(self, channel: str, answer: Any, times: int, retry_after: Any) -> None:
        with self.lock:
            self.released.set()
            self.released = threading.Event()
            self.orders[channel] = {"answer": answer, "times": times, "retry_after": retry_after}

    def next_order(self, channel: str) -> dict[str, Any]:
        """How this request is answered; an order that is used up is forgotten."""
        with self.lock:
            order = self.orders.get(channel, {})
            if order.get("answer", "ok") == "ok" or order["times"] <= 0:
                return {"answer": "ok"}
            order["times"] -= 1
            return dict(order)

    def write(self, channel: str, payload: dict[str, Any], **more: Any) -> dict[str, Any]:
        wrong = problems(channel, payload)
        now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
        conforms = None if wrong is None else not wrong
        entry = {"received": now, "channel": channel, **more, "conforms": conforms, "problems": wrong or []}
        entry["payload"] = payload
        with self.lock:
            self.entries.append(entry)
            # a lone surrogate cannot be written as UTF-8, so the file holds escapes
            self.log.write(json.dumps(entry) + "\n")
        return entry

    def listed(self, key: str | None) -> list[dict[str, Any]]:
        with self.lock:
            found = list(self.entries)
        return [entry for entry in found if key is None or key in json.dumps(entry["payload"], ensure_ascii=False)]


class Handler(BaseHTTPRequestHandler):
    """The vendors who are spoken to in HTTP."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """The journal of requests is the log of payloads."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/received":
            key = parse_qs(parts.query).get("key", [None])[0]
            self.answer(200, self.server.book.listed(key))
        else:
            self.answer(404, {"message": "not found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        if parts.path == "/control":
            self.control(body)
            return
        channel = parts.path.strip("/").split("/")[0]
        if channel not in CHANNELS or channel == "smtp":
            self.answer(404, {"message": "not found"})
            return
        payload = self.payload(channel, body)
        order = self.server.book.next_order(channel)
        entry = self.server.book.write(
            channel,
            payload,
            path=parts.path if channel != "discord" else "/".join(parts.path.split("/")[:-1]),  # without the secret
            query=dict(parse_qsl(parts.query)),
            signature=self.headers.get("X-Pgrescue-Signature"),
            answered=order["answer"],
            body=base64.b64encode(body).decode() if self.headers.get("X-Pgrescue-Signature") else None,
        )
        self.obey(channel, order) if order["answer"] != "ok" else getattr(self, channel)(entry)

    def payload(self, channel: str, body: bytes) -> dict[str, Any]:
        """What was sent, as an object; the sink refuses nothing before it has written it down."""
        text = body.decode("utf-8", "surrogateescape")
        if channel == "sns":
            return sns_arguments(dict(parse_qsl(text, keep_blank_values=True)))
        try:
            found = json.loads(text)
        except ValueError:
            return {"no_json": text}
        return found if isinstance(found, dict) else {"no_object": found}

    def control(self, body: bytes) -> None:
        said = json.loads(body)
        if said.get("channel") not in CHANNELS:
            self.answer(400, {"message": f"a channel is one of {', '.join(CHANNELS)}"})
            return
        order = (said["channel"], said.get("answer", "ok"), int(said.get("times", 1)), said.get("retry_after"))
        self.server.book.order(*order)
        self.answer(200, {"ok": True})

    def obey(self, channel: str, order: dict[str, Any]) -> None:
        if order["answer"] == "hang":
            self.server.book.released.wait(LONGEST_HANG_S)
            self.close_connection = True
            return
        if order["answer"] == "drip":
            self.drip()
            return
        headers = {} if order.get("retry_after") is None else {"Retry-After": str(order["retry_after"])}
        said = sns_error("AsItWasTold") if channel == "sns" else {"ok": False, "message": "as it was told to"}
        self.answer(int(order["answer"]), said, headers)

    def drip(self) -> None:
        """A byte now and then: each of them ends no wait for the next byte, all of them together no request."""
        released = self.server.book.released
        self.close_connection = True
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            for _ in range(LONGEST_HANG_S * 5):
                self.wfile.write(b"x")
                if released.wait(0.2):
                    return
        except OSError:
            return  # the client had enough

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/xml" if isinstance(body, str) else "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        try:
            self.wfile.write(raw)
        except OSError:
            self.close_connection = True  # the client had enough

    def slack(self, entry: dict[str, Any]) -> None:
        if not (self.headers.get("Authorization") or "").startswith("Bearer "):
            self.answer(200, {"ok": False, "error": "not_authed"})
        elif entry["path"] != "/slack/api/chat.postMessage":
            self.answer(200, {"ok": False, "error": "unknown_method"})
        elif entry["problems"]:
            self.answer(200, {"ok": False, "error": "invalid_blocks"})
        else:
            stamp = f"{time.time():.6f}"
            self.answer(200, {"ok": True, "channel": "C0SINK0001", "ts": stamp, "message": {"ts": stamp}})

    def discord(self, entry: dict[str, Any]) -> None:
        if entry["problems"]:
            self.answer(400, {"code": 50035, "message": "Invalid Form Body"})
        elif entry["query"].get("wait") != "true":
            self.send_response(204)
            self.end_headers()
        else:
            new = str(time.time_ns())
            channel = entry["query"].get("thread_id") or (new if "thread_name" in entry["payload"] else "1000")
            self.answer(200, {"id": new, "channel_id": channel, "type": 0})

    def pagerduty(self, entry: dict[str, Any]) -> None:
        if entry["problems"]:
            errors = {"status": "invalid event", "message": "Event object is invalid", "errors": entry["problems"]}
            self.answer(400, errors)
        else:
            key = entry["payload"].get("dedup_key") or uuid.uuid4().hex
            self.answer(202, {"status": "success", "message": "Event processed", "dedup_key": key})

    def datadog(self, entry: dict[str, Any]) -> None:
        if not self.headers.get("DD-API-KEY"):
            self.answer(403, {"errors": ["Forbidden"]})
        elif entry["path"] != "/datadog/api/v1/events":
            self.answer(404, {"errors": ["Not found"]})
        elif entry["problems"]:
            self.answer(400, {"errors": entry["problems"]})
        else:
            self.answer(202, {"status": "ok", "event": {"id": time.time_ns()}})

    def sns(self, entry: dict[str, Any]) -> None:
        if entry["problems"]:
            self.answer(400, sns_error("InvalidParameter"))
        else:
            result = f"<PublishResult><MessageId>{uuid.uuid4()}</MessageId></PublishResult>"
            about = f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
            self.answer(200, f"<PublishResponse xmlns='{SNS_NAMES}'>{result}{about}</PublishResponse>")

    def webhook(self, entry: dict[str, Any]) -> None:
        self.answer(400 if entry["problems"] else 200, {"ok": not entry["problems"]})


class Server(ThreadingHTTPServer):
    """Requests that hang keep neither others from being answered nor the program from ending."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, place: tuple[str, int], book: Book) -> None:
        super().__init__(place, Handler)
        self.book = book

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is what a time-out looks like from here."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Mail:
    """As much of SMTP as a client needs to deliver."""

    def __init__(self, book: Book, tls: ssl.SSLContext | None) -> None:
        self.book = book
        self.tls = tls

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # the client left, or speaks something else
        finally:
            writer.close()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        order = self.book.next_order("smtp")
        if order["answer"] in ("hang", "drip"):
            released = self.book.released
            while not released.is_set():
                if order["answer"] == "drip":
                    await say(writer, "220-wait")
                await asyncio.sleep(0.2)  # how often it looks, and drips
            return
        await say(writer, "220 alert-sink ESMTP")
        secure = user = False
        sender, recipients = "", []
        while line := (await reader.readline()).decode("utf-8", "replace").rstrip("\r\n"):
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            if verb == "EHLO":
                offers = ["250-alert-sink", "250-SIZE 10485760", "250-8BITMIME"]
                offers += ["250-STARTTLS"] if self.tls and not secure else []
                offers += ["250-AUTH PLAIN LOGIN"] if secure else []
                await say(writer, *offers, "250 SMTPUTF8")
            elif verb == "STARTTLS" and self.tls and not secure:
                await say(writer, "220 go ahead")
                await writer.start_tls(self.tls)
                secure = True
            elif verb == "AUTH":
                user = await self.log_in(rest, reader, writer)
            elif verb == "MAIL":
                sender, recipients = rest.partition(":")[2].split(" ")[0].strip("<>"), []
                await say(writer, "250 ok")
            elif verb == "RCPT":
                recipients.append(rest.partition(":")[2].split(" ")[0].strip("<>"))
                await say(writer, {400: "550 no such user"}.get(order["answer"], "250 ok"))
            elif verb == "DATA":
                await say(writer, "354 go ahead")
                raw = await data(reader)
                envelope = {"from": sender, "to": recipients, "tls": secure, "logged_in": user}
                self.book.write("smtp", mail(raw, envelope), answered=order["answer"])
                await say(writer, "250 taken" if order["answer"] == "ok" else "451 not now")
            elif verb == "QUIT":
                await say(writer, "221 bye")
                return
            else:
                await say(writer, "250 ok" if verb in ("RSET", "NOOP") else "502 not known here")

    async def log_in(self, rest: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Anybody may; the words are not kept."""
        if rest.upper().startswith("LOGIN"):
            for _ in range(2 - len(rest.split()[1:])):
                await say(writer, "334 VXNlcm5hbWU6")
                await reader.readline()
        elif len(rest.split()) == 1:
            await say(writer, "334 ")
            await reader.readline()
        await say(writer, "235 ok")
        return True


async def say(writer: asyncio.StreamWriter, *lines: str) -> None:
    """Answer."""
    writer.write("".join(line + "\r\n" for line in lines).encode())
    await writer.drain()


async def data(reader: asyncio.StreamReader) -> bytes:
    """A mail up to the line with a dot."""
    lines: list[bytes] = []
    while (line := await reader.readline()) not in (b".\r\n", b""):
        lines.append(line[1:] if line.startswith(b".") else line)
    return b"".join(lines)


def mail(raw: bytes, envelope: dict[str, Any]) -> dict[str, Any]:
    """A mail as an object, as a reader of mail sees it."""
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    made: dict[str, Any] = {**envelope, "headers": {}, "longest_line": max(map(len, raw.split(b"\r\n")), default=0)}
    made["repeated"] = sorted({name for name in parsed.keys() if len(parsed.get_all(name)) > 1})  # noqa: SIM118
    for name, value in parsed.items():
        made["headers"][name] = str(value)
    for kind, name in (("plain", "text"), ("html", "html")):
        part = parsed.get_body((kind,))
        if part is not None:
            made[name] = part.get_content().replace("\r\n", "\n")
    return made


async def run(told: argparse.Namespace) -> None:
    """Serve until it is killed."""
    book = Book(told.log)
    server = Server((told.address, told.http), book)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tls = None
    if told.cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(told.cert, told.key)
    smtp = await asyncio.start_server(Mail(book, tls).serve, told.address, told.smtp)
    ports = {"http": server.server_address[1], "smtp": smtp.sockets[0].getsockname()[1]}
    print(json.dumps(ports), flush=True)
    await smtp.serve_forever()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description="A stand-in for all that alerts are sent to.")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--http", type=int, default=0)
    parser.add_argument("--smtp", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
