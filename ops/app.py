"""The options that every command has, wherever on the line they stand: --stack, --local, --json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

_PANEL = "Which stack, and how to answer"


@dataclass
class Settings:
    """What was asked for beside the command itself."""

    stack: str | None = None
    local: bool = False
    stack_file: Path | None = None
    region: str | None = None
    profile: str | None = None
    url: str | None = None
    json: bool = False


def settings_of(context: typer.Context) -> Settings:
    """Return the settings of this run."""
    settings: Settings = context.find_root().ensure_object(Settings)
    return settings


class Command(TyperCommand):
    """A command that takes the shared options behind its name, too."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params.extend(options_of(_declared, _remember))


class Group(TyperGroup):
    """A group of commands that takes the shared options before a command's name."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params.extend(options_of(_declared, _remember))


class App(typer.Typer):
    """A part of the command line; each of its commands has the shared options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{
                "cls": Group,
                "no_args_is_help": True,
                "pretty_exceptions_enable": False,
                "rich_markup_mode": None,
                **options,
            }
        )

    def command(self, name: str | None = None, **options: Any) -> Callable[..., Any]:
        """Add a command, as `typer.Typer.command` does."""
        return super().command(name, **{"cls": Command, **options})


def _declared(  # noqa: PLR0913 - one for each option
    *,
    stack: Annotated[
        str | None,
        typer.Option(
            help="The name of the stack (or COMETLY_FORWARDER_STACK).", rich_help_panel=_PANEL
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="The stack that `make up` started.")
    ] = False,
    stack_file: Annotated[
        Path | None, typer.Option(help="Of --local: its stack.json, if not .local/stack.json.")
    ] = None,
    region: Annotated[str | None, typer.Option(help="The stack's Region.")] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the AWS configuration.")] = None,
    url: Annotated[
        str | None, typer.Option(help="Where the API is, behind a domain of yours.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON, for programs.")] = False,
) -> None:
    """Declare the shared options, in Typer's words."""


def options_of(declared: Callable[..., None], keep: Callable[..., None]) -> list[Any]:
    """Return the options of a function in Typer's words, for `params` of other commands.

    `keep` is called with the context, an option and its value, instead of the command.
    """
    app = typer.Typer(add_completion=False)
    app.command()(declared)
    options: list[Any] = list(get_command(app).params)
    for option in options:
        option.expose_value = False
        option.callback = keep
    return options


def _remember(context: typer.Context, option: Any, value: object) -> None:
    """Keep what was given; what was not must not undo what stood elsewhere on the line."""
    if value:
        setattr(settings_of(context), option.name, value)
