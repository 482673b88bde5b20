"""What a hostile server, table or log line may say ends up as inert text in every channel, within its limits."""

import html.parser
import json
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pgrescue.alerting import text
from pgrescue.alerting.channels import datadog, discord, email, pagerduty, slack, sns, webhook
from pgrescue.alerting.message import thread_key
from pgrescue.core.inert import inert
from sinks import KINDS, SECRET, TOPIC, message, sink_module

SINK = sink_module()
HOSTILE = [
    "<!channel>", "<@U012AB3CD>", "<!subteam^S1>", "<https://evil.example|click>", "&lt;!here&gt;", "@everyone",
    "@here",
    "<@&123456>", "[click](https://evil.example)", "```", "`", "*bold*", "_it_", "~~gone~~", "||spoiler||", "# big",
    "</pre><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'; DROP TABLE orders; --",
    "\r\nBcc: thief@evil.example", "\n.\r\n", "\r\n\r\n<b>body</b>", "\x1b[2J\x1b]0;title\x07", "\x00", "\x85",
    "\u2028",
    "\u202eevil\u202c", "\u2066", "\u200b", "\ufeff", "\ud800", "\udfff", "\ufffe", "😀" * 60, "é" * 40, "ﷺ" * 30,
    "a" * 10_000, "&" * 10_000, "\\" * 500, ":ok_hand:", "Ω`", "=?utf-8?q?=0D=0ABcc:_x?=", "",
]  # fmt: skip
ANY = st.characters(exclude_categories=())
STRINGS = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(ANY, max_size=20)), max_size=6).map("".join)
MESSAGES = st.builds(
    message,
    key=STRINGS,
    kind=st.sampled_from(KINDS),
    severity=st.sampled_from(["critical", "warning", "info"]),
    service=STRINGS,
    title=STRINGS,
    lines=st.lists(STRINGS, max_size=40),
    commands=st.lists(STRINGS, max_size=20),
)
WORST = message(
    service="".join(HOSTILE), title="".join(HOSTILE), lines=HOSTILE * 3, commands=HOSTILE * 3, key="\r\nX: y"
)
THOROUGH = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def strings(value):
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for part in value:
            yield from strings(part)
    elif isinstance(value, str):
        yield value


def steers(made, allowed="\n"):
    """Characters that could steer a terminal or the direction of writing."""
    return {c for said in strings(made) for c in said if unicodedata.category(c).startswith("C") and c not in allowed}


def within(limit, made):
    assert text.units(made) <= limit


@given(STRINGS, st.integers(0, 400), st.sampled_from([text.as_it_is, text.slack, text.discord, text.html]))
@THOROUGH
def test_a_text_is_cut_between_escapes_and_says_so(said, limit, escape):
    made = text.fit(said, limit, escape)
    within(limit, made)
    whole = "".join(map(escape, inert(said)))
    if made != whole:
        assert text.units(whole) > limit
        pieces = ["".join(map(escape, inert(said)[:n])) for n in range(min(limit, len(said)) + 1)]
        assert made == "" or (made.endswith("…") and made[:-1] in pieces)


def test_a_text_that_just_fits_is_left_whole():
    assert text.fit("a" * 150, 150) == "a" * 150
    assert text.fit("a" * 151, 150) == "a" * 149 + "…"
    assert text.fit("&" * 30, 150, text.slack) == "&amp;" * 30
    assert text.fit("&" * 31, 150, text.slack) == "&amp;" * 29 + "…"
    assert text.fit("😀😀", 3) == "😀…"


def test_a_break_within_a_fact_is_folded():
    assert inert("one\r\ntwo\tthree\x1b[31m") == "one  two three[31m"


def test_a_command_that_does_not_fit_is_left_out_whole():
    made = text.fit_commands(["pgrescue status", "x" * 500, "pgrescue plan"], 100)
    assert made == "pgrescue status\npgrescue plan\n… and 1 more"


def test_facts_that_do_not_fit_are_counted():
    made = text.fit_lines([f"fact {n} " + "x" * 90 for n in range(50)], 1000)
    within(1000, made)
    assert re.fullmatch(r"(• fact \d+ x+\n)+… and 41 more", made)


@given(MESSAGES, st.booleans())
@example(WORST, True)
@THOROUGH
def test_slack(told, threaded):
    made = slack.payload(told, "#incidents", "1700000000.000001" if threaded else None)
    assert SINK.problems("slack", made) == []
    assert steers(made) == set()
    for said in strings([made["text"], made["blocks"]]):
        assert not set("<>") & set(said)
        assert not re.search(r"&(?!(amp|lt|gt);)", said)
    marked = [b["text"]["text"] for b in made["blocks"] if b.get("text", {}).get("type") == "mrkdwn"]
    assert all(re.fullmatch(r"```\n((?!```).)*\n```", said, re.DOTALL) for said in marked)
    assert not made["mrkdwn"] and made["parse"] == "none" and not made["link_names"]


