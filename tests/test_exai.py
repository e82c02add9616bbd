"""The umbrella command: what each exit status means, and what a user sees."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError

import pytest
import typer

import exai
from reference_daemon.policy.errors import ConfigError, HarnessError, PolicyError

HEAVY = {"dask", "matplotlib", "mcp", "numpy", "openai", "optuna", "pandas", "pyarrow", "scipy", "starlette"}


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """Return a runner for `exai probe`, a command that does what the test says."""

    def run_with(action: Callable[[], object]) -> int:
        module = types.ModuleType("probe_cli")

        def register(app: typer.Typer) -> None:
            app.command("probe")(action)

        module.__dict__["register"] = register
        monkeypatch.setitem(sys.modules, "probe_cli", module)
        monkeypatch.setattr(exai, "COMMAND_MODULES", ("probe_cli",))
        return exai.main(["probe"])

    return run_with


def raising(error: BaseException) -> Callable[[], object]:
    """Return an action that raises."""

    def action() -> object:
        raise error

    return action


class TestExitStatus:
    @pytest.mark.parametrize("code", list(exai.ExitCode))
    def test_command_returns_its_status(
        self, ending: Callable[[Callable[[], object]], int], code: exai.ExitCode
    ) -> None:
        """What a command returns is the exit status."""
        assert ending(lambda: code) == code

    def test_nothing_returned_means_held(self, ending: Callable[[Callable[[], object]], int]) -> None:
        """A command that returns nothing has succeeded."""
        assert ending(lambda: None) == 0

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (ConfigError("EXAI_X", 0, "must be above 0"), 2),
            (HarnessError("port taken"), 3),
            (typer.Exit(1), 1),
        ],
    )
    def test_known_failure_ends_with_its_own_code(
        self, ending: Callable[[Callable[[], object]], int], error: Exception, status: int
    ) -> None:
        """An exception with an `exit_code` decides the exit status."""
        assert ending(raising(error)) == status

    def test_known_failure_is_one_line(
        self, ending: Callable[[Callable[[], object]], int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A failure that we know shows one line on stderr, no traceback, and nothing on stdout."""
        ending(raising(HarnessError("port 8474 is taken")))
        assert capsys.readouterr() == ("", "exai: port 8474 is taken\n")

    @pytest.mark.parametrize("error", [ValueError("oops"), PolicyError("misuse"), GeneratorExit()])
    def test_unexpected_exception_is_a_bug_with_traceback(
        self,
        ending: Callable[[Callable[[], object]], int],
        capsys: pytest.CaptureFixture[str],
        error: BaseException,
    ) -> None:
        """Anything unexpected ends with 70, never 1, and shows where it happened."""
        assert ending(raising(error)) == 70
        assert "Traceback" in capsys.readouterr().err

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
    def test_interrupt_is_one_line_and_130(
        self,
        ending: Callable[[Callable[[], object]], int],
        capsys: pytest.CaptureFixture[str],
        error: BaseException,
    ) -> None:
        """Ctrl-C ends with 130 and one word."""
        assert ending(raising(error)) == 130
        assert capsys.readouterr().err == "interrupted\n"

    @pytest.mark.parametrize("arguments", [["no-such-command"], ["--no-such-option"], ["toxiproxy"]])
    def test_wrong_usage_is_2(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        """An unknown command or option, or a missing one, ends with 2 and shows the usage on stderr."""
        assert exai.main(arguments) == 2
        assert "Usage: exai" in capsys.readouterr().err

    @pytest.mark.skipif(sys.platform == "win32", reason="no SIGPIPE there")
    def test_reader_that_went_away_is_no_bug(self) -> None:
        """`exai ... | head` ends quietly, and not with 1."""
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", "exai", "--help"], stdout=writer, stderr=subprocess.PIPE, check=False
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, b"")


class TestHelp:
    def test_no_arguments_shows_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without arguments there is help, and status 2: a pipeline that lost its arguments must not pass."""
        assert exai.main([]) == 2
        assert "toxiproxy" in capsys.readouterr().out

    def test_help_is_a_success(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Help that was asked for ends with 0."""
        assert exai.main(["--help"]) == 0
        assert "Exit status" in capsys.readouterr().out

    def test_version_is_the_installed_one(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """`exai --version` prints one line with the version."""
        monkeypatch.setattr("scenarios.version.installed", {"exai-harness": "4.5.6"}.__getitem__)
        assert exai.main(["--version"]) == 0
        assert capsys.readouterr().out == "exai 4.5.6\n"

    def test_version_of_a_plain_checkout(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Who runs the sources without installing them learns so, and it is no failure."""

        def missing(name: str) -> str:
            raise PackageNotFoundError(name)

        monkeypatch.setattr("scenarios.version.installed", missing)
        assert exai.main(["--version"]) == 0
        assert capsys.readouterr().out == "exai (not installed)\n"

    def test_help_imports_nothing_heavy(self) -> None:
        """The help page is quick: libraries that take long to import wait for the command that needs them."""
        program = "import sys, exai; exai.main(['--help']); print(*sorted(sys.modules), file=sys.stderr)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert HEAVY & set(done.stderr.split()) == set()
