"""Mail over SMTP, with the headers by which a mail program keeps an incident together."""

from __future__ import annotations

import secrets
import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pgrescue.alerting import text
from pgrescue.alerting.channels.base import Channel, Secret, Thread
from pgrescue.alerting.failure import DeliveryError
from pgrescue.alerting.message import Message, headline, thread_key
from pgrescue.core.inert import inert
from pgrescue.models import rfc3339

SUBJECT_LIMIT, BODY_LIMIT = 200, 16384
_PERMANENT = 500


def _is_mailbox(address: str) -> str:
    try:
        found = Address(addr_spec=address)
    except (ValueError, IndexError):
        found = Address()
    if not found.username or not found.domain or inert(address) != address or not address.isascii():
        raise ValueError("an address looks like name@example.org")
    return address


Mailbox = Annotated[str, AfterValidator(_is_mailbox)]


class Email(Channel):
    """Options of a channel of kind `email`."""

    kind: Literal["email"]
    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    ca_file: str | None = None
    username: str | None = None
    password: Secret | None = None
    sender: Mailbox
    to: list[Mailbox] = Field(min_length=1)

    @model_validator(mode="after")
    def _log_in_is_whole(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password are given together")
        if self.password is not None and self.tls == "none":
            raise ValueError("a password is not sent without TLS")
        return self

    def attempt(self, message: Message, thread: Thread, timeout_s: float) -> Thread:
        """Send one mail to all of them."""
        mail = compose(message, self.sender, self.to, reply="sent" in thread)
        try:
            with self._connection(timeout_s) as connection:
                if self.tls == "starttls":
                    connection.starttls(context=self._context())
                if self.username is not None and self.password is not None:
                    connection.login(self.username, self.password.get_secret_value())
                refused = connection.send_message(mail, self.sender, self.to)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise _refusal(min(codes), "all recipients") from None
        except smtplib.SMTPResponseException as error:
            raise _refusal(error.smtp_code, type(error).__name__) from None
        except smtplib.SMTPNotSupportedError:
            raise DeliveryError("The mail server lacks what the options ask for.", permanent=True) from None
        except ssl.SSLCertVerificationError:
            raise DeliveryError("Its certificate could not be verified.", permanent=True) from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"It could not be reached ({type(error).__name__}).") from None
        if refused:
            raise DeliveryError(f"{len(refused)} of {len(self.to)} recipients were refused.", permanent=True)
        return {**thread, "sent": "yes"}

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def _connection(self, timeout_s: float) -> smtplib.SMTP:
        if self.tls == "implicit":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=timeout_s, context=self._context())
        return smtplib.SMTP(self.host, self.port, timeout=timeout_s)


def _refusal(code: int, what: str) -> DeliveryError:
    return DeliveryError(f"The mail server refused with {code} ({what}).", permanent=code >= _PERMANENT)


def compose(message: Message, sender: str, to: list[str], reply: bool) -> EmailMessage:
    """The mail. The first one of an incident has an id made from the key, to which all others answer."""
    mail = EmailMessage(policy=SMTP)
    domain = sender.rpartition("@")[2]
    key = thread_key(message.key)
    root = f"<pgrescue.{key.replace(':', '.')}@{domain}>"
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Subject"] = text.fit(_without_encoded_words(headline(message)), SUBJECT_LIMIT)
    mail["Date"] = message.at
    mail["Message-ID"] = f"<pgrescue.{secrets.token_hex(16)}@{domain}>" if reply else root
    if reply:
        mail["In-Reply-To"] = root
        mail["References"] = root
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Pgrescue-Key"] = key
    if message.severity == "critical":
        mail["Importance"] = "high"
    mail.set_content(_plain(message))
    mail.add_alternative(_html(message), subtype="html")
    return mail


def _without_encoded_words(subject: str) -> str:
    """Python reads `=?utf-8?q?=0D=0A...?=` in a header as the break that it stands for, and writes that break."""
    return inert(subject).replace("=?", "= ?")


def _plain(message: Message) -> str:
    parts = [
        text.fit(headline(message), text.FACT_LIMIT),
        text.fit_lines(message.lines, BODY_LIMIT, bullet="- "),
        text.fit_commands(message.commands, BODY_LIMIT),
        f"{thread_key(message.key)}  {rfc3339(message.at)}",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _html(message: Message) -> str:
    facts = text.fit_lines(message.lines, BODY_LIMIT, text.html, bullet="").split("\n") if message.lines else []
    commands = text.fit_commands(message.commands, BODY_LIMIT, text.html)
    parts = [
        f"<p><strong>{text.fit(headline(message), text.FACT_LIMIT, text.html)}</strong></p>",
        "<ul>" + "".join(f"<li>{fact}</li>" for fact in facts) + "</ul>" if facts else "",
        f"<pre>{commands}</pre>" if commands else "",
        f"<p>{thread_key(message.key)}  {rfc3339(message.at)}</p>",
    ]
    return "\n".join(filter(None, parts)) + "\n"
