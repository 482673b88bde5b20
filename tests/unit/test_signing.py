"""Signed statements."""

import base64
import json

import pytest
from dumping import key_pair
from modules import collection

signing = collection("plugins.module_utils.signing")
PRIVATE, PUBLIC = key_pair()
PAYLOAD = {"b": [1, 2.5, None], "a": "ü"}


def test_what_was_signed_comes_back():
    envelope = json.loads(json.dumps(signing.sign(PAYLOAD, PRIVATE)))
    assert signing.verify(envelope, [key_pair()[1], PUBLIC]) == PAYLOAD
    assert base64.b64decode(envelope["payload"]) == '{"a":"ü","b":[1,2.5,null]}'.encode()


def test_the_encoding_that_is_signed_is_that_of_the_dsse_specification():
    assert signing.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_each_way_to_be_refused_has_a_name():
    envelope = signing.sign(PAYLOAD, PRIVATE)
    with pytest.raises(signing.UnknownKey, match="none of the 1 public keys"):
        signing.verify(envelope, [key_pair()[1]])
    with pytest.raises(signing.UnknownKey):
        signing.verify(envelope, [])
    other = signing.sign({**PAYLOAD, "a": "u"}, PRIVATE)
    for changed in (
        {**envelope, "payload": other["payload"]},
        {**envelope, "signatures": other["signatures"]},
        {**envelope, "payloadType": "text/plain"},
    ):
        with pytest.raises(signing.WrongSignature, match="was changed"):
            signing.verify(changed, [PUBLIC])
    for broken in ({}, [], "x", {**envelope, "payload": "%"}, {**envelope, "signatures": [{}]}):
        with pytest.raises(signing.MalformedEnvelope):
            signing.verify(broken, [PUBLIC])
    with pytest.raises(signing.MalformedEnvelope, match=r"holds text/plain"):
        signing.verify(signing.sign(PAYLOAD, PRIVATE, "text/plain"), [PUBLIC])
    with pytest.raises(signing.MalformedEnvelope):
        signing.parse(b"{")


def test_an_envelope_without_signatures_is_signed_by_nobody():
    with pytest.raises(signing.UnknownKey):
        signing.verify({**signing.sign(PAYLOAD, PRIVATE), "signatures": []}, [PUBLIC])


def test_a_key_of_another_kind_is_refused_with_the_way_to_make_one():
    for call in (lambda: signing.sign({}, PUBLIC), lambda: signing.sign({}, "x")):
        with pytest.raises(collection("plugins.module_utils.guards").Stop, match="openssl genpkey -algorithm ed25519"):
            call()
    with pytest.raises(collection("plugins.module_utils.guards").Stop, match="pubout"):
        signing.verify(signing.sign({}, PRIVATE), [PRIVATE])
