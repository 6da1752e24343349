"""Token buckets: how much one address, or one hook, may ask for."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Flood:
    """Buckets by name that hold `burst` and gain `rate` a second; the `most` used last are remembered."""

    def __init__(self, burst: float, rate: float, most: int = 4_096) -> None:
        self._burst, self._rate, self._most = burst, rate, most
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait(self, name: str, now: float) -> int:
        """Whole seconds until there is a token, 0 when there is one."""
        missing = 1 - self._bucket(name, now).tokens
        return math.ceil(missing / self._rate) if missing > 0 else 0

    def take(self, name: str, now: float, tokens: float = 1) -> None:
        """May leave a debt, of no more than one burst."""
        bucket = self._bucket(name, now)
        bucket.tokens = max(bucket.tokens - tokens, -self._burst)

    def _bucket(self, name: str, now: float) -> _Bucket:
        bucket = self._buckets.pop(name, None) or _Bucket(self._burst, now)
        bucket.tokens = min(self._burst, bucket.tokens + max(now - bucket.at, 0) * self._rate)
        bucket.at = now
        self._buckets[name] = bucket
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket

    def __len__(self) -> int:
        return len(self._buckets)
