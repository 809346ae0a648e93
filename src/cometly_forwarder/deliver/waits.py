"""For how many seconds a message stays away before it comes back."""

from __future__ import annotations

from cometly_forwarder.deliver.jobs import Message

# From this many receives on a message comes back less often the more it was received.
_RECEIVES_UNCOUNTED = 20
_LONGEST_BACK_OFF_SECONDS = 3600.0
_FIRST_BACK_OFF_SECONDS = 4.0


def patience(message: Message, longest: float) -> float:
    """Seconds after which a message asks again: twice as long at each receive, up to `longest`."""
    return min(2.0 ** min(message.receives, 30), longest)


def back_off(attempts: int, random: float) -> float:
    """Seconds to wait after so many attempts: seconds, then minutes, then an hour; full jitter."""
    ceiling = _FIRST_BACK_OFF_SECONDS * 2.0 ** min(attempts, 30)
    return 1 + random * min(ceiling, _LONGEST_BACK_OFF_SECONDS)


def least_wait(message: Message, random: float) -> float:
    """Seconds for which a message must stay away, so that waiting never trips `maxReceiveCount`.

    It grows with the receives: the 1000 that SQS grants then last more than four days, longer than
    any horizon. Messages of a backlog have been received equally often: a quarter of jitter keeps
    them from coming back all at once, between which no slot would be used.
    """
    if message.receives <= _RECEIVES_UNCOUNTED:
        return 0.0
    return message.receives * (0.75 + random / 2)
