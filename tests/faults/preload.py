"""What the server that workers are forked from imports once, so that each starts in no time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(_ROOT), str(_ROOT / "src")]

from cometly_forwarder import aws  # noqa: E402
from tests.faults import worker  # noqa: E402
from tests.faults.emulator import ROOT  # noqa: E402

os.environ.update(ROOT)
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
# The session keeps the descriptions of the services, which take the longest to read.
for _service in worker.SERVICES:
    aws.client(_service)
