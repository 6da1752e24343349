"""A server's certificate and key: do they fit, and until when."""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path

from pgvillage.core.errors import SettingsError


def expiry(what: str, cert: Path, key: Path) -> datetime:
    """When the certificate ends. Raises SettingsError, `what` first, when the pair can't be read or does not fit."""
    from cryptography import x509

    for file in (cert, key):
        try:
            file.read_bytes()
        except OSError as error:
            raise SettingsError(f"{what}: {file}: {error.strerror}; can this account read it?") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
        return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc
    except ssl.SSLError as error:
        why = error.reason or "not PEM"
        raise SettingsError(f"{what}: {cert} and {key} can't be used together ({why})") from None
    except ValueError:
        raise SettingsError(f"{what}: {cert} is no certificate in PEM") from None


def _no_password() -> str:
    """Nobody is asked at a terminal."""
    return ""
