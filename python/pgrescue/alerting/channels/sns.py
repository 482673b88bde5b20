"""Amazon SNS: a text message to a telephone, or a topic and all who subscribed to it."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any, Literal, Self

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError
from pydantic import Field, model_validator

from pgrescue.alerting import text
from pgrescue.alerting.channels.base import Channel, Secret, Thread, WebAddress
from pgrescue.alerting.failure import DeliveryError, refuse_status
from pgrescue.alerting.message import Message, headline, thread_key
from pgrescue.models import rfc3339

SMS_LIMIT, SUBJECT_LIMIT, DETAILS_LIMIT = 300, 99, 8192
_HOPELESS = (NoCredentialsError, NoRegionError, ParamValidationError, PartialCredentialsError)
_SUCCESS = 200


class Sns(Channel):
    """Options of a channel of kind `sns`. Without keys boto3 looks for them where it always does."""

    kind: Literal["sns"]
    region: str = Field(min_length=1)
    phone: str | None = Field(default=None, pattern=r"^\+[1-9][0-9]{1,14}$")
    topic: str | None = Field(default=None, pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}$")
    sender_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]*[A-Za-z][A-Za-z0-9-]*$", max_length=11)
    access_key: Secret | None = None
    secret_key: Secret | None = None
    endpoint: WebAddress | None = None

    @model_validator(mode="after")
    def _one_destination(self) -> Self:
        if (self.phone is None) == (self.topic is None):
            raise ValueError("either phone or topic is given")
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key are given together")
        return self

    def attempt(self, message: Message, thread: Thread, timeout_s: float) -> Thread:
        """Publish."""
        limits = Config(
            connect_timeout=timeout_s, read_timeout=timeout_s, retries={"total_max_attempts": 1, "mode": "standard"}
        )
        try:
            client = Session(region_name=self.region).client(
                "sns",
                endpoint_url=self.endpoint,
                config=limits,
                aws_access_key_id=self.access_key.get_secret_value() if self.access_key else None,
                aws_secret_access_key=self.secret_key.get_secret_value() if self.secret_key else None,
            )
            with closing(client):
                client.publish(**payload(message, self.phone, self.topic, self.sender_id))
        except ClientError as error:
            raise _failure(error) from None
        except ResponseParserError:  # of something that stands before it, and has words of its own
            raise DeliveryError("Its answer could not be read.") from None
        except BotoCoreError as error:
            reason = f"It could not be asked ({type(error).__name__})."
            raise DeliveryError(reason, permanent=isinstance(error, _HOPELESS)) from None
        return thread


def _failure(error: ClientError) -> DeliveryError:
    answer: Any = error.response
    code = text.fit(str(answer.get("Error", {}).get("Code", "")), 80)
    about = answer.get("ResponseMetadata", {})
    status = int(about.get("HTTPStatusCode", 0))
    # it throttles with a 400 as well
    status = 429 if code.startswith(("Throttl", "RequestLimitExceeded", "TooManyRequests")) else status
    try:
        refuse_status(status, about.get("HTTPHeaders", {}), code)
    except DeliveryError as failure:
        return failure
    return DeliveryError(f"It refused: {code}.", permanent=True)


def payload(message: Message, phone: str | None, topic: str | None, sender_id: str | None = None) -> dict[str, Any]:
    """The arguments of `publish`."""
    attributes = {"AWS.SNS.SMS.SMSType": "Transactional"} | ({"AWS.SNS.SMS.SenderID": sender_id} if sender_id else {})
    if phone is not None:
        return {"PhoneNumber": phone, "Message": sms(message), "MessageAttributes": _strings(attributes)}
    return {
        "TopicArn": topic,
        "Subject": text.fit(headline(message), SUBJECT_LIMIT, text.ascii_only, "..."),
        "MessageStructure": "json",
        "Message": json.dumps({"default": details(message), "sms": sms(message)}),
        "MessageAttributes": _strings(attributes | {"key": thread_key(message.key), "kind": message.kind}),
    }


def _strings(attributes: dict[str, str]) -> dict[str, dict[str, str]]:
    return {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}


def sms(message: Message) -> str:
    """Two short messages at most: the sentence, as many facts as there is room for, and the incident."""
    key = f" [{thread_key(message.key)}]"
    words = ". ".join([headline(message).rstrip("."), *message.lines])
    return text.fit(words, SMS_LIMIT - len(key), text.ascii_only, "...") + key


def details(message: Message) -> str:
    """What a subscriber by mail reads."""
    parts = [
        text.fit(headline(message), text.FACT_LIMIT),
        text.fit_lines(message.lines, DETAILS_LIMIT),
        text.fit_commands(message.commands, DETAILS_LIMIT),
        f"{thread_key(message.key)}  {rfc3339(message.at)}",
    ]
    return "\n\n".join(filter(None, parts))
