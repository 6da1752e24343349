"""Hashes of passwords of people who sign in to the dashboard: scrypt (RFC 7914), with what it cost in the text."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import re
import secrets

_LOG_N, _R, _P = 15, 8, 1  # 32 MiB and about a tenth of a second
_SALT, _KEY = 16, 32
_FORM = re.compile(r"scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)\Z")
_MOST_MEMORY = 256 << 20


def hash_password(password: str) -> str:
    """`scrypt$ln=15,r=8,p=1$SALT$KEY`, both in base64."""
    salt = secrets.token_bytes(_SALT)
    key = _key(password, salt, (_LOG_N, _R, _P), _KEY)
    return f"scrypt$ln={_LOG_N},r={_R},p={_P}${_text(salt)}${_text(key)}"


def is_password_hash(text: str) -> bool:
    return _parts(text) is not None


def fits(password: str, text: str) -> bool:
    """Whether this is the hash's password. False for what is no hash."""
    parts = _parts(text)
    if parts is None:
        return False
    cost, salt, key = parts
    return hmac.compare_digest(_key(password, salt, cost, len(key)), key)


@functools.cache
def nobody() -> str:
    """What a password is compared with when there is no such user, so that it takes as long."""
    return hash_password(secrets.token_urlsafe())


def _parts(text: str) -> tuple[tuple[int, int, int], bytes, bytes] | None:
    match = _FORM.match(text.strip())
    if match is None:
        return None
    log_n, r, p = (int(match[n]) for n in (1, 2, 3))
    if not (10 <= log_n <= 20 and r >= 1 and 1 <= p <= 16 and 128 * r * 2**log_n <= _MOST_MEMORY // 2):
        return None
    try:
        salt, key = (base64.b64decode(match[n], validate=True) for n in (4, 5))
    except binascii.Error:
        return None
    return ((log_n, r, p), salt, key) if len(salt) >= 8 and len(key) >= _SALT else None


def _key(password: str, salt: bytes, cost: tuple[int, int, int], length: int) -> bytes:
    log_n, r, p = cost
    return hashlib.scrypt(
        password.encode(), salt=salt, n=2**log_n, r=r, p=p, maxmem=_MOST_MEMORY, dklen=length
    )  # fmt: skip


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
