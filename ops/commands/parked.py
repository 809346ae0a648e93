"""`parked`: what lies on the dead-letter queue, shown, exported, sent again or thrown away."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError

from cometly_forwarder.errors import Unreadable
from cometly_forwarder.jsontext import parse
from ops.app import App, Command, options_of, settings_of
from ops.commands.tail import seconds_in
from ops.deadletters.edits import Edits
from ops.deadletters.export import Export, export_to
from ops.deadletters.replay import Replayed
from ops.deadletters.shelf import DeadLetter
from ops.deadletters.stack import pace_of, replay_of, shelf_of
from ops.deadletters.wanted import Wanted, short
from ops.errors import OpsError
from ops.logs import iso
from ops.output import FOUND_FAULTS, ask, console, document, line, note, pairs, say
from ops.rules import rules_of
from ops.stacks import target_of
from ops.target import Target

app = App(help="Events that Cometly or we could not take: the dead-letter queue.")
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
File = Annotated[Path, typer.Argument(help="A new file, JSON Lines; it holds personal data.")]
_WANTED = "wanted"
# What each filter is of `Wanted`.
_FILTERS = {
    "reason": "reason",
    "name": "name",
    "id_": "id",
    "containing": "text",
    "older_than": "before",
    "newer_than": "after",
    "limit": "limit",
}
_AGES = frozenset({"older_than", "newer_than"})
_BROKEN_OFF = (BotoCoreError, ClientError, OpsError, KeyboardInterrupt)


def _declared(  # noqa: PLR0913 - one for each option
    *,
    reason: Annotated[str, typer.Option(help="Whose reason contains this, as 'HTTP 422'.")] = "",
    name: Annotated[str, typer.Option(help="Of this event name, as purchase.")] = "",
    id_: Annotated[str, typer.Option("--id", help="Of this id, an event's or a message's.")] = "",
    containing: Annotated[
        str, typer.Option(help="With this text anywhere in the event, as an e-mail address.")
    ] = "",
    older_than: Annotated[
        str, typer.Option(help="Accepted longer ago than this, as 12h or 7d.")
    ] = "",
    newer_than: Annotated[str, typer.Option(help="Accepted within this time.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="No more than so many.")] = None,
) -> None:
    """Declare the filters, in Typer's words."""


def _keep(context: typer.Context, option: Any, value: Any) -> None:
    if not value:
        return
    if option.name in _AGES:
        value = time.time() - seconds_in(value)
    context.meta.setdefault(_WANTED, {})[_FILTERS[option.name]] = value


class Filtered(Command):
    """A command that is about some of the parked events."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params[:0] = options_of(_declared, _keep)


@app.callback()
def _parked() -> None:
    """Events that Cometly or we could not take: the dead-letter queue.

    While a command looks at them, nobody else sees them; then they are put back at once.
    """


@app.command("list", cls=Filtered)
def list_parked(context: typer.Context) -> None:
    """List parked events, and how many there are of each reason."""
    wanted = wanted_of(context)
    is_json, reasons = settings_of(context).json, Counter[str]()
    with shelf_of(target_of(context)) as shelf:
        for letter in wanted.among(shelf.letters()):
            reasons[short(letter.reason)] += 1
            if is_json:
                line(_told(letter))
            else:
                told = " ".join(filter(None, _told(letter).values())).replace("\n", " ")
                say(told)
    if is_json:
        line({"summary": {"parked": reasons.total(), "by_reason": dict(reasons.most_common())}})
    else:
        say(_counted(reasons))


@app.command("show")
def show(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="Of the event, or of its message.")],
) -> None:
    """Show one parked event whole: it holds personal data."""
    with shelf_of(target_of(context)) as shelf:
        found = next((it for it in shelf.letters() if id_ in {it.event_id, it.id}), None)
    if not found:
        note(f"{id_} is not parked, or another reader holds it just now.")
        raise typer.Exit(FOUND_FAULTS)
    if settings_of(context).json:
        document(found.record())
        return
    console().print(pairs([("message", found.id), *found.attributes.items()]))
    say(_pretty(found.body))


@app.command("export", cls=Filtered)
def export(
    context: typer.Context,
    file: File,
) -> None:
    """Write parked events with all they hold to a new file, which only you may read."""
    wanted, count = wanted_of(context), 0
    try:
        with shelf_of(target_of(context)) as shelf, export_to(file) as exported:
            for letter in wanted.among(shelf.letters()):
                exported.write(letter)
                count += 1
    except _BROKEN_OFF:
        if count:
            note(f"Broken off: {file} is not complete.")
        raise
    if settings_of(context).json:
        document({"exported": count, "file": str(file)})
    else:
        say(f"{count} exported to {file}. It holds personal data: delete it when it was used.")


@app.command("replay", cls=Filtered)
def replay(
    context: typer.Context,
    *,
    edit: Annotated[
        list[str] | None, typer.Option("--set", help="Set a field, as phone=+16505551212.")
    ] = None,
    no_capi: Annotated[
        bool, typer.Option("--no-capi", help="Keep those older than 7 days from ad platforms.")
    ] = False,
    per_minute: Annotated[
        int | None, typer.Option(min=1, help="At most so many; else half of the limit.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Send parked events again, each as the event that it is.

    Broken off, it can be repeated: nothing is lost, and nothing is booked twice.
    """
    target = target_of(context)
    edits = Edits.of(edit or [], rules_of(target), no_capi=no_capi)
    wanted = wanted_of(context)
    if not yes:
        ask(f"{_survey(target, wanted)} {_question(edits)}", yes=yes)
    pace = pace_of(target, per_minute)
    is_json, done, refused = settings_of(context).json, 0, 0
    try:
        with shelf_of(target) as shelf:
            for each in replay_of(target, shelf, pace, edits).run(wanted):
                done, refused = done + (not each.refusal), refused + bool(each.refusal)
                _tell(each, is_json=is_json)
    except _BROKEN_OFF:
        note("Broken off: the same command again goes on with the rest.")
        raise
    finally:
        _summary(done, refused, is_json=is_json)
    if refused:
        raise typer.Exit(FOUND_FAULTS)


