"""What `bench.metered_emulator` wrote down, summed up for one system."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# SQS bills a call for each 64 KB of it: https://aws.amazon.com/sqs/pricing/
SQS_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of a handler. `ms` is its time, `cpu_ms` its processor time."""

    at: float
    function: str
    messages: int
    cold: bool
    raised: bool
    ms: float
    cpu_ms: float
    peak_kb: int
    pid: int
    log_lines: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a function to AWS. `units` are DynamoDB's, for a write or a read."""

    at: float
    function: str
    service: str
    action: str
    status: int
    bytes: int
    units: float

    @property
    def is_read(self) -> bool:
        return self.action in {"GetItem", "BatchGetItem", "Query"}

    @property
    def sqs_requests(self) -> int:
        return max(math.ceil(self.bytes / SQS_CHUNK), 1) if self.service == "sqs" else 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What functions did during a part of a measurement."""

    invocations: tuple[Invocation, ...]
    calls: tuple[Call, ...]

    def of(self, functions: Collection[str]) -> Reading:
        """Keep what these functions did."""
        return Reading(
            tuple(each for each in self.invocations if each.function in functions),
            tuple(each for each in self.calls if each.function in functions),
        )


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads the file of the emulator, from where somebody says that a part begins."""

    file: Path

    def mark(self) -> int:
        """Return the place from which `since` reads."""
        return self.file.stat().st_size if self.file.exists() else 0

    def since(self, mark: int) -> Reading:
        with self.file.open(encoding="utf-8") as file:
            file.seek(mark)
            return read(file)


def read(lines: Iterable[str]) -> Reading:
    """Read whole lines; the last one may still be being written."""
    entries = list(_entries(lines))
    return Reading(
        tuple(Invocation(**it) for kind, it in entries if kind == "invocation"),
        tuple(Call(**it) for kind, it in entries if kind == "call"),
    )


def _entries(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in lines:
        if line.endswith("\n"):
            entry = json.loads(line)
            yield entry.pop("kind"), entry
