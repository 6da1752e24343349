"""Marks: salted, slow fingerprints by which the ledger knows a password again without holding it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re

from pgvillage.core.secret import Secret

# What SCRAM-SHA-256 verifiers of PostgreSQL cost to guess at; a mark must not be the cheaper of the two.
_ITERATIONS = 4096
_MAX_ITERATIONS = 1_000_000
_FORM = re.compile(r"pbkdf2-sha256\$([0-9]{1,7})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)\Z")
# Set apart from SCRAM's own use of PBKDF2: a mark is of no use for logging in, not even to who knows the protocol.
_PURPOSE = b"pgvillage ledger "


def mark_of(secret: Secret) -> str:
    """`pbkdf2-sha256$ITERATIONS$SALT$HASH`, with a new salt each time."""
    salt = os.urandom(16)
    return f"pbkdf2-sha256${_ITERATIONS}${_base64(salt)}${_base64(_hash(secret, salt, _ITERATIONS))}"


def fits(secret: Secret, mark: str) -> bool:
    """Whether `mark` was made of this value; False for anything that is no mark."""
    parts = salted_parts(_FORM, mark)
    if parts is None:
        return False
    iterations, salt, stored = parts
    return hmac.compare_digest(_hash(secret, salt, iterations), stored)


def salted_parts(form: re.Pattern[str], text: str) -> tuple[int, bytes, bytes] | None:
    """Iterations, salt and stored key by the first three groups of `form`; None for what is no such text, or would
    take for ever to compare.
    """
    match = form.match(text)
    if not match or not 0 < int(match[1]) <= _MAX_ITERATIONS:
        return None
    try:
        return int(match[1]), base64.b64decode(match[2], validate=True), base64.b64decode(match[3], validate=True)
    except binascii.Error:
        return None


def _hash(secret: Secret, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", secret.reveal().encode(), _PURPOSE + salt, iterations)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
