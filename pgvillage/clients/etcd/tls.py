"""Where a request may go, and with which certificates."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pgvillage.clients.loopback import is_loopback
from pgvillage.core.errors import CredentialRefused, SettingsError
from pgvillage.settings import TlsFiles


def checked_endpoint(target: str, url: str, *, with_password: bool) -> str:
    """The endpoint as scheme, host and port.

    Raises SettingsError for anything more or less, CredentialRefused where a password would travel in clear text.
    """
    parts = _split(target, url)
    host = parts.hostname or ""
    if parts.username is not None or parts.password is not None:
        raise SettingsError(f"{target}: the endpoint at {host} holds a user; set user and password instead")
    if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise SettingsError(f"{target}: expected an endpoint like https://etcd1.example:2379, found {url!r}")
    shown = f"[{host}]" if ":" in host else host
    if parts.scheme == "http" and with_password and not is_loopback(host):
        raise CredentialRefused(
            f"{target}: the password would go to http://{shown} in clear text; use an https:// endpoint"
        )
    return f"{parts.scheme}://{shown}:{parts.port or 2379}"


def _split(target: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no port
    except ValueError:
        raise SettingsError(f"{target}: an endpoint is not a URL: expected https://HOST:PORT") from None
    return parts


def tls_context(target: str, files: TlsFiles) -> ssl.SSLContext:
    """Verification of chain and name is always on; with `ca` that CA is the only one trusted."""
    if files.key and not files.cert:
        raise SettingsError(f"{target}: tls.key needs tls.cert beside it")
    for path in (files.ca, files.cert, files.key):
        if path is not None and not _is_readable(path):
            raise SettingsError(f"{target}: cannot read the TLS file {path}")
    try:
        context = ssl.create_default_context(cafile=files.ca)
    except ssl.SSLError:
        raise SettingsError(f"{target}: {files.ca} holds no CA certificate in PEM form") from None
    if files.cert:
        try:
            # without a password callback OpenSSL would ask on the terminal for the passphrase of an encrypted key
            context.load_cert_chain(files.cert, files.key, password=lambda: "")
        except (ssl.SSLError, ValueError):
            raise SettingsError(
                f"{target}: {files.cert} and {files.key or 'the key in it'} are no pair of a certificate "
                "and its unencrypted key in PEM form"
            ) from None
    return context


def _is_readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False
