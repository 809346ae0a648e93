"""`reconcile`: what was delivered beside what Cometly recorded, and what to hand to its support."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cometly_forwarder.reconcile.days import utc_time
from cometly_forwarder.reconcile.matching import Finding, Kind
from cometly_forwarder.reconcile.run import Line, amount_text, finding_record
from ops.app import settings_of
from ops.errors import OpsError
from ops.output import FAILED, console, document, note, plain, say
from ops.reconciling import Clock, Compared, Span, comparing
from ops.stacks import target_of

_CLOCK = Clock()
_MOST_SHOWN = 20
_MOST_IN_JSON = 10_000
_HEADS = {
    Kind.MISSING: "missing there",
    Kind.AMOUNT: "different amount",
    Kind.REPEATED: "there too often",
    Kind.OTHER: "not from here",
    Kind.DUPLICATE: "duplicates",
    Kind.YOUNG: "too young",
}
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
_COLUMNS = (
    *("kind", "event_name", "event_time", "event_id", "delivered_at", "request_id", "amount"),
    *("cometly_id", "order", "recorded_amount", "basis"),
)


def reconcile(  # noqa: PLR0913 - each is an option
    context: typer.Context,
    *,
    day: Annotated[
        str, typer.Option(help="A day of the Space, as 2026-11-24; else the last that is over.")
    ] = "",
    first: Annotated[str, typer.Option("--from", help="The first of several days.")] = "",
    last: Annotated[str, typer.Option("--to", help="The last of them; else the first.")] = "",
    time_zone: Annotated[
        str, typer.Option(help="The Space's time zone, if not the stack's SpaceTimeZone.")
    ] = "",
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write every finding to this file.")
    ] = None,
) -> None:
    """Compare what was delivered with what Cometly recorded. Status 1 when something is missing.

    The worst come first, with what Cometly's support asks for. Interrupted, the same command goes
    on. docs/reconcile.md says what the numbers mean.
    """
    if day and (first or last):
        raise typer.BadParameter("give --day, or --from and --to")
    target = target_of(context)
    zone = time_zone or target.parameters.get("SpaceTimeZone") or "UTC"
    span = Span.of(zone, _date_in(day or first), _date_in(last), _CLOCK.now())
    try:
        with _telling() as tell, comparing(target, span, _CLOCK, tell) as compared:
            if csv_file:
                _write(csv_file, compared)
            if settings_of(context).json:
                document(_document(target.name, span, compared))
            else:
                _show(target.name, span, compared)
    except KeyboardInterrupt:
        note("Interrupted: the same command goes on where this one was.")
        raise
    if compared.report.missing:
        raise typer.Exit(FAILED)


def _date_in(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day such as 2026-11-24") from None


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Show how far it is, where somebody looks."""
    shown = Console(stderr=True)
    if not shown.is_terminal:
        yield lambda _: None
        return
    with shown.status("Reading Cometly's list") as status:
        yield lambda words: status.update(plain(words))


# --- For people -----------------------------------------------------------------------------------


def _show(stack: str, span: Span, compared: Compared) -> None:
    report = compared.report
    first, last = span.days[0].date, span.days[-1].date
    days = str(first) if first == last else f"{first} to {last}"
    say(f"{stack}, {days} in {span.zone.key}, as Cometly had it at {utc_time(report.read_at)}")
    console().print(_table([*report.lines, report.total]))
    for kind in Kind:
        _show_findings(kind, report.total.of[kind], compared)
    if report.unjudged:
        say(
            f"not judged: {report.unjudged}, delivered by a version that kept no facts of events; "
            "Cometly's rows of these count as not from here."
        )
    say(
        f"{compared.requests} requests to Cometly, {report.looked_at} items of the ledger "
        f"({compared.read_units:g} read units)."
    )


def _table(lines: list[Line]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("event")
    for head in ("delivered", "recorded", *_HEADS.values()):
        table.add_column(head, justify="right")
    for line in lines:
        counts = (line.delivered, line.recorded, *(line.of[kind] for kind in _HEADS))
        table.add_row(plain(line.name), *(str(count) for count in counts))
    return table


def _show_findings(kind: Kind, count: int, compared: Compared) -> None:
    if not count or kind in {Kind.DUPLICATE, Kind.YOUNG}:
        return
    say(f"\n{_HEADS[kind]}, the largest amounts first:")
    for finding in compared.book.findings(kind, _MOST_SHOWN):
        console().print(plain(_words(finding)))
    if count > _MOST_SHOWN:
        say(f"  and {count - _MOST_SHOWN} more: --csv FILE names them all")


def _words(finding: Finding) -> str:
    sent, row = finding.delivered, finding.recorded
    parts = [f"  {utc_time(finding.second)} {finding.name}"]
    if sent:
        parts += [sent.event_id, amount_text(sent.facts.amount)]
    if row:
        order = f"order {row.order_id}" if row.order_id else ""
        parts += [f"Cometly's {row.id}", amount_text(row.amount), order]
    if sent and sent.request_id:
        parts.append(f"Request-Id {sent.request_id}")
    return f"{' '.join(filter(None, parts))} ({finding.basis})"


# --- For programs ---------------------------------------------------------------------------------


def _document(stack: str, span: Span, compared: Compared) -> dict[str, Any]:
    report = compared.report
    total = report.total.record()
    del total["event_name"]
    every = (finding for kind in Kind for finding in compared.book.findings(kind))
    findings = list(islice(map(finding_record, every), _MOST_IN_JSON))
    return {
        "stack": stack,
        "time_zone": span.zone.key,
        "from": str(span.days[0].date),
        "to": str(span.days[-1].date),
        "read_at": utc_time(report.read_at),
        **total,
        "unjudged": report.unjudged,
        "requests": compared.requests,
        "items": report.looked_at,
        "read_units": compared.read_units,
        "by_event_name": [line.record() for line in report.lines],
        "findings": findings,
        "findings_left_out": report.total.of.total() - len(findings),
    }


def _write(file: Path, compared: Compared) -> None:
    try:
        with file.open("w", encoding="utf-8", newline="") as out:
            rows = csv.DictWriter(out, _COLUMNS)
            rows.writeheader()
            for kind in Kind:
                for finding in compared.book.findings(kind):
                    rows.writerow(_as_cells(finding_record(finding)))
    except OSError as exc:
        raise OpsError(f"{file} cannot be written: {exc.strerror}.") from exc


def _as_cells(record: dict[str, Any]) -> dict[str, Any]:
    """Keep a spreadsheet from taking another sender's text for a formula."""
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value
        for name, value in record.items()
    }
