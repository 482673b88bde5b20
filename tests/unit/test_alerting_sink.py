"""The stand-in itself: it tells what the vendor would refuse, and runs where a lab host has nothing but Python."""

import json
import re
import shutil
import smtplib
import subprocess

import pytest
import requests
from pgrescue.alerting.channels import datadog, discord, email, pagerduty, slack, sns, webhook
from sinks import PROGRAM, SECRET, TOPIC, message, running, sink_module

SINK = sink_module()


def payloads():
    event = pagerduty.event(message())
    body = {name: event[name] for name in ("summary", "source", "severity", "custom_details")} | event["payload"]
    mail = email.compose(message(), "a@example.org", ["b@example.org"], reply=True).as_bytes()
    about = {"Action": "Publish", "Version": "2010-03-31"}
    made = {
        "slack": slack.payload(message(), "C1", None),
        "discord": discord.payload(message(), True),
        "pagerduty": {"routing_key": SECRET, "event_action": "trigger", "dedup_key": "k", "payload": body},
        "datadog": datadog.payload(message()),
        "sns": {**about, **sns.payload(message(), None, TOPIC)},
        "webhook": webhook.payload(message()),
        "smtp": SINK.mail(mail, {"from": "a@example.org", "to": ["b@example.org"]}),
    }
    return json.loads(json.dumps(made))


def put(*path):
    *way, name, value = path

    def change(payload):
        for step in way:
            payload = payload[step]
        payload[name] = value

    return change


PLANTED = [
    ("slack", put("blocks", 0, "text", "text", "x" * 151)),
    ("slack", put("blocks", 1, "text", "text", "x" * 3001)),
    ("slack", put("blocks", 1, "text", "text", "")),
    ("slack", put("blocks", [{"type": "divider"}] * 51)),
    ("slack", put("blocks", 0, "text", "type", "mrkdwn")),
    ("slack", put("blocks", 0, "type", "heading")),
    ("slack", put("thread_ts", 1700000000.5)),
    ("slack", put("surprise", 1)),
    ("discord", put("content", "x" * 2001)),
    ("discord", put("embeds", 0, "description", "x" * 4097)),
    ("discord", put("embeds", [{"description": "x" * 3001}] * 2)),
    ("discord", put("embeds", [{"description": "x"}] * 11)),
    ("discord", put("allowed_mentions", "parse", ["everyone"])),
    ("discord", put("thread_name", "x" * 101)),
    ("datadog", put("text", "x" * 4001)),
    ("datadog", put("aggregation_key", "x" * 101)),
    ("datadog", put("alert_type", "critical")),
    ("datadog", put("priority", "high")),
    ("datadog", put("date_happened", "1700000000")),
    ("datadog", put("tags", "service:shop")),
    ("datadog", put("surprise", 1)),
    ("pagerduty", put("payload", "summary", "x" * 1025)),
    ("pagerduty", put("payload", "severity", "dire")),
    ("pagerduty", put("dedup_key", "x" * 256)),
    ("pagerduty", put("routing_key", "short")),
    ("pagerduty", put("payload", "custom_details", "facts", "x" * 600_000)),
    ("pagerduty", put("event_action", "shout")),
    ("sns", put("Subject", "x" * 100)),
    ("sns", put("Subject", "two\nlines")),
    ("sns", put("Subject", "line\n")),
    ("sns", put("Subject", "é")),
    ("sns", put("Message", json.dumps({"default": "x", "sms": "x" * 1601}))),
    ("sns", put("Message", json.dumps({"sms": "x"}))),
    ("sns", put("PhoneNumber", "+4915112345678")),
    ("sns", put("MessageAttributes", "AWS.SNS.SMS.SMSType", "StringValue", "Urgent")),
    ("webhook", put("at", "yesterday")),
    ("webhook", put("title", "two\nlines")),
    ("webhook", put("title", "line\n")),
    ("smtp", put("headers", "Bcc", "thief@evil.example")),
    ("smtp", put("headers", "Subject", "x" * 256)),
    ("smtp", put("headers", "References", "<a@b> <c@d>")),
    ("smtp", put("longest_line", 999)),
    ("smtp", put("repeated", ["Subject"])),
]


@pytest.mark.parametrize(("channel", "plant"), PLANTED)
def test_what_a_vendor_would_refuse_is_told(channel, plant):
    made = payloads()[channel]
    assert SINK.problems(channel, made) == []
    plant(made)
    assert SINK.problems(channel, made)


def test_an_event_that_acknowledges_must_say_which():
    event = {"routing_key": SECRET, "event_action": "acknowledge"}
    assert SINK.problems("pagerduty", event)
    assert SINK.problems("pagerduty", event | {"dedup_key": "k"}) == []


@pytest.fixture(scope="module")
def sink(tmp_path_factory):
    with running(tmp_path_factory.mktemp("sink")) as running_sink:
        yield running_sink


def test_what_came_is_in_the_file_with_its_time_and_without_secrets(sink):
    made = payloads()
    bad = made["discord"] | {"content": "x" * 3000}
    answer = requests.post(f"{sink.url}/discord/api/webhooks/1/{SECRET}", json=bad, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (400, 50035)
    requests.post(f"{sink.url}/webhook", data=b"\xff not JSON", timeout=5)
    lines = [json.loads(line) for line in sink.log.read_text().splitlines()]
    assert [line["conforms"] for line in lines] == [False, False]
    assert "content" in lines[0]["problems"][0]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["received"]) for line in lines)
    assert SECRET not in sink.log.read_text()
    assert sink.received("no such key") == []


def test_an_order_is_for_so_many_requests(sink):
    sink.order("webhook", 429, times=2, retry_after=3)
    answers = [requests.post(f"{sink.url}/webhook", json=payloads()["webhook"], timeout=5) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "3"


def test_what_is_unknown_is_told(sink):
    assert requests.post(f"{sink.url}/pigeon", json={}, timeout=5).status_code == 404
    assert requests.get(f"{sink.url}/", timeout=5).status_code == 404
    assert requests.post(f"{sink.url}/control", json={"channel": "pigeon"}, timeout=5).status_code == 400


def test_a_dot_alone_in_a_mail_does_not_end_it(sink):
    with smtplib.SMTP("127.0.0.1", sink.smtp, timeout=5) as client:
        client.sendmail("a@example.org", ["b@example.org"], "Subject: dots\r\n\r\none\r\n.\r\n..two\r\n")
        assert client.noop()[0] == 250
    assert sink.received("dots")[-1]["payload"]["text"] == "one\n.\n..two\n"


@pytest.mark.skipif(not shutil.which("/usr/bin/python3"), reason="no Python of the system")
def test_it_runs_with_nothing_but_the_python_of_the_system(tmp_path):
    command = ["/usr/bin/python3", "-I", str(PROGRAM), "--log", str(tmp_path / "log")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={})
    try:
        port = json.loads(process.stdout.readline())["http"]
        requests.post(f"http://127.0.0.1:{port}/webhook", json=payloads()["webhook"], timeout=5).raise_for_status()
        entry = json.loads((tmp_path / "log").read_text())
        assert entry["conforms"] in (True, None)  # None without jsonschema
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
