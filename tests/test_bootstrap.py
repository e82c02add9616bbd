"""bootstrap.py: when it installs, when it does not, and what it says when the machine lacks something.

A shell script stands in for Python, `venv` and pip: it notes how it was called and ends as the test says.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import bootstrap
from bootstrap import BootstrapError, Layout

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
[project]
name = "sample"
dependencies = ["one"]
[tool.ruff]
line-length = 100
"""
CONSTRAINTS = """\
# [build]
hatchling==1 \\
    --hash=sha256:b
# [run]
one==1.1 \\
    --hash=sha256:1
# [dev]
two==2.2 \\
    --hash=sha256:2
# [dask]
three==3.3 \\
    --hash=sha256:3
"""
# Answers as the environment's Python, makes environments, and acts as pip; `$1` is -IS or -Im.
STAND_IN = """\
#!/bin/sh
echo "$*" >> '{folder}/calls'
case "$*" in
    *"-Im venv "*)
        mkdir -p "$3/bin" "$3/lib/site-packages/pip"
        cp "$0" "$3/bin/python"
        touch "$3/lib/site-packages/pip/__main__.py" ;;
    *"-IS -c "*) cat '{folder}/version' ;;
    *"--requirement "*) . '{folder}/pip' ;;
    *"--editable "*) touch "$(dirname "$0")/exai" ;;
esac
"""


class Machine:
    """A checkout in a folder with a space in its name, and the stand-in for everything that is started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Layout(folder / "a checkout")
        self.said: list[str] = []
        self.layout.root.mkdir()
        (self.layout.root / "pyproject.toml").write_text(PYPROJECT)
        (self.layout.root / "constraints.txt").write_text(CONSTRAINTS)
        self.python = folder / "python3"
        self.python.write_text(STAND_IN.format(folder=folder))
        self.python.chmod(0o755)
        self.answers(version="3.11")
        self.pip_does("exit 0")

    def answers(self, *, version: str) -> None:
        """Let the environment's Python say that it is of this version."""
        (self.folder / "version").write_text(version)

    def pip_does(self, script: str) -> None:
        """Let pip run this shell script when it is asked for packages."""
        (self.folder / "pip").write_text(script)

    def prepare(self, *extras: str) -> list[str]:
        """Run the bootstrap, and return what it did: "venv", "packages", "project"."""
        (self.folder / "calls").write_text("")
        bootstrap.prepare(self.layout, frozenset(extras), self.said.append)
        return self.done()

    def done(self) -> list[str]:
        """Return what the stand-in was asked to do."""
        words = {"-Im venv": "venv", "--requirement": "packages", "--editable": "project"}
        calls = (self.folder / "calls").read_text().splitlines()
        return [word for call in calls for mark, word in words.items() if mark in call]

    def requirements(self) -> str:
        """Return what pip was asked to install last."""
        return (self.layout.venv / "exai-requirements.txt").read_text()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine on which nothing has been installed yet."""
    machine = Machine(tmp_path)
    monkeypatch.setattr(sys, "_base_executable", str(machine.python))
    return machine


class TestWhatIsInstalled:
    def test_first_run_makes_everything(self, machine: Machine) -> None:
        """A fresh checkout gets an environment, the pinned packages, then the project itself."""
        assert machine.prepare() == ["venv", "packages", "project"]

    def test_hashes_are_required_and_source_packages_refused(self, machine: Machine) -> None:
        """Hashes are checked: pip resolves nothing, and runs no build tool that nobody pinned."""
        machine.prepare()
        (call,) = [line for line in (machine.folder / "calls").read_text().splitlines() if "--req" in line]
        assert "--no-deps --require-hashes --only-binary :all: --requirement" in call

    def test_no_option_says_where_packages_come_from(self, machine: Machine) -> None:
        """Indexes and link pages are the machine's business."""
        machine.prepare("dev")
        calls = (machine.folder / "calls").read_text()
        assert not any(option in calls for option in ("--index", "-i ", "--find-links", "--isolated", "--cert"))

    def test_run_time_only_by_default(self, machine: Machine) -> None:
        """Without extras, only what builds and runs the project is installed."""
        machine.prepare()
        assert machine.requirements() == "".join(CONSTRAINTS.splitlines(keepends=True)[i] for i in (1, 2, 4, 5))

    def test_extra_is_added(self, machine: Machine) -> None:
        """An extra brings its own section, and no other's."""
        machine.prepare("dev")
        assert "two==2.2" in machine.requirements()
        assert "three==3.3" not in machine.requirements()

    def test_section_that_is_missing_is_named(self, machine: Machine) -> None:
        """A constraints file that lacks a section is an error, not an empty install."""
        (machine.layout.root / "constraints.txt").write_text("# [build]\n")
        with pytest.raises(BootstrapError, match=r"no section \[run\]; `make pins`"):
            machine.prepare()


