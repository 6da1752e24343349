"""A DNS server on a free loopback UDP port that knows only the SRV records it is given."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

# What a name has: texts of SRV records, [] for none of that type, or how the server fails.
Zone = Mapping[str, Sequence[str] | dns.rcode.Rcode | None]


@contextlib.contextmanager
def dns_server(zone: Zone) -> Iterator[str]:
    """Yields IP:PORT. A name that the zone has not does not exist; None is never answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(listener, zone))
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", listener.getsockname())
            thread.join()


def _serve(listener: socket.socket, zone: Zone) -> None:
    while True:
        wire, sender = listener.recvfrom(4096)
        if not wire:
            return
        question = dns.message.from_wire(wire)
        name = question.question[0].name
        found = zone.get(name.to_text(omit_final_dot=True), dns.rcode.NXDOMAIN)
        if found is None:
            continue
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        if isinstance(found, dns.rcode.Rcode):
            answer.set_rcode(found)
        elif found:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *found))
        listener.sendto(answer.to_wire(), sender)