@app.command("discard", cls=Filtered)
def discard(
    context: typer.Context,
    *,
    export: Annotated[
        Path | None, typer.Option(help="Write each to this new file before it is deleted.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Delete parked events for good."""
    target, wanted = target_of(context), wanted_of(context)
    if not yes:
        ask(f"{_survey(target, wanted)} Delete them for good?", yes=yes)
    count = 0
    try:
        with export_to(export) if export else nullcontext() as exported:
            for _ in _discarded(target, wanted, exported):
                count += 1
    finally:
        if settings_of(context).json:
            document({"discarded": count, "file": str(export) if export else None})
        else:
            say(f"{count} deleted.")


def wanted_of(context: typer.Context) -> Wanted:
    """Return the filters that were asked for; ages count from now."""
    return Wanted(**context.meta.get(_WANTED, {}))


def _discarded(target: Target, wanted: Wanted, exported: Export | None) -> Iterator[DeadLetter]:
    with shelf_of(target) as shelf:
        for letter in wanted.among(shelf.letters()):
            if exported:
                exported.write(letter)
                exported.keep()
            shelf.delete(letter)
            yield letter


def _survey(target: Target, wanted: Wanted) -> str:
    with shelf_of(target) as shelf:
        return _counted(wanted.counted(shelf.letters()))


def _question(edits: Edits) -> str:
    """Name what would be the same in each: meant for one event, it may not be meant for all."""
    if not edits.fields:
        return "Send them again?"
    return f"Set {', '.join(edits.fields)} in each of them, and send them again?"


def _counted(reasons: Counter[str]) -> str:
    told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    return f"{reasons.total()} parked: {told}." if told else "0 parked."


def _told(letter: DeadLetter) -> dict[str, str]:
    """Return what tells nothing of a person, unless Cometly's message repeats what was sent."""
    return {
        "accepted_at": iso(letter.accepted_at),
        "event_id": letter.event_id or letter.id,
        "name": letter.name,
        "queue": letter.attributes.get("queue", ""),
        "reason": letter.reason,
        "message": letter.attributes.get("message", ""),
    }


def _tell(each: Replayed, *, is_json: bool) -> None:
    if is_json:
        line(each.record())
    elif each.refusal:
        say(f"{each.letter.event_id or each.letter.id} stays: {each.refusal}")


def _summary(done: int, refused: int, *, is_json: bool) -> None:
    if is_json:
        line({"summary": {"replayed": done, "refused": refused}})
    else:
        say(f"{done} sent again, {refused} stay.")


def _pretty(body: str) -> str:
    try:
        return json.dumps(parse(body), indent=2, ensure_ascii=False)
    except Unreadable:
        return body