class TestStamp:
    def test_second_run_does_nothing_and_says_nothing(self, machine: Machine) -> None:
        """When everything is there, nothing is installed or printed."""
        machine.prepare()
        machine.said.clear()
        assert machine.prepare() == []
        assert machine.said == []

    def test_changed_pins_are_installed(self, machine: Machine) -> None:
        """New pins go into the environment that is there."""
        machine.prepare()
        (machine.layout.root / "constraints.txt").write_text(CONSTRAINTS.replace("1.1", "1.2"))
        assert machine.prepare() == ["packages", "project"]

    def test_changed_dependencies_are_installed(self, machine: Machine) -> None:
        """The project's own metadata counts, too: its commands may have changed."""
        machine.prepare()
        (machine.layout.root / "pyproject.toml").write_text(PYPROJECT.replace("sample", "renamed"))
        assert machine.prepare() == ["packages", "project"]

    def test_changed_tool_settings_change_nothing(self, machine: Machine) -> None:
        """A setting of a linter does not cost an install."""
        machine.prepare()
        (machine.layout.root / "pyproject.toml").write_text(PYPROJECT.replace("100", "110"))
        assert machine.prepare() == []

    def test_another_extra_keeps_the_earlier_one(self, machine: Machine) -> None:
        """Extras add up, so that two commands do not undo each other's install."""
        machine.prepare("dev")
        assert machine.prepare("dask") == ["packages", "project"]
        assert machine.prepare("dev") == []
        assert machine.prepare() == []

    def test_unreadable_stamp_counts_as_none(self, machine: Machine) -> None:
        """A damaged stamp costs an install, not a traceback."""
        machine.prepare()
        machine.layout.stamp.write_text("[")
        assert machine.prepare() == ["packages", "project"]

    def test_missing_command_is_installed_again(self, machine: Machine) -> None:
        """A stamp alone is not believed: the `exai` command has to be there."""
        machine.prepare()
        machine.layout.command.unlink()
        assert machine.prepare() == ["packages", "project"]


class TestRepair:
    def test_killed_install_is_made_anew(self, machine: Machine) -> None:
        """An install that ended in its middle may have left half a package: the next run starts afresh."""
        machine.pip_does("echo Installing collected packages: one; kill -9 $$")
        with pytest.raises(BootstrapError):
            machine.prepare()
        assert not machine.layout.stamp.exists()
        machine.pip_does("exit 0")
        assert machine.prepare() == ["venv", "packages", "project"]
        assert any("interrupted" in line for line in machine.said)

    def test_failed_fetch_keeps_the_environment(self, machine: Machine) -> None:
        """An index that does not answer has broken nothing, so the next run goes on."""
        machine.pip_does("echo 'WARNING: Retrying (Retry(total=0))'; exit 1")
        with pytest.raises(BootstrapError):
            machine.prepare()
        machine.pip_does("exit 0")
        assert machine.prepare() == ["packages", "project"]

    def test_disk_that_fills_up_while_unpacking_is_no_failed_fetch(self, machine: Machine) -> None:
        """Even after a slow index, an install that began and failed is made anew."""
        machine.pip_does("echo 'WARNING: Retrying (Retry(total=4))'; echo Installing collected packages: one; exit 1")
        with pytest.raises(BootstrapError):
            machine.prepare()
        machine.pip_does("exit 0")
        assert machine.prepare() == ["venv", "packages", "project"]

    @pytest.mark.parametrize("version", ["3.10", "2.7"])
    def test_environment_of_an_old_python_is_replaced(self, machine: Machine, version: str) -> None:
        """An environment of a Python below 3.11 is made anew, and the reason said."""
        machine.prepare()
        (machine.layout.venv / "bin" / "python").write_text(f"#!/bin/sh\necho {version}\n")
        assert machine.prepare() == ["venv", "packages", "project"]
        assert any(f"the old one is of Python {version}" in line for line in machine.said)

    def test_environment_that_does_not_run_is_replaced(self, machine: Machine) -> None:
        """An environment whose Python was removed from the machine is made anew."""
        machine.prepare()
        (machine.layout.venv / "bin" / "python").unlink()
        assert machine.prepare() == ["venv", "packages", "project"]

    def test_environment_without_pip_is_replaced(self, machine: Machine) -> None:
        """Some tools make environments without pip; nothing can be installed into one."""
        machine.prepare()
        machine.layout.stamp.unlink()
        (machine.layout.venv / "lib" / "site-packages" / "pip" / "__main__.py").unlink()
        assert machine.prepare() == ["venv", "packages", "project"]

    def test_moved_checkout_gets_a_new_environment(self, machine: Machine) -> None:
        """Installed commands name their interpreter by its full path, so a moved environment is broken."""
        machine.prepare()
        machine.layout = Layout(machine.layout.root.rename(machine.folder / "moved"))
        assert machine.prepare() == ["venv", "packages", "project"]


