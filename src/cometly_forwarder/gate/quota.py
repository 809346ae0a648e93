"""What is known of the Space's quota: its limit, and how much of it other senders take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cometly_forwarder.gate.window import BUCKET_SECONDS, MINUTE, Window

# Limits outside of these are not believed. A bucket's byte holds 60,000 a minute.
MIN_LIMIT, MAX_LIMIT = 10, 60_000
# Without a word of it for this long, a limit that headers gave is forgotten.
LIMIT_MEMORY_SECONDS = 600.0
# What the headers count beyond our own posts belongs to other senders. It is averaged over some
# seconds, and believed from this share of the limit on, which the window's own margin covers.
_NOISE = 0.005
_RISING_SECONDS, _FALLING_SECONDS = 5.0, 40.0
# A header that is stuck looks like others who take it all. Without 429s no more than this share of
# the limit is left to others; each 429 adds some, for it also shows that they are more.
_UNCONFIRMED = 0.5
_SURPRISE = 0.03
# How far back a fixed minute's start is looked for.
_RECENT_SECONDS = 5.0
# So early in a fixed minute its count says too little of the whole.
_EARLY_SECONDS = 15.0
# Without headers each 429 leaves this share of the pace; where our posts of the last minute were
# fewer, that is what Cometly takes, but half of the pace is left. A quiet minute gives some back.
_SQUEEZE, _HARDEST_SQUEEZE, _LEAST_SQUEEZE = 0.9, 0.5, 0.05
_RECOVERY, _RECOVERY_MINUTES = 1.1, 60.0
# A limit under this share of the one that held is odd: a header of another endpoint's, perhaps. It
# is believed when so many answers in a row name it, or with a 429.
_ODD, _ODD_TIMES = 0.5, 3


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """What Cometly's headers said in an answer to the post of slot `at`, in Unix seconds."""

    limit: int
    remaining: int
    at: float

    @property
    def used(self) -> int:
        return self.limit - self.remaining

    @property
    def is_credible(self) -> bool:
        return MIN_LIMIT <= self.limit <= MAX_LIMIT and 0 <= self.remaining <= self.limit


@dataclass(frozen=True, slots=True)
class Doubt:
    """A limit too odd to be believed at once: how often in a row it was named, last at a slot."""

    limit: int = 0
    times: int = 0
    at: float = 0.0

    def again(self, headers: RateHeaders) -> Doubt:
        """Count an answer that names an odd limit. One that was counted says nothing new."""
        if headers.at <= self.at:
            return self
        times = self.times + 1 if headers.limit == self.limit else 1
        return Doubt(headers.limit, times, headers.at)

    @property
    def is_confirmed(self) -> bool:
        return self.times >= _ODD_TIMES


