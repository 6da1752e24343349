"""Names of a cluster's nodes where no engine names them: made of the hosts of the manifest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_PORT = ":5432"
_FORBIDDEN = re.compile(r"[^A-Za-z0-9._:-]")


def node_name(host: str) -> str:
    """`pg1.example` for pg1.example:5432, `pg1.example:5433` as it is; fit for URLs and for HAProxy.

    Whatever else a host holds, such as an IPv6 address' brackets, becomes `_`.
    """
    return _FORBIDDEN.sub("_", host.removesuffix(_PORT))


def node_names(hosts: Iterable[str]) -> Mapping[str, str]:
    """Name -> host, in order; two hosts that would have one name are told apart by a number."""
    found: dict[str, str] = {}
    for host in dict.fromkeys(hosts):
        base = name = node_name(host)
        number = 2
        while name in found:
            name, number = f"{base}-{number}", number + 1
        found[name] = host
    return found