class TestMessages:
    @pytest.mark.parametrize(
        ("words", "meaning"),
        [
            ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
            (
                "WARNING: Retrying (Retry(total=4)) after connection broken",
                "the package index cannot be reached",
            ),
            (
                "ERROR: No matching distribution found for one==1.1",
                "the package index lacks a pinned version",
            ),
            ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "a package differs from the one that was"),
            ("error: [Errno 30] Read-only file system: 'x'", "this folder cannot be written"),
        ],
    )
    def test_failure_of_pip_is_explained(self, machine: Machine, words: str, meaning: str) -> None:
        """What pip says of the machine becomes one clear sentence, with pip's last words below."""
        machine.pip_does(f'echo "{words}"; exit 1')
        with pytest.raises(BootstrapError) as caught:
            machine.prepare()
        first, *others = str(caught.value).splitlines()
        assert first.startswith(f"installing packages failed: {meaning}")
        assert others == [f"  | {words}"]

    def test_errors_of_pip_stand_alone(self, machine: Machine) -> None:
        """Where pip names its error, its progress is not shown; where it names none, its last lines are."""
        machine.pip_does("echo Collecting one; echo ERROR: of its own; exit 1")
        with pytest.raises(BootstrapError) as caught:
            machine.prepare()
        assert str(caught.value) == "installing packages failed\n  | ERROR: of its own"
        machine.pip_does("echo Collecting one; exit 1")
        with pytest.raises(BootstrapError, match="Collecting one"):
            machine.prepare()

    def test_silent_index_is_announced_once(self, machine: Machine) -> None:
        """While pip tries again and again, the user is told once what is going on."""
        machine.pip_does("echo 'Retrying (Retry(1))'; echo 'Retrying (Retry(0))'; exit 1")
        with pytest.raises(BootstrapError):
            machine.prepare()
        assert sum("does not answer" in line for line in machine.said) == 1

    def test_missing_ensurepip_names_the_debian_package(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a Debian without python3-venv, the message says what to install."""
        find = importlib.util.find_spec
        lacking = {"ensurepip"}
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in lacking else find(name))
        with pytest.raises(BootstrapError, match="apt install python3-venv"):
            machine.prepare()

    def test_too_old_python_is_told_so(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A Python below 3.11 gets one line with its own version, and status 3."""
        monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(bootstrap.__file__)
        assert ended.value.code == 3
        assert "this is Python 3.9, but Python 3.11 or newer is needed" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("error", "status", "words"),
        [
            (BootstrapError("no index"), 3, "bootstrap: no index\n"),
            (OSError(errno.ENOSPC, "No space", "x"), 3, "bootstrap: the disk is full: x\n"),
            (PermissionError(errno.EACCES, "Permission denied", "x"), 3, "bootstrap: Permission denied: x\n"),
            (KeyboardInterrupt(), 130, "bootstrap: interrupted; the next run repairs what is half done\n"),
        ],
    )
    def test_failure_is_one_message_and_a_status(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        error: BaseException,
        status: int,
        words: str,
    ) -> None:
        """What the machine lacks ends with 3, Ctrl-C with 130; neither shows a traceback."""

        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(bootstrap, "prepare", fail)
        assert bootstrap.main([]) == status
        assert capsys.readouterr().err == words

    def test_unknown_extra_is_wrong_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A mistyped extra ends with 2 and the list of those there are."""
        with pytest.raises(SystemExit) as ended:
            bootstrap.main(["--extra", "development"])
        assert ended.value.code == 2
        assert "dev" in capsys.readouterr().err


class TestTwoAtOnce:
    def test_second_waits_for_the_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two runs take turns, and the second says what it waits for."""
        monkeypatch.setattr(bootstrap, "WAIT_FOR_OTHER_S", 0.001)
        waits = threading.Event()
        log: list[str] = []

        def second() -> None:
            tell: Callable[[str], None] = lambda _: waits.set()  # noqa: E731 (one word, used once)
            with bootstrap.taking_turns(tmp_path / "lock", tell):
                log.append("second")

        thread = threading.Thread(target=second)
        with bootstrap.taking_turns(tmp_path / "lock", log.append):
            thread.start()
            assert waits.wait(timeout=30)
            log.append("first")
        thread.join()
        assert log == ["first", "second"]

    def test_child_of_a_killed_run_keeps_the_lock(self, tmp_path: Path) -> None:
        """A pip that outlives its killed bootstrap still writes, so the next run waits for it, too."""
        fifo, lock = tmp_path / "fifo", tmp_path / "lock"
        os.mkfifo(fifo)
        with bootstrap.taking_turns(lock, print):
            orphan = subprocess.Popen(["/bin/sh", "-c", f"read go_on < '{fifo}'"], close_fds=False)
        with lock.open("a+b") as file:
            assert not bootstrap.try_lock(file)
            fifo.write_text("now\n")
            orphan.wait(timeout=30)
            assert bootstrap.try_lock(file)

    def test_second_finds_the_work_done(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever waited looks again, and installs nothing that the other one has installed."""
        others = Machine.prepare
        real = bootstrap.taking_turns

        def after_another(lock: Path, tell: Callable[[str], None]) -> object:
            monkeypatch.setattr(bootstrap, "taking_turns", real)
            others(machine)
            (machine.folder / "calls").write_text("")
            return real(lock, tell)

        monkeypatch.setattr(bootstrap, "taking_turns", after_another)
        assert machine.prepare() == []