@given(MESSAGES, st.booleans())
@example(WORST, True)
@THOROUGH
def test_discord(told, new):
    made = discord.payload(told, new)
    assert SINK.problems("discord", made) == []
    assert steers(made, "\n\u200b") == set()
    assert made["allowed_mentions"] == {"parse": []}
    facts, fence, code = made["embeds"][0].get("description", "").partition("```\n")
    for said in (made["content"], facts):
        left = re.sub(r"\\[\\`*_~|<>\[\]()#:]", "", said)
        assert not set("\\`*_~|<>[]()#:") & set(left)
    for said in strings(made):
        assert not re.search("@(?!\u200b)", said)
    assert not fence or (code.endswith("\n```") and code.count("```") == 1)


@given(MESSAGES)
@example(WORST)
@THOROUGH
def test_pagerduty(told):
    event = pagerduty.event(told)
    payload = {name: event[name] for name in ("summary", "source", "severity", "custom_details")} | event["payload"]
    made = {"routing_key": SECRET, "event_action": "trigger", "dedup_key": event["dedup_key"], "payload": payload}
    assert SINK.problems("pagerduty", made) == []
    assert steers(made) == set()


@given(MESSAGES)
@example(WORST)
@example(message(title="%%%", lines=("@all\n%%%",)))
@THOROUGH
def test_datadog(told):
    made = datadog.payload(told)
    assert SINK.problems("datadog", made) == []
    assert steers(made, "\n\u200b") == set()
    for said in (made["title"], made["text"]):
        assert not re.search("@(?!\u200b)", said), "it would notify whomever it names"


@given(MESSAGES)
@example(WORST)
@THOROUGH
def test_sns(told):
    for made in (sns.payload(told, "+4915112345678", None, "pgrescue"), sns.payload(told, None, TOPIC)):
        assert SINK.problems("sns", {"Action": "Publish", "Version": "2010-03-31", **made}) == []
        assert steers(made) == set()
    said = sns.sms(told)
    within(300, said)
    assert said.isascii() and "`" not in said and "\n" not in said
    assert said.endswith(f"[{thread_key(told.key)}]")


@given(MESSAGES)
@example(WORST)
@THOROUGH
def test_webhook(told):
    made = webhook.payload(told)
    assert SINK.problems("webhook", made) == []
    assert steers(made, "") == set()
    json.dumps(made, ensure_ascii=False).encode()


class Tags(html.parser.HTMLParser):
    """The tags of a page, and what else but text is in it."""

    def __init__(self, page):
        super().__init__()
        self.found = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.add((tag, tuple(attrs)))

    def handle_comment(self, data):
        self.found.add(("comment", data))

    def handle_decl(self, decl):
        self.found.add(("declaration", decl))


HEADERS = {
    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Pgrescue-Key", "MIME-Version", "Content-Type",
}  # fmt: skip


@given(MESSAGES, st.booleans())
@example(WORST, True)
@THOROUGH
def test_mail(told, reply):
    raw = email.compose(told, "pgrescue@example.org", ["dba@example.org"], reply).as_bytes()
    made = SINK.mail(raw, {"from": "pgrescue@example.org", "to": ["dba@example.org"]})
    assert SINK.problems("smtp", made) == []
    more = {"In-Reply-To": reply, "References": reply, "Importance": told.severity == "critical"}
    assert set(made["headers"]) == HEADERS | {name for name, there in more.items() if there}
    assert made["headers"]["To"] == "dba@example.org"
    assert Tags(made["html"]).found <= {(tag, ()) for tag in ("p", "strong", "ul", "li", "pre")}
    assert steers([made["headers"], made["text"], made["html"]]) == set()


@pytest.mark.parametrize(
    "said",
    [
        "x\r\nBcc: thief@evil.example",
        "=?utf-8?q?=0D=0ABcc:_x?=",
        "é =?utf-8?q?=0D=0ABcc:_x?= é",
        "=?utf-8?b?DQpCY2M6IHg=?=",
    ],
)
def test_a_title_adds_no_header_to_a_mail(said):
    for filler in range(0, 120, 7):  # wherever a long header is folded
        told = message(title="x" * filler + " " + said, service=said, key=said)
        raw = email.compose(told, "pgrescue@example.org", ["dba@example.org"], reply=True).as_bytes()
        head = raw.partition(b"\r\n\r\n")[0]
        assert not re.search(rb"[\r\n]bcc", head, re.IGNORECASE)
        assert b"\n" not in head.replace(b"\r\n", b"") and not re.search(rb"\n[ \t]*\r", head)


@pytest.mark.parametrize("address", ["a@b\r\nBcc: x@y", "a b@c", "a@b,c@d", "nobody", "a@b>", "", "Ä@example.org"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match=r"name@example\.org"):
        email.Email(kind="email", host="mail", sender=address, to=["dba@example.org"])


def test_keys_that_differ_stay_apart():
    assert len({thread_key(key) for key in ("a", "a\n", "a ", "sha", "\ud800", "\ud801", "é")}) == 7
