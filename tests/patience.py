"""How long tests wait for what takes as long as it takes, and how often they look.

What is waited for comes within seconds, or after a pause of the product's: a minute at the most.
The rest is for a machine that has other things to do.
"""

from __future__ import annotations

PATIENCE_SECONDS = 120.0
LOOK_SECONDS, MOST_LOOK_SECONDS = 0.05, 0.5


def pause_after(waited: float) -> float:
    """Return the seconds until the next look: a tenth of those that were waited for so far.

    Who looks takes time from what is looked at, and from other tests.
    """
    return min(max(waited / 10, LOOK_SECONDS), MOST_LOOK_SECONDS)
