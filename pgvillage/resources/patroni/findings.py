"""What a look at Patroni's configuration has to say besides what differs; what is wrong with nodes is said of them."""

from __future__ import annotations

from collections.abc import Iterable

from pgvillage.core.address import quote_part
from pgvillage.core.plan import Finding
from pgvillage.resources.patroni.seen import Seen
from pgvillage.resources.patroni.wishes import faults_of


def findings_of(found: Seen) -> Iterable[Finding]:
    for note in found.notes:
        yield Finding("info", note)
    for key in found.state.ill:
        yield Finding("warning", f"Patroni's key {quote_part(key)} can't be read")
    for fault in faults_of(found.config):
        yield Finding("warning", f"Patroni's configuration: {fault}")
