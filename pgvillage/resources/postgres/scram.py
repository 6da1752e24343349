"""SCRAM-SHA-256 verifiers: does a password fit the one that is stored?"""

from __future__ import annotations

import hashlib
import hmac
import re

from pgvillage.core.password_mark import salted_parts
from pgvillage.core.secret import Secret

_FORM = re.compile(r"SCRAM-SHA-256\$([0-9]+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)\Z")


def matches(password: Secret, verifier: Secret) -> bool:
    """Recompute with the stored salt and iterations (RFC 5803); False for anything that is no such verifier."""
    parts = salted_parts(_FORM, verifier.reveal())
    if parts is None:
        return False
    iterations, salt, stored = parts
    return any(hmac.compare_digest(_stored_key(form, salt, iterations), stored) for form in _forms(password.reveal()))


def _forms(password: str) -> list[bytes]:
    """As PostgreSQL does: SASLprep where the password allows it, else the bytes as they are."""
    prepared = _saslprep(password)
    return list({prepared.encode(), password.encode()})


def _stored_key(password: bytes, salt: bytes, iterations: int) -> bytes:
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    return hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()


def _saslprep(password: str) -> str:
    if password.isascii():
        return password
    import stringprep
    import unicodedata

    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in password if not stringprep.in_table_b1(c)
    )  # fmt: skip
    return unicodedata.normalize("NFKC", mapped)
