"""Whether a password is the one that PostgreSQL keeps a verifier of. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re


def is_of(verifier: str, user: str, password: str) -> bool:
    """Whether the password is the verifier's: SCRAM-SHA-256, or the MD5 of older servers.

    Other characters than ASCII are taken as they are; PostgreSQL folds some of them first, and such a password counts as another.
    """
    found = re.match(r"^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):", verifier)
    if not found:
        legacy = hashlib.md5((password + user).encode("utf-8")).hexdigest()
        return hmac.compare_digest(verifier, "md5" + legacy)
    salted = hashlib.pbkdf2_hmac(
        "sha256", password.encode("utf-8"), base64.b64decode(found.group(2)), int(found.group(1))
    )
    key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    return hmac.compare_digest(base64.b64encode(hashlib.sha256(key).digest()).decode("ascii"), found.group(3))
