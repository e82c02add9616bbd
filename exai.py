"""The `exai` command: joins the commands of all packages, and gives every exit status its meaning.

Nothing is decided or computed here. Each package has a module `cli` (or several, `..._cli`) with a function
`register(app)` that adds its commands; those modules import what is heavy inside their commands, so that
`exai --help` stays quick.
"""

from __future__ import annotations

import enum
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

# In the order of the help page.
COMMAND_MODULES = (
    "chaos.cli",
    "chaos.gate_cli",
    "chaos.prove_cli",
    "simulator.cli",
    "simulator.validate.cli",
    "simulator.calibrate.cli",
    "simulator.sweep.cli",
    "simulator.tune.cli",
    "simulator.findings.cli",
    "reports.cli",
    "scenarios.cli",
    "reference_daemon.cli",
    "chaos.toxiproxy_cli",
)


class ExitCode(enum.IntEnum):
    """Exit status of every command."""

    HELD = 0
    VIOLATED = 1  # judged, and violated; nothing else ends with 1
    USAGE = 2  # wrong usage, an invalid scenario or setting
    UNDECIDED = 3  # the run says nothing: too few calls, no Toxiproxy, a port taken
    BUG = 70  # an exception that nobody expected (EX_SOFTWARE of sysexits.h)
    INTERRUPTED = 130  # 128 + SIGINT
    READER_GONE = 141  # 128 + SIGPIPE, as for `exai ... | head`


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; reasons go to stderr.

    A command returns its status, or raises. An exception with an `exit_code` is a failure that we know: one
    line says what it is. Any other is a bug of ours and shows its traceback.
    """
    try:
        result = run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 (the outermost frame; Python's own status would be 1)
        return status_of(error)
    return int(result) if isinstance(result, int) else ExitCode.HELD


def run(arguments: list[str]) -> object:
    """Run one command and return what it returns; its exceptions pass.

    Not the parser's own `main()`: that one ends with 1 when the reader of stdout goes away, and hides Ctrl-C.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback(invoke_without_command=True)(_root)
    for module in COMMAND_MODULES:
        importlib.import_module(module).register(app)
    command = typer.main.get_command(app)
    with command.make_context("exai", arguments) as context:
        return command.invoke(context)


def status_of(error: BaseException) -> int:
    """Say on stderr what ended a command, and return the exit status that this means."""
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, TyperException):
        show = getattr(error, "show", None)  # prints the usage, too
        show() if show else sys.stderr.write(f"exai: {error}\n")
        return ExitCode.USAGE
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        sys.stderr.write("interrupted\n")
        return ExitCode.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        # Python flushes stdout once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.READER_GONE
    code = getattr(error, "exit_code", None)
    if isinstance(code, int) and code != ExitCode.BUG:
        sys.stderr.write(f"exai: {error}\n")
        return code
    traceback.print_exception(error)
    sys.stderr.write("exai: this is a bug of exai; the lines above say where\n")
    return ExitCode.BUG


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Find out which limits hold under load and faults, and whether the running daemon keeps them.

    Exit status: 0 held; 1 judged and violated; 2 wrong usage; 3 undecided, or the environment failed;
    70 a bug of exai; 130 interrupted.
    """
    if version:
        from scenarios.version import version as installed

        # In parentheses, since a plain checkout has no version but "not installed".
        found = installed()
        print(f"exai {found}" if found[:1].isdigit() else f"exai ({found})")
    elif context.invoked_subcommand is None:
        # Status 2, not 0: a pipeline that lost its arguments must not pass.
        print(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


if __name__ == "__main__":
    sys.exit(main())
