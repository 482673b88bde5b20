"""Each channel against a stand-in for its vendor, over the wire."""

import base64
import json
import socket
import threading
import time
import traceback

import pytest
from pgrescue.alerting import policy
from pgrescue.alerting.channels.base import Channel
from pgrescue.alerting.channels.webhook import signature
from pgrescue.alerting.delivery import deliver
from pgrescue.alerting.failure import DeliveryError, retry_after
from pgrescue.alerting.message import thread_key
from sinks import AT, KEY, KINDS, SECRET, message, running
from test_alerting_text import WORST

NAMES = ["slack", "discord", "pagerduty", "datadog", "sns", "topic", "webhook", "smtp"]
HTTP_NAMES = NAMES[:-1]


def plays(name):
    return "sns" if name == "topic" else name


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with running(tmp_path_factory.mktemp("sink")) as sink:
        yield sink


@pytest.fixture
def sink(process):
    yield process
    process.quiet()


@pytest.fixture(scope="module")
def channels(process):
    return policy.read({"channels": process.channels()}).channels


def changed(channel, **changes):
    return type(channel).model_validate({**channel.model_dump(), **changes})


def last(sink, name, key=KEY):
    return [entry for entry in sink.received(key) if entry["channel"] == plays(name)][-1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_message_of_any_kind_is_taken(sink, channels, name, kind):
    channels[name].send(message(kind=kind), {})
    entry = last(sink, name)
    assert (entry["conforms"], entry["problems"]) == (True, [])


@pytest.mark.parametrize("name", NAMES)
def test_the_worst_text_is_taken(sink, channels, name):
    channels[name].send(WORST, {})
    entry = last(sink, name, thread_key(WORST.key))
    assert (entry["conforms"], entry["problems"]) == (True, [])


def failure(channel, told=None, timeout_s=None):
    with pytest.raises(DeliveryError) as caught:
        channel.send(told or message(), {}, timeout_s)
    return caught.value


@pytest.mark.parametrize("name", HTTP_NAMES)
def test_too_many_requests_says_when_to_come_back(sink, channels, name):
    before = len(sink.received())
    sink.order(plays(name), 429, retry_after=7)
    error = failure(channels[name])
    assert (error.retry_after_s, error.permanent) == (7.0, False)
    assert "429" in error.reason
    assert len(sink.received()) == before + 1, "a client asked again on its own"


@pytest.mark.parametrize("name", HTTP_NAMES)
@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_is_worth_another_try(sink, channels, name, status):
    before = len(sink.received())
    sink.order(plays(name), status)
    error = failure(channels[name])
    assert (error.permanent, str(status) in error.reason) == (False, True)
    assert len(sink.received()) == before + 1, "a client asked again on its own"


@pytest.mark.parametrize("name", HTTP_NAMES)
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_any_other_refusal_is_final(sink, channels, name, status):
    before = len(sink.received())
    sink.order(plays(name), status)
    error = failure(channels[name])
    assert (error.permanent, error.retry_after_s) == (True, None)
    assert str(status) in error.reason
    assert len(sink.received()) == before + 1, "a client asked again on its own"


@pytest.mark.parametrize(("answer", "permanent"), [(429, False), (500, False), (400, True)])
def test_a_mail_server_refuses_for_now_or_for_good(sink, channels, answer, permanent):
    sink.order("smtp", answer)
    assert failure(channels["smtp"]).permanent is permanent


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("answer", ["hang", "drip"])
def test_one_that_hangs_is_given_up(sink, channels, name, answer):
    """A byte now and then keeps a time-out between two bytes from ever coming."""
    sink.order(plays(name), answer)
    began = time.monotonic()
    error = failure(channels[name], timeout_s=0.6)
    assert time.monotonic() - began < 3
    assert (error.permanent, error.retry_after_s) == (False, None)


@pytest.fixture
def nobody():
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def elsewhere(sink, name, port):
    said = json.loads(json.dumps(sink.channels()[name]).replace(str(sink.http), str(port)))
    said |= {"port": port} if name == "smtp" else {}
    return policy.read({"channels": {"x": said}}).channels["x"]


@pytest.mark.parametrize("name", NAMES)
def test_one_that_nobody_listens_at_is_worth_another_try(sink, nobody, name):
    assert failure(elsewhere(sink, name, nobody)).permanent is False


@pytest.mark.parametrize("name", NAMES)
def test_one_that_accepts_and_leaves_is_worth_another_try(sink, name):
    came = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def leave():
            try:
                while True:
                    listener.accept()[0].close()
                    came.append(1)
            except OSError:
                return  # the test is over

        leaver = threading.Thread(target=leave, daemon=True)
        leaver.start()
        assert failure(elsewhere(sink, name, listener.getsockname()[1])).permanent is False
        listener.shutdown(socket.SHUT_RDWR)
        leaver.join(5)
    assert len(came) == 1, "a client asked again on its own"


@pytest.mark.parametrize("name", NAMES)
def test_no_error_and_no_text_of_an_object_holds_a_secret(sink, channels, nobody, name):
    channel = channels[name] if name != "smtp" else tls_mail(sink)
    texts = [repr(channel), str(channel), channel.model_dump_json()]
    orders = [(429, 1), (500, 1), (403, 1), ("hang", 1)]
    errors = []
    for answer, times in orders:
        sink.order(plays(name), answer, times)
        # one that is given up may still arrive, and use up the order of the next
        errors.append(failure(channel, timeout_s=0.4 if answer == "hang" else None))
        sink.quiet()
    errors.append(failure(elsewhere(sink, name, nobody)))
    for error in errors:
        texts += [repr(error), *traceback.format_exception(error)]
        assert error.__context__ is None and error.__cause__ is None
    for said in (
        sink.channels()[name] | {"kind": "none"},
        sink.channels()[name] | {SECRET[:8]: 1, "timeout_s": "soon"},
    ):
        with pytest.raises(policy.PolicyError) as refused:
            policy.read({"channels": {"x": said}})
        texts.append(str(refused.value))
        texts += traceback.format_exception(refused.value)
    assert not [said for said in texts if SECRET in said]


def tls_mail(sink, **options):
    said = sink.channels()["smtp"] | {"tls": "starttls", "username": "pgrescue", "password": SECRET, **options}
    return policy.read({"channels": {"x": said}}).channels["x"]


def test_a_channel_that_fails_in_its_own_code_fails_that_channel_alone():
    class Broken(Channel):
        def attempt(self, message, thread, timeout_s):
            raise RuntimeError(SECRET)

    error = failure(Broken())
    assert error.reason == "The channel failed with RuntimeError."
    assert error.permanent


def test_slack_keeps_an_incident_in_one_thread(sink, channels):
    threads = {}
    said = {"channels": sink.channels(), "levels": []}
    for kind in KINDS[:5]:
        assert deliver(message(kind=kind), ["slack"], policy.read(said), threads).delivered
    threads = json.loads(json.dumps(threads))
    sent = [entry["payload"] for entry in sink.received(KEY) if entry["channel"] == "slack"][-5:]
    assert [("thread_ts" in one, one.get("reply_broadcast")) for one in sent] == [
        (False, None), (True, False), (True, True), (True, False), (True, True),
    ]  # fmt: skip
    assert {one["thread_ts"] for one in sent[1:]} == {threads["slack"][KEY]["ts"]}
    assert deliver(message(key="another"), ["slack"], policy.read(said), threads).delivered
    assert "thread_ts" not in last(sink, "slack", "another")["payload"]
    assert set(threads["slack"]) == {KEY, "another"}


def test_slack_names_what_it_refuses(sink, channels):
    error = failure(changed(channels["slack"], endpoint=f"{sink.url}/slack/api/wrong/"))
    assert (error.reason, error.permanent) == ("It refused: unknown_method.", True)
    error = failure(channels["slack"].model_copy(update={"channel": ""}))
    assert (error.reason, error.permanent) == ("It refused: invalid_blocks.", True)
    # what is no answer of Slack's at all
    error = failure(changed(channels["slack"], endpoint=f"{sink.url}/nobody/"))
    assert (error.reason, error.permanent) == ("It answered 404.", True)


def test_discord_opens_a_post_of_a_forum_and_goes_on_in_it(sink, channels):
    forum = changed(channels["discord"], forum=True)
    thread = forum.send(message(), {})
    assert last(sink, "discord")["payload"]["thread_name"].startswith("CRITICAL: shop")
    assert forum.send(message(kind="update"), thread) == thread
    entry = last(sink, "discord")
    assert entry["query"] == {"wait": "true", "thread_id": thread["thread"]}
    assert "thread_name" not in entry["payload"]
    assert channels["discord"].send(message(), {}) == {}


def test_pagerduty_knows_an_incident_by_its_key(sink, channels):
    for kind in ("opened", "update", "acknowledged", "resolved"):
        channels["pagerduty"].send(message(kind=kind, key="one-incident"), {})
    sent = [entry["payload"] for entry in sink.received("one-incident") if entry["channel"] == "pagerduty"]
    assert [one["event_action"] for one in sent] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert {one["dedup_key"] for one in sent} == {"one-incident"}
    assert sent[0]["payload"]["severity"] == "critical"


def test_datadog_groups_an_incident_and_calls_its_end_a_success(sink, channels):
    for kind in ("opened", "resolved"):
        channels["datadog"].send(message(kind=kind), {})
    opened, resolved = [entry["payload"] for entry in sink.received(KEY) if entry["channel"] == "datadog"][-2:]
    assert opened["aggregation_key"] == resolved["aggregation_key"] == KEY
    assert (opened["alert_type"], resolved["alert_type"]) == ("error", "success")
    assert opened["date_happened"] == int(AT.timestamp())


def test_a_rehearsal_says_that_it_is_one_and_pages_nobody_as_critical(sink, channels):
    channels["pagerduty"].send(message(kind="rehearsal"), {})
    payload = last(sink, "pagerduty")["payload"]["payload"]
    assert payload["severity"] == "info"
    assert payload["summary"].startswith("REHEARSAL, NO INCIDENT")


def test_sns_asks_for_a_text_message_that_is_not_put_off(sink, channels):
    channels["sns"].send(message(), {})
    payload = last(sink, "sns")["payload"]
    assert payload["PhoneNumber"] == "+4915112345678"
    assert payload["MessageAttributes"]["AWS.SNS.SMS.SMSType"]["StringValue"] == "Transactional"
    assert payload["Message"].endswith(f"[{KEY}]")
    channels["topic"].send(message(), {})
    payload = last(sink, "sns")["payload"]
    assert set(json.loads(payload["Message"])) == {"default", "sms"}
    assert payload["Subject"] == "CRITICAL: shop: The primary does not answer"


def test_sns_behind_something_that_answers_in_its_own_words_is_worth_another_try(sink, channels):
    sink.order("webhook", 503)
    error = failure(changed(channels["sns"], endpoint=f"{sink.url}/webhook"))
    assert (error.reason, error.permanent) == ("Its answer could not be read.", False)


def test_moto_takes_what_is_published_as_well(channels):
    """A stand-in that was written by somebody else."""
    from moto import mock_aws

    with mock_aws():
        import boto3

        boto3.client("sns", region_name="eu-west-1").create_topic(Name="alerts")
        for name in ("sns", "topic"):
            channels_own = changed(channels[name], endpoint=None, access_key=SECRET[:20], secret_key=SECRET)
            channels_own.attempt(message(), {}, 5)


def test_a_webhook_can_tell_who_sent_it(sink, channels):
    channels["webhook"].send(message(), {})
    entry = last(sink, "webhook")
    body = base64.b64decode(entry["body"])
    assert entry["signature"] == signature(SECRET, body)
    assert json.loads(body)["at"] == "2026-11-24T01:20:50.000000Z"
    changed(channels["webhook"], secret=None).send(message(), {})
    assert last(sink, "webhook")["signature"] is None


def test_mails_of_an_incident_answer_the_first(sink, channels):
    thread = channels["smtp"].send(message(), {})
    first = last(sink, "smtp")["payload"]["headers"]
    channels["smtp"].send(message(kind="update"), thread)
    second = last(sink, "smtp")["payload"]["headers"]
    assert first["Message-ID"] == f"<pgrescue.{KEY}@example.org>"
    assert "In-Reply-To" not in first
    assert second["In-Reply-To"] == second["References"] == first["Message-ID"] != second["Message-ID"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sink")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    return folder


@pytest.fixture(scope="module")
def tls_sink(tmp_path_factory, certificate):
    options = ["--cert", str(certificate / "cert.pem"), "--key", str(certificate / "key.pem")]
    with running(tmp_path_factory.mktemp("tls"), *options) as sink:
        yield sink


def test_a_password_is_sent_through_tls_alone(tls_sink, certificate):
    tls_mail(tls_sink, ca_file=str(certificate / "cert.pem")).send(message(), {})
    payload = last(tls_sink, "smtp")["payload"]
    assert (payload["tls"], payload["logged_in"]) == (True, True)
    with pytest.raises(policy.PolicyError, match="a password is not sent without TLS"):
        tls_mail(tls_sink, tls="none")


def test_a_mail_server_that_cannot_be_verified_gets_no_password(tls_sink):
    before = len(tls_sink.received())
    error = failure(tls_mail(tls_sink))
    assert (error.reason, error.permanent) == ("Its certificate could not be verified.", True)
    assert len(tls_sink.received()) == before


def test_a_mail_server_without_tls_gets_no_password(sink):
    error = failure(tls_mail(sink))
    assert (error.reason, error.permanent) == ("The mail server lacks what the options ask for.", True)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("Tue, 24 Nov 2026 01:21:00 GMT", 10.0), ("Tue, 24 Nov 2026 01:20:00 GMT", 0.0),
     ("soon", None), ("-3", None), ("", None), ("²", None), ("1e9", None), ("9" * 400, 86400.0)],
)  # fmt: skip
def test_retry_after_is_read_in_both_of_its_forms(said, seconds):
    assert retry_after({"retry-after": said}, AT) == seconds