@dataclass(frozen=True, slots=True)
class LimitEstimate:
    """What headers and 429s taught so far.

    `others` is what other senders post a minute, `confirmed` how much of it 429s have shown.
    `window_at` is the start of the fixed minute, if Cometly's minute is fixed; `squeeze` is the
    share of the configured rate that 429s have left.
    """

    limit: int = 0
    limit_at: float = 0.0
    remaining: int = 0
    quota_at: float = 0.0
    window_at: float = 0.0
    others: float = 0.0
    confirmed: float = 0.0
    squeeze: float = 1.0
    squeezed_at: float = 0.0

    @property
    def heard_at(self) -> float:
        """When any of this was learnt last."""
        return max(self.limit_at, self.quota_at, self.window_at, self.squeezed_at)

    @property
    def is_plausible(self) -> bool:
        """Say whether it is what one could learn."""
        is_limit = 0 <= self.limit <= MAX_LIMIT and 0 <= self.others <= self.limit
        return is_limit and _LEAST_SQUEEZE <= self.squeeze <= 1

    def allowance(self, now: float, configured: int) -> int:
        """How many posts a minute are ours: the limit, less what other senders take of it."""
        limit = self.limit_at_present(now, configured)
        others = self.others + limit * _NOISE if self.others > limit * _NOISE else 0.0
        return max(1, int(min(limit - others, limit * self._squeeze(now))))

    def is_odd(self, headers: RateHeaders, now: float, configured: int) -> bool:
        """Say whether an answer names a limit far under the one that held until now."""
        is_new = headers.is_credible and headers.at > self.quota_at
        return is_new and headers.limit < self.limit_at_present(now, configured) * _ODD

    def observe(self, headers: RateHeaders, ours: Window, *, now: float) -> LimitEstimate:
        """Learn from the headers of an answer, given the slots of our own posts.

        Answers are heard of in any order; one that is older than the last is left out.
        """
        if not headers.is_credible or headers.at <= self.quota_at:
            return self
        heard = replace(self, limit_at=now, remaining=headers.remaining, quota_at=headers.at)
        if headers.limit != self.limit:
            return heard.told(headers.limit, now)
        window_at = self._minute_begun(headers, ours) or self.window_at
        return replace(heard, window_at=window_at, others=self._others(headers, ours, window_at))

    def told(self, limit: int, now: float) -> LimitEstimate:
        """Believe in a limit, whoever takes of it."""
        return replace(self, limit=limit, limit_at=now, others=0.0, confirmed=0.0)

    def throttled(self, now: float, *, ours: int, configured: int) -> LimitEstimate:
        """Go slower after a 429: with headers, others are more than was thought.

        `ours` is how many posts of the last minute were ours.
        """
        if now - self.limit_at < MINUTE:
            most = self.limit * (1 - _LEAST_SQUEEZE)
            others = min(self.others + self.limit * _SURPRISE, most)
            confirmed = min(self.confirmed + self.limit * _SURPRISE, most)
            return replace(self, others=others, confirmed=max(others, confirmed))
        taken = max(_HARDEST_SQUEEZE, ours / self.allowance(now, configured))
        squeeze = self._squeeze(now) * min(_SQUEEZE, taken)
        return replace(self, squeeze=max(_LEAST_SQUEEZE, squeeze), squeezed_at=now)

    def limit_at_present(self, now: float, configured: int) -> int:
        is_known = self.limit and now - self.limit_at < LIMIT_MEMORY_SECONDS
        return self.limit if is_known else configured

    def _squeeze(self, now: float) -> float:
        """What is left of the rate, with what the time since the last 429 gave back."""
        minutes = min((now - self.squeezed_at) / MINUTE, _RECOVERY_MINUTES)
        return min(1.0, self.squeeze * float(_RECOVERY**minutes))

    def _minute_begun(self, headers: RateHeaders, ours: Window) -> float | None:
        """Notice that a fixed minute has begun: what remains jumps to nearly all of the limit.

        Answers are heard of late, so its start is told from what it has used: as many of ours back.
        """
        leeway = headers.limit // 20
        earliest = headers.at - _RECENT_SECONDS
        has_jumped = headers.remaining > self.remaining + max(20, leeway)
        if not has_jumped or headers.used > ours.count(earliest, headers.at) + leeway:
            return None
        start = headers.at
        while start > earliest and ours.count(start, headers.at) < headers.used:
            start -= BUCKET_SECONDS
        return start

    def _others(self, headers: RateHeaders, ours: Window, window_at: float) -> float:
        """Average what others send a minute. A fixed minute's count is projected onto its whole.

        That nothing remains says nothing of them: it is so at the limit, whoever reached it.
        """
        age = headers.at - window_at
        if age < _EARLY_SECONDS or not headers.remaining:
            return self.others
        if not self.quota_at:
            return 0.0
        beyond = (headers.used - ours.count(window_at, headers.at)) * max(MINUTE / age, 1.0)
        pace = _RISING_SECONDS if beyond > self.others else _FALLING_SECONDS
        weight = min(1.0, (headers.at - self.quota_at) / pace)
        average = max(0.0, self.others + (beyond - self.others) * weight)
        return min(average, max(headers.limit * _UNCONFIRMED, self.confirmed))
