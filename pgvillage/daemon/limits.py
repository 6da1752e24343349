"""How often somebody may try: counted per key in fixed windows, in bounded memory."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

_KEYS = 10_000


class Limiter:
    """At most `most` in `seconds` for each key; of too many keys those that were quiet longest are forgotten."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float], keys: int = _KEYS) -> None:
        self._most, self._seconds, self._clock, self._keys = most, seconds, clock, keys
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Seconds until `key` may try again, 0 for now; counts nothing."""
        began, count = self._counts.get(key, (0.0, 0))
        left = began + self._seconds - self._clock()
        return left if count >= self._most and left > 0 else 0.0

    def count(self, key: str) -> None:
        now = self._clock()
        began, count = self._counts.pop(key, (now, 0))
        self._counts[key] = (began, count + 1) if began + self._seconds > now else (now, 1)
        while len(self._counts) > self._keys:
            self._counts.popitem(last=False)

    def forget(self, key: str) -> None:
        self._counts.pop(key, None)

    def __len__(self) -> int:
        return len(self._counts)


def network_of(address: str) -> str:
    """Who counts as one: an IPv4 address, or the /64 that a single IPv6 customer has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address
