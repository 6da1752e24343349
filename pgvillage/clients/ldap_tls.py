"""TLS to a directory: always verified, with a client certificate where one is set."""

from __future__ import annotations

import ssl
from typing import Any

from pgvillage.clients.ldap_failure import DirectoryRefused, ServerGone, Uri, in_words, result_in_words
from pgvillage.core.lookup import TlsFacts
from pgvillage.settings import Directory

_START_TLS = "1.3.6.1.4.1.1466.20037"
_TLS_ADVICE = {
    "has expired": "renew the server's certificate",
    "mismatch": "use the name that the certificate is for, or renew it with this one",
    "local issuer": "set `ca` to the file of the authority that issued it",
    "self-signed": "set `ca` to the file of the authority that issued it",
}


def tls_context(settings: Directory) -> ssl.SSLContext:
    # Python's own context checks chain, dates and host name; ldap3's Tls checks no name by itself for every version.
    try:
        context = ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
    except (OSError, ssl.SSLError) as error:
        raise DirectoryRefused(f"cannot read the CA file {settings.ca}: {error.strerror or error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls:
        try:
            # An empty password: a key that has one must not make OpenSSL ask on the terminal.
            context.load_cert_chain(settings.tls.cert, settings.tls.key, password="")
        except (OSError, ssl.SSLError) as error:
            raise DirectoryRefused(
                f"cannot use the client certificate {settings.tls.cert} with the key {settings.tls.key}: "
                f"{error.strerror or error}; both must be PEM, readable, without a passphrase, and belong together"
            ) from None
    return context


def secure(uri: Uri, connection: Any, context: ssl.SSLContext, settings: Directory) -> None:
    if uri.scheme == "ldap":
        with in_words(uri, "StartTLS"):
            connection.extended(_START_TLS)
        if connection.result["result"] != 0:
            raise ServerGone(
                f"{uri}: StartTLS: expected TLS to start, found {result_in_words(connection.result)}; "
                "set up a certificate on the server or use ldaps://"
            )
    try:
        # Two steps, so that the call can be cut while a server drags out the handshake.
        connection.socket = context.wrap_socket(
            connection.socket, server_hostname=uri.host, do_handshake_on_connect=False
        )
        connection.socket.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise ServerGone(_certificate_refused(uri, error, settings)) from None
    except OSError as error:
        raise ServerGone(f"{uri}: TLS failed: {error}; expected TLS 1.2 or later on this port") from None
    connection.tls_started = True


def _certificate_refused(uri: Uri, error: ssl.SSLCertVerificationError, settings: Directory) -> str:
    authority = f"the authority in {settings.ca}" if settings.ca else "an authority that this system trusts"
    advice = next((advice for part, advice in _TLS_ADVICE.items() if part in error.verify_message), "look at it")
    return (
        f"{uri}: the server's certificate was refused: expected a valid one for {uri.host} from {authority}, "
        f"found: {error.verify_message}; {advice}"
    )


def tls_facts(used: Any) -> TlsFacts | None:
    """What is true of this connection's TLS; None for a socket without."""
    if not isinstance(used, ssl.SSLSocket):
        return None
    certificate = used.getpeercert() or {}
    subject: Any = certificate.get("subject", ())
    names: Any = certificate.get("subjectAltName", ())
    return TlsFacts(
        version=used.version() or "",
        subject=", ".join(f"{name}={value}" for rdn in subject for name, value in rdn),
        names=tuple(value for _, value in names),
        expires=str(certificate.get("notAfter", "")),
    )
