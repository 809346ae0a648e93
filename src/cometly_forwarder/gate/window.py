"""The counted window: how many slots each tenth of a second holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Cometly's limit counts requests in a minute.
MINUTE = 60.0
# How much later than its slot a request may reach Cometly: a late thread, a new connection.
JITTER_SECONDS = 0.3
# Slots are counted in buckets of this length, one byte each, so that the gate's item stays under
# 1 KB, which is one write unit of DynamoDB.
BUCKET_SECONDS = 0.1
WINDOW_BUCKETS = math.ceil((MINUTE + JITTER_SECONDS) / BUCKET_SECONDS) + 1
WINDOW_SECONDS = WINDOW_BUCKETS * BUCKET_SECONDS
# Counts are kept this much longer, for workers whose clocks are behind.
_SKEW_BUCKETS = 30
_FULLEST = 255


@dataclass(frozen=True, slots=True)
class Window:
    """Slots a bucket, from bucket `base` on: those of the last minute, and those reserved ahead."""

    base: int = 0
    sent: bytes = b""

    def recent(self, now: float) -> Window:
        """Leave out the counts that no window reaches any more."""
        oldest = _bucket(now) - WINDOW_BUCKETS - _SKEW_BUCKETS
        drop = max(0, oldest - self.base)
        kept = self.sent[drop:]
        return Window(self.base + drop if kept else _bucket(now), kept)

    @property
    def end(self) -> float:
        """The end of the last bucket that was counted in."""
        return (self.base + len(self.sent)) * BUCKET_SECONDS

    def first_room(self, wanted: float, most: int) -> float:
        """Find the first time from `wanted` on whose window holds fewer than `most` slots.

        Slots that lie later count too, so that no window that ends with one of them overflows.
        """
        bucket, last = _bucket(wanted), self.base + len(self.sent) - 1
        while self._count(bucket - WINDOW_BUCKETS, max(bucket, last)) >= most:
            bucket += 1
        return max(wanted, bucket * BUCKET_SECONDS)

    def taken(self, now: float) -> int:
        """Count the slots of the window that ends now, and all that lie ahead."""
        return self._count(_bucket(now) - WINDOW_BUCKETS, self.base + len(self.sent) - 1)

    def with_slot(self, slot: float) -> Window:
        place = max(0, _bucket(slot) - self.base)
        counts = bytearray(self.sent.ljust(place + 1, b"\0"))
        counts[place] = min(counts[place] + 1, _FULLEST)
        return Window(self.base, bytes(counts))

    def without(self, slots: tuple[float, ...]) -> Window:
        counts = bytearray(self.sent)
        for place in (_bucket(slot) - self.base for slot in slots):
            if 0 <= place < len(counts) and counts[place]:
                counts[place] -= 1
        return Window(self.base, bytes(counts))

    def count(self, start: float, end: float) -> int:
        """Count the slots from `start` to `end`, but no more than those of the last minute."""
        return self._count(_bucket(max(start, end - MINUTE)) - 1, _bucket(end))

    def _count(self, before: int, last: int) -> int:
        """Count the slots of the buckets after `before`, up to and with `last`."""
        return sum(self.sent[max(0, before + 1 - self.base) : max(0, last + 1 - self.base)])


def _bucket(moment: float) -> int:
    # The small addition keeps a time that is a bucket's very start in that bucket.
    return math.floor(moment / BUCKET_SECONDS + 1e-6)
