"""What has to be known of a service that no look at its hosts can tell, and whom to ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

Answers = dict[str, str | None]


class AnswerError(Exception):
    """An answer to a question that nobody asks; the message says which there are."""


@dataclass(frozen=True)
class Question:
    """One thing to know. `why` stands beside the line that is left open when nobody answers.

    With `needs` it is asked only when that one was answered.
    """

    name: str
    asks: str
    why: str
    default: str | None = None
    secret: bool = False
    needs: str | None = None
    number: bool = False


PROMISE = (
    Question("rto_s", "Back within how many seconds", "what is promised", "3600", number=True),
    Question("rpo_s", "Losing at most how many seconds", "what is promised", "86400", number=True),
)
_STORE = "https, S3-compatible; its host name, without a path"
STORES = (
    Question("store_endpoint", f"Object store ({_STORE})", "backups go there"),
    Question("store_region", "Its region", "signatures name it", "us-east-1", needs="store_endpoint"),
    Question("store_bucket", "A bucket there for backups", "it must exist", needs="store_endpoint"),
    Question("store_records", "A bucket there for records of runs", "it must exist", needs="store_endpoint"),
    Question("store_key", "An access key that reads, writes and deletes in both", "for the store",
             needs="store_endpoint"),
    Question("store_secret", "Its secret", "for the store", secret=True, needs="store_endpoint"),
    Question("store_ca_file", "Certificate authorities, a file on the hosts", "the store's certificate is checked",
             "/etc/ssl/certs/ca-certificates.crt", needs="store_endpoint"),
    Question("records_url", "Where this machine reaches that store, if not by https and that name",
             "records are written from here", "", needs="store_endpoint"),
    Question("records_ca_file", "Its certificate authority, a file on this machine; empty for the system's",
             "records are written from here", "", needs="store_endpoint"),
    Question("second_endpoint", f"A second object store, elsewhere ({_STORE}); empty for none",
             "with one store its loss is the loss of every backup"),
    Question("second_region", "Its region", "signatures name it", "us-east-1", needs="second_endpoint"),
    Question("second_bucket", "A bucket there for backups", "it must exist", needs="second_endpoint"),
    Question("second_key", "An access key that reads, writes and deletes there", "for that store",
             needs="second_endpoint"),
    Question("second_secret", "Its secret", "for that store", secret=True, needs="second_endpoint"),
    Question("second_ca_file", "Certificate authorities, a file on the hosts", "the store's certificate is checked",
             "/etc/ssl/certs/ca-certificates.crt", needs="second_endpoint"),
)  # fmt: skip
PHYSICAL = (
    *PROMISE,
    Question("endpoint_name", "The name that clients connect to", "a recovery moves it"),
    Question("endpoint_zone", "The DNS zone it is in", "a recovery moves the name", needs="endpoint_name"),
    Question("endpoint_server", "Address of the name server that takes updates (RFC 2136)", "a recovery moves the name",
             needs="endpoint_name"),
    Question("endpoint_key_name", "Name of the TSIG key", "updates are signed", "pgrescue", needs="endpoint_server"),
    Question("endpoint_key_secret", "The TSIG key (hmac-sha256, base64)", "updates are signed", secret=True,
             needs="endpoint_server"),
    Question("tls_ca", "Certificate authority of the database's certificate, a file on every host",
             "clients verify it"),
    Question("tls_cert", "The server's certificate, a file on the database's hosts",
             "it must name the host, and endpoint_name"),
    Question("tls_key", "Its key, readable by postgres", "the server needs it"),
    Question("client_networks", "Networks that clients come from, separated by commas",
             "nobody else is let in by password", ""),
    Question("health_url", "A URL that answers 200 while clients are served", "the witness asks it"),
    Question("application_unit", "systemd template whose instances are the application, such as orders@",
             "a recovery stops and starts it (others than systemd: docs/endpoints.md)"),
    Question("application_instances", "How many of them run", "as many are started again", "1",
             needs="application_unit", number=True),
    *STORES,
)  # fmt: skip
DUMPS = (*PROMISE, *STORES)


def answers(
    questions: Iterable[Question],
    given: Mapping[str, str],
    found: Mapping[str, str | None],
    ask: Callable[[Question, str | None], str] | None,
) -> Answers:
    """An answer to each question: as it was given, else as it was found, else as `ask` says it; None where nobody does.

    Without `ask` defaults stand. Raises AnswerError for what is given and not asked, or should be a number and is none.
    """
    known = list(questions)
    strange = sorted(set(given) - {one.name for one in known})
    if strange:
        raise AnswerError(f"Nobody asks for {', '.join(strange)}; there are {', '.join(one.name for one in known)}.")
    said: Answers = {}
    for one in known:
        if one.needs and not said.get(one.needs):
            said[one.name] = None
        elif one.name in given:
            said[one.name] = given[one.name]
        else:
            usual = found.get(one.name) or one.default
            said[one.name] = (ask(one, usual) or None) if ask else usual
        if one.number and not (said[one.name] or "1").isdigit():
            raise AnswerError(f"{one.name} is a number, not {said[one.name]}.")
    return said
