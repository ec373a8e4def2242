"""The command line. Commands are named here and loaded when they run, so that `pyros --help` answers at once."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import NamedTuple

import click


class Place(NamedTuple):
    """Where a command is written, and what `pyros --help` says of it."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "run": Place("run", "run", "Run the observatory: the daemon."),
    "check": Place("check", "check", "Name every fault of a configuration file."),
    "demo": Place("demo", "demo", "Run everything, simulated, with a page to watch."),
    "night": Place("night", "night", "Run a whole simulated night on the virtual clock."),
    "simulators": Place("simulators", "simulators", "Run the device simulators alone."),
    "close-dome": Place("close_dome", "close_dome", "Close the dome without the daemon."),
    "verify-closed": Place("verify_closed", "verify_closed", "Ask the PLC whether the dome is closed by day."),
    "install-service": Place("install_service", "install_service", "Write systemd's units, to run at boot."),
    "backup": Place("backup", "backup", "Copy the store while the daemon runs."),
    "status": Place("status", "status", "Say how the observatory is."),
    "send": Place("messages", "send", "Send a message to an actor."),
    "ask": Place("messages", "ask", "Ask an actor; the answer is JSON."),
    "tail": Place("messages", "tail", "Show what happens, as it happens."),
    "replay": Place("replay", "replay", "Show a flight recording, or feed it to an actor."),
    "messages": Place("messages", "messages", "Describe every message."),
    "user": Place("users", "user", "Add and list accounts."),
    "schedule": Place("schedule", "schedule", "Plan a night from a file."),
    "alert": Place("alert", "alert", "Look at notices of bursts."),
    "analyze": Place("analyze", "analyze", "Search frames for an afterglow, or make masters."),
}
_HERE = Path(__file__).parent


class Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands that this installation has."""
        del ctx
        return [name for name, place in COMMANDS.items() if _module(place)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        place = COMMANDS.get(cmd_name)
        module = None if place is None else _module(place)
        return None if place is None or module is None else getattr(importlib.import_module(module), place.attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begin with; a misspelt one is told the nearest."""
        names = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in names:
            near = difflib.get_close_matches(args[0], names, n=1)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)


def _module(place: Place) -> str | None:
    """Return the module to import: `pyros.cli.NAME`, or `pyros.cli.NAME.command` where that is a package."""
    if (_HERE / f"{place.module}.py").is_file():
        return f"pyros.cli.{place.module}"
    if (_HERE / place.module / "command.py").is_file():
        return f"pyros.cli.{place.module}.command"
    return None


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pyros")
def pyros() -> None:
    """Run a robotic telescope alone, all night, every night."""
