"""What is known of the Space's quota: its limit, and how much of it other senders take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cometly_forwarder.gate.window import BUCKET_SECONDS, MINUTE, Window

# Limits outside of these are not believed. A bucket's byte holds 60,000 a minute.
MIN_LIMIT, MAX_LIMIT = 10, 60_000
# Without a word of it for this long, a limit that headers gave is forgotten.
LIMIT_MEMORY_SECONDS = 600.0
# What the headers count beyond our own posts belongs to other senders. It is believed from this
# share of the limit on, which the window's own margin covers.
_NOISE = 0.005
# Others who leave a sliding minute may come again, as bursts do: of those that it no longer counts,
# so many are forgotten a second, as a share of the limit, or of them all in so many seconds. Once
# it counts none, they have stopped.
_FORGOTTEN, _FORGOTTEN_SECONDS, _STOPPED_SECONDS = 0.0005, 120.0, 30.0
# What others send until a header that tells of it can hold back a post.
_UNHEARD_SECONDS = 1.5
# A header that is stuck looks like others who take it all. Without 429s no more than this share of
# the limit is left to others; each 429 adds some, for it also shows that they are more.
_UNCONFIRMED = 0.5
_SURPRISE = 0.03
# How far back a fixed minute's start is looked for.
_RECENT_SECONDS = 10.0
# So early in a fixed minute answers may still be of the one before.
_EARLY_SECONDS = 3.0
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
        others = self._others_at_present(now)
        others = others + limit * _NOISE if others > limit * _NOISE else 0.0
        return max(1, int(min(limit - others, limit * self._squeeze(now))))

    def room(self, ours: Window, now: float, configured: int) -> int:
        """How many posts of ours a minute may hold at the most, given the slots of those so far.

        It is less than the pace allows where a fixed minute has counted more of others than they
        send as a rule, and by what they send before a header tells of it. At the most that is
        believed of them, 429s alone can show more, so nothing is kept free.
        """
        limit = self.limit_at_present(now, configured)
        is_running = now - self.window_at < MINUTE
        others = self._others_at_present(now)
        others = max(others, self.counted(ours)) if is_running else others
        if others <= limit * _NOISE:
            return limit
        unheard = others * _UNHEARD_SECONDS / MINUTE if others < self._most_believed else 0.0
        return max(1, int(limit - others - max(limit * _NOISE, unheard)))

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
        heard = replace(heard, window_at=self._minute_begun(headers, ours) or self.window_at)
        return replace(heard, others=self._others(heard, ours))

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
        return self.limit if self._is_known(now) else configured

    def _others_at_present(self, now: float) -> float:
        """What others send is told from the same headers as the limit, and forgotten with it."""
        return self.others if self._is_known(now) else 0.0

    def _is_known(self, now: float) -> bool:
        return self.limit > 0 and now - self.limit_at < LIMIT_MEMORY_SECONDS

    def _squeeze(self, now: float) -> float:
        """What is left of the rate, with what the time since the last 429 gave back."""
        minutes = min((now - self.squeezed_at) / MINUTE, _RECOVERY_MINUTES)
        return min(1.0, self.squeeze * float(_RECOVERY**minutes))

    @property
    def age(self) -> float:
        """How old the fixed minute was, if minutes are fixed, to which the last answer belongs."""
        return self.quota_at - self.window_at

    def counted(self, ours: Window) -> float:
        """How many posts of others the last answer counts in its minute, given our own slots."""
        if self.age < _EARLY_SECONDS:
            return 0.0
        beyond = self.limit - self.remaining - ours.count(self.window_at, self.quota_at)
        return min(max(0.0, beyond), self._most_believed)

    @property
    def _most_believed(self) -> float:
        """How much is left to others at the most."""
        return max(self.limit * _UNCONFIRMED, self.confirmed)

    def _minute_begun(self, headers: RateHeaders, ours: Window) -> float | None:
        """Notice that a fixed minute has begun: what remains jumps to nearly all of the limit.

        Its start is told from what it has used: as many posts back, but not before the last answer.
        """
        leeway = headers.limit // 20
        earliest = max(headers.at - _RECENT_SECONDS, self.quota_at)
        has_jumped = headers.remaining > self.remaining + max(20, leeway)
        if not has_jumped or headers.used > self._sent(ours, earliest, headers.at) + leeway:
            return None
        start = headers.at
        while start > earliest and self._sent(ours, start, headers.at) < headers.used:
            start -= BUCKET_SECONDS
        return start

    def _sent(self, ours: Window, start: float, end: float) -> float:
        """How many posts, ours and those of others, are to be expected from `start` to `end`."""
        return ours.count(start, end) + self.others * (end - start) / MINUTE

    def _others(self, heard: LimitEstimate, ours: Window) -> float:
        """Tell from an answer, beside the one before, how many posts others send a minute.

        A fixed minute's count begins at nothing: what it adds comes to what is known, and as many
        fade as came a minute ago. A sliding minute's count is what they sent in it; less is
        believed slowly. That nothing remains says nothing of them: it is so at the limit, whoever
        reached it.
        """
        if not heard.remaining:
            return self.others
        past, counted = heard.quota_at - self.quota_at, heard.counted(ours)
        if heard.age < MINUTE + _EARLY_SECONDS:
            before = self.counted(ours) if self.window_at == heard.window_at else 0.0
            others = self.others * max(0.0, 1 - past / MINUTE) + counted - before
        else:
            has_stopped = counted <= heard.limit * _NOISE
            pace = _STOPPED_SECONDS if has_stopped else _FORGOTTEN_SECONDS
            forgotten = max((self.others - counted) / pace, heard.limit * _FORGOTTEN)
            others = max(counted, self.others - forgotten * past)
        return min(max(0.0, others), self._most_believed)
