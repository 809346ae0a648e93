"""`send FILE`: a file of events, checked as a whole, then sent; a repeated run goes on."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cometly_forwarder.event.reading import EventRules
from ops.app import settings_of
from ops.errors import OpsError
from ops.eventfile import Entry, entries
from ops.output import FOUND_FAULTS, line, note, say
from ops.rules import rules_of
from ops.sending.arrays import Array, arrays, digest_of, refuse_unbounded
from ops.sending.posting import Poster, Result
from ops.sending.record import Sent
from ops.smoke.doors import Api
from ops.stacks import target_of
from ops.target import Target

_TAKEN = {200, 202}
# Warnings are counted by field and words; a file can have no end of different ones.
_MOST_WARNINGS = 50


def send(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON, JSON Lines or CSV with a header.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, and send nothing.")] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Send the valid ones, if some are not.")
    ] = False,
) -> None:
    """Check all events of a file, then send them. A run that was broken off goes on.

    FILE.sent says how far it went. An event without key and order id gets a key made of its
    content and its line: repeated, it is booked once, as long as it stays on that line.
    """
    refuse_unbounded(file)
    digest = digest_of(file)
    run = Run.of(target_of(context), file, digest, is_json=settings_of(context).json)
    if run.sent.is_complete and not dry_run:
        note(f"{file} was sent to the end. To send it again, delete {run.record.name}.")
        run.summarise()
        return
    if dry_run or not run.sent.is_checked:
        run.check()
        if dry_run or (run.invalid and not skip_invalid):
            run.summarise()
            raise typer.Exit(FOUND_FAULTS if run.invalid else 0)
    run.send()
    run.summarise()
    if run.sent.refused:
        raise typer.Exit(FOUND_FAULTS)


@dataclass(slots=True)
class Run:
    """One run over one file. No more than an array of the file is held at a time."""

    file: Path
    record: Path
    poster: Poster
    rules: EventRules
    sent: Sent
    is_json: bool = False
    checked: int = 0
    invalid: int = 0
    warnings: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(
        cls,
        target: Target,
        file: Path,
        digest: str,
        *,
        is_json: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Run:
        record = file.with_name(file.name + ".sent")
        poster = Poster(Api.at(target.api_url), target.server_key, sleep)
        sent = Sent.read(record, digest, target.api_url)
        return cls(file, record, poster, rules_of(target), sent, is_json)

    def check(self) -> None:
        """Let the API judge each event; tells every fault with its line."""
        with _bar("checking", None) as advance:
            for array in arrays(entries(self.file), self.rules):
                for entry, result in _judged(array, self.poster.check):
                    self.checked += 1
                    self._note_warnings(result)
                    if result["status"] not in _TAKEN:
                        self.invalid += 1
                        self._tell(entry, result)
                advance(len(array.entries))

    def send(self) -> None:
        """Send what was not confirmed yet; after each array the record says so."""
        self.sent = replace(self.sent, is_checked=True, lines=self.sent.lines or self.checked)
        self.sent.write(self.record)
        if self.sent.confirmed:
            note(f"Going on after line {self.sent.confirmed} of {self.file}.")
        try:
            self._send()
        except (OpsError, KeyboardInterrupt):
            note(f"Sent up to line {self.sent.confirmed}; the same command again goes on there.")
            raise

    def _send(self) -> None:
        done = self.sent.accepted + self.sent.refused
        with _bar("sending", self.sent.lines, done) as advance:
            found = arrays(entries(self.file), self.rules, after=self.sent.confirmed)
            for array in found:
                accepted = 0
                for entry, result in _judged(array, self.poster.send):
                    if result["status"] in _TAKEN:
                        accepted += 1
                    elif not self.invalid:  # else it was told while all were checked
                        self._tell(entry, result)
                refused = len(array.entries) - accepted
                self.sent = self.sent.after(array.last_place, accepted=accepted, refused=refused)
                self.sent.write(self.record)
                advance(len(array.entries))
        self.sent = replace(self.sent, is_complete=True)
        self.sent.write(self.record)

    def summarise(self) -> None:
        for words, count in self.warnings.most_common():
            note(f"warning, {count} times: {words}")
        if self.is_json:
            line({"summary": self._summary()})
        elif self.sent.is_checked:
            say(f"{self.sent.accepted} accepted, {self.sent.refused} refused.")
        else:
            valid = self.checked - self.invalid
            say(f"{valid} valid, {self.invalid} not. Nothing was sent.")

    def _summary(self) -> dict[str, Any]:
        return {
            "lines": self.sent.lines or self.checked,
            "invalid": self.invalid,
            "accepted": self.sent.accepted,
            "refused": self.sent.refused,
            "confirmed_line": self.sent.confirmed,
            "complete": self.sent.is_complete,
        }

    def _tell(self, entry: Entry, result: Result) -> None:
        errors = result.get("errors") or [{"field": "", "message": result.get("message", "")}]
        if self.is_json:
            line({"line": entry.place, "errors": errors})
        else:
            say(f"line {entry.place}: {'; '.join(map(_words, errors))}")

    def _note_warnings(self, result: Result) -> None:
        for words in map(_words, result.get("warnings", ())):
            if words in self.warnings or len(self.warnings) < _MOST_WARNINGS:
                self.warnings[words] += 1


def _judged(
    array: Array, judge: Callable[[list[Any]], list[Result]]
) -> Iterator[tuple[Entry, Result]]:
    """Pair each entry with its result; one that holds no event is refused here."""
    events = array.events
    results = iter(judge(events) if events else [])
    for entry in array.entries:
        if entry.fault:
            yield entry, {"status": 422, "message": entry.fault}
        else:
            yield entry, next(results)


def _words(fault: dict[str, str]) -> str:
    return ": ".join(it for it in (fault.get("field"), fault.get("message")) if it)


@contextmanager
def _bar(what: str, total: int | None, done: int = 0) -> Iterator[Callable[[int], object]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=total, completed=done)
        yield lambda count: progress.advance(task, count)
