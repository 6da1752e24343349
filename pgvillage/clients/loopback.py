"""Which hosts are this machine: what is secret may go there without TLS."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Of a host as a URL has it, in small letters; a name is believed of nobody but localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
