"""How long tests wait for what takes as long as it takes, and how often they look.

What is waited for comes within seconds, or after a pause of the product's: a minute at the most.
The rest is for a machine that has other things to do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

PATIENCE_SECONDS = 120.0
_LOOK_SECONDS, _MOST_LOOK_SECONDS = 0.05, 0.5


def looks(within: float, *, pause: float = _MOST_LOOK_SECONDS) -> Iterator[None]:
    """Yield once for each look, until so many seconds have passed.

    Between two looks lies a tenth of the time that was waited so far, and no more than `pause`: who
    looks takes time from what is looked at, and from other tests.
    """
    begun = time.monotonic()
    while True:
        yield
        waited = time.monotonic() - begun
        if waited > within:
            return
        time.sleep(min(max(waited / 10, _LOOK_SECONDS), pause))
