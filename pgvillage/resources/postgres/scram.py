"""SCRAM-SHA-256 verifiers: does a password fit the one that is stored?"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

from pgvillage.core.secret import Secret

_FORM = re.compile(r"SCRAM-SHA-256\$([0-9]+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)\Z")
_MAX_ITERATIONS = 1_000_000


def matches(password: Secret, verifier: Secret) -> bool:
    """Recompute with the stored salt and iterations (RFC 5803); False for anything that is no such verifier."""
    match = _FORM.match(verifier.reveal())
    if not match or not 0 < int(match[1]) <= _MAX_ITERATIONS:
        return False
    try:
        salt, stored = base64.b64decode(match[2], validate=True), base64.b64decode(match[3], validate=True)
    except binascii.Error:
        return False
    return any(
        hmac.compare_digest(_stored_key(form, salt, int(match[1])), stored) for form in _forms(password.reveal())
    )


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
