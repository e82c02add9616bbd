"""Make this checkout runnable: a virtual environment with pinned libraries and the `exai` command.

    python3 bootstrap.py               what `exai` needs
    python3 bootstrap.py --extra dev   what tests and checks need, too

Needs Python 3.11 or newer and nothing else. Everything lands in `.venv`. Versions and hashes come from
constraints.txt; where packages are fetched from is pip's business, and set up on this machine or not at all.

When a stamp in `.venv` says that the right things are there, this does nothing. While it installs, there
is a marker and no stamp: an install that was interrupted is found by the next run and made anew. Two runs
at once take turns.

Exit status: 0 ready; 2 wrong usage; 3 this machine lacks something (named in one message); 130 interrupted.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (this file is also started by the Python that is too old)
    sys.stderr.write(
        "bootstrap: this is Python %d.%d, but Python 3.11 or newer is needed: %s\n"  # noqa: UP031 (the same: it may know no f-strings)
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )
    sys.exit(3)

import argparse
import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import time
import tomllib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

ROOT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)
EXTRAS = ("bench", "dask", "dev")
SCRIPTS = "Scripts" if sys.platform == "win32" else "bin"
SUFFIX = ".exe" if sys.platform == "win32" else ""
REASON_LINES = 15  # of pip's last words, enough to hold its error and the package that it is about
LONGEST_WORDS = 300  # characters of one such line
WAIT_FOR_OTHER_S = 0.5  # between two looks at a lock on Windows, where none can be waited for

NO_INDEX = "the package index cannot be reached"
# What pip prints when something outside it fails, and what that means here. The first match counts.
DIAGNOSES = (
    (r"No space left on device|Errno 28|not enough space", "the disk is full"),
    (r"DO NOT MATCH THE HASHES", "a package differs from the one that was pinned; nothing was installed"),
    (r"Retrying \(|NewConnectionError|Temporary failure in name|Connection refused", NO_INDEX),
    (r"timed out|ProxyError|SSLError", NO_INDEX),
    (r"No matching distribution|Could not find a version", "the package index lacks a pinned version"),
    (r"Permission denied|Read-only file system", "this folder cannot be written"),
)
# pip fetches all packages before it unpacks the first, and the line that it prints in between starts so.
UNPACKING = "Installing collected packages"


class BootstrapError(Exception):
    """This machine lacks something that the project needs; the text says what and what helps.

    Attributes:
        untouched: Whether the environment is as it was before.
    """

    def __init__(self, text: str, *, untouched: bool = False) -> None:
        super().__init__(text)
        self.untouched = untouched


class Layout:
    """Where things are in one checkout.

    Attributes:
        root: The checkout.
        venv: Its virtual environment.
        stamp: Written last, by a run that succeeded; says what is installed.
        marker: Exists while an install is under way, and after one that was interrupted.
        lock: Held by the one run that may install.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.stamp = self.venv / "exai-stamp.json"
        self.marker = self.venv / "exai-incomplete"
        self.lock = root / ".venv.lock"
        self.python = self.venv / SCRIPTS / f"python{SUFFIX}"
        self.command = self.venv / SCRIPTS / f"exai{SUFFIX}"


def main(argv: Sequence[str] | None = None) -> int:
    """Make `.venv` ready for what was asked; see the module's text for the exit status."""
    parser = argparse.ArgumentParser(description="Make this checkout runnable, in .venv.")
    parser.add_argument("--extra", action="append", choices=EXTRAS, default=[], help="install this, too")
    wanted = frozenset(parser.parse_args(argv).extra)
    try:
        prepare(Layout(ROOT), wanted, say)
    except (BootstrapError, OSError) as error:
        say(describe(error), sys.stderr)
        return 3
    except KeyboardInterrupt:
        say("interrupted; the next run repairs what is half done", sys.stderr)
        return 130
    return 0


def say(text: str, stream: IO[str] | None = None) -> None:
    """Print one line at once, so that it stands before what a child prints."""
    print(f"bootstrap: {text}", file=stream or sys.stdout, flush=True)


def describe(error: BootstrapError | OSError) -> str:
    """Return what a user should read of an error: its own text, or what could not be written or started."""
    if isinstance(error, BootstrapError):
        return str(error)
    where = f": {error.filename}" if error.filename else ""
    return f"{'the disk is full' if error.errno == errno.ENOSPC else error.strerror or error}{where}"


def prepare(layout: Layout, wanted: frozenset[str], tell: Callable[[str], None]) -> None:
    """Install what is missing; nothing happens when the stamp shows that all of it is there.

    Raises:
        BootstrapError: Python, pip or the package index failed; the next call starts afresh.
        OSError: The checkout cannot be written.
    """
    digest = inputs_digest(layout.root)
    if is_ready(layout, digest, wanted):
        return
    with taking_turns(layout.lock, tell):
        if is_ready(layout, digest, wanted):  # the run that we waited for did it
            return
        began = time.monotonic()
        wanted |= stamped_extras(layout)
        make_environment(layout, tell)
        layout.marker.touch()
        layout.stamp.unlink(missing_ok=True)
        try:
            install(layout, wanted, tell)
        except BootstrapError as error:
            if error.untouched:  # the next run can go on from here
                layout.marker.unlink()
            raise
        write_stamp(layout, digest, wanted)
        layout.marker.unlink()
        tell(f"ready in {time.monotonic() - began:.0f} s")


# What is installed, and what should be


def inputs_digest(root: Path) -> str:
    """Return a digest of all that decides what gets installed: pins, and the project's own metadata."""
    pyproject = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    parts = {name: pyproject.get(name) for name in ("build-system", "project")}
    parts["build"] = pyproject.get("tool", {}).get("hatch")
    digest = hashlib.sha256((root / "constraints.txt").read_bytes())
    digest.update(json.dumps(parts, sort_keys=True).encode())
    return digest.hexdigest()


def read_stamp(layout: Layout) -> dict[str, object]:
    """Return what the stamp says; empty when there is none or it cannot be read."""
    try:
        stamp = json.loads(layout.stamp.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def stamped_extras(layout: Layout) -> frozenset[str]:
    """Return the extras of the last good install: who asked for them once keeps them."""
    extras = read_stamp(layout).get("extras")
    return frozenset(extras) & frozenset(EXTRAS) if isinstance(extras, list) else frozenset()


def write_stamp(layout: Layout, digest: str, extras: frozenset[str]) -> None:
    """Say that the install is complete; the stamp is there as a whole or not at all."""
    version = environment_python(layout)
    content = {"digest": digest, "extras": sorted(extras), "python": version, "root": str(layout.root)}
    draft = layout.stamp.with_suffix(".draft")
    draft.write_text(json.dumps(content), "utf-8")
    draft.replace(layout.stamp)


def is_ready(layout: Layout, digest: str, wanted: frozenset[str]) -> bool:
    """Return whether the environment holds exactly what is pinned, and at least the `wanted` extras."""
    stamp = read_stamp(layout)
    return (
        stamp.get("digest") == digest
        and stamp.get("root") == str(layout.root)  # scripts name their interpreter: a moved one is broken
        and wanted <= stamped_extras(layout)
        and not layout.marker.exists()
        and layout.command.exists()
        and stamp.get("python") == environment_python(layout)
    )


def environment_python(layout: Layout) -> str | None:
    """Return the environment's Python version, such as "3.11"; None when it does not run."""
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        # Without `site` (-S), which only costs time here.
        answer = subprocess.run(
            [layout.python, "-IS", "-c", question], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


# The environment


def make_environment(layout: Layout, tell: Callable[[str], None]) -> None:
    """Create `.venv` unless a usable one is there.

    Raises:
        BootstrapError: This Python cannot make environments.
    """
    fault = environment_fault(layout)
    if fault is None:
        return
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise BootstrapError(
            f"this Python lacks its module {missing[0]!r}: {sys.executable}\n"
            "  On Debian and Ubuntu it comes with: apt install python3-venv"
        )
    tell(f"creating {layout.venv.name} with Python {sys.version.split()[0]}{fault}")
    if layout.venv.is_symlink() or layout.venv.is_file():
        layout.venv.unlink()
    elif layout.venv.exists():
        shutil.rmtree(layout.venv)
    # Not sys.executable: that may be the one in the environment just removed.
    base = getattr(sys, "_base_executable", None) or sys.executable
    run([base, "-Im", "venv", layout.venv], "creating the virtual environment failed")


def environment_fault(layout: Layout) -> str | None:
    """Return why `.venv` has to be made (anew), as the end of a sentence; None when it is usable."""
    if not layout.venv.exists():
        return ""
    version = environment_python(layout)
    if version is None:
        return " (the old one does not run)"
    if tuple(int(part) for part in version.split(".")) < OLDEST_PYTHON:
        return f" (the old one is of Python {version})"
    root = read_stamp(layout).get("root", str(layout.root))
    has_pip = any(layout.venv.glob("[Ll]ib/**/site-packages/pip/__main__.py"))
    faults = {
        " (an earlier install was interrupted)": layout.marker.exists(),
        f" (the old one was made in {root})": root != str(layout.root),
        " (the old one has no pip)": not has_pip,
    }
    return next((fault for fault, is_so in faults.items() if is_so), None)


# The packages


def install(layout: Layout, extras: frozenset[str], tell: Callable[[str], None]) -> None:
    """Install the pinned packages, their hashes checked, then the project itself.

    The pins are complete, so pip need not resolve anything (`--no-deps`). Only wheels are taken: building
    from source would run tools that nobody pinned.
    """
    pins = pinned(layout.root / "constraints.txt", ("build", "run", *sorted(extras)))
    requirements = layout.venv / "exai-requirements.txt"
    requirements.write_text(pins, "utf-8")
    total = pins.count("==")
    what = " and ".join(["the run-time libraries", *(f"extra '{extra}'" for extra in sorted(extras))])
    tell(f"installing {total} pinned packages: {what}; about a minute with a good connection")
    pip: list[str | Path] = [layout.python, "-Im", "pip", "--no-input", "install", "--no-deps"]
    options = ("--require-hashes", "--only-binary", ":all:", "--requirement")
    run([*pip, *options, requirements], "installing packages failed", Progress(total, tell))
    run([*pip, "--no-build-isolation", "--editable", layout.root], "installing the project itself failed")


def pinned(constraints: Path, sections: Sequence[str]) -> str:
    """Return the requirement lines of the named sections of constraints.txt.

    Raises:
        BootstrapError: A section is not there: the file was not written by `make pins`.
    """
    headings = re.split(r"^# \[([a-z]+)\]\n", constraints.read_text("utf-8"), flags=re.MULTILINE)
    found = dict(zip(headings[1::2], headings[2::2], strict=True))
    for section in sections:
        if section not in found:
            raise BootstrapError(f"{constraints.name} has no section [{section}]; `make pins` writes it anew")
    return "".join(found[section] for section in sections)


class Progress:
    """Tells what pip is doing: a counter on a terminal, and a word when the index does not answer."""

    def __init__(self, total: int, tell: Callable[[str], None]) -> None:
        self._total, self._seen, self._tell = total, 0, tell
        self._retrying = False

    def __call__(self, line: str) -> None:
        """Take one line of pip's output."""
        if "Retrying (" in line and not self._retrying:
            self._retrying = True
            self._tell("the package index does not answer; pip tries again for a while")
        if line.startswith("Collecting "):
            self._seen += 1
            if sys.stdout.isatty():
                print(f"\r  fetching {self._seen} of {self._total} ", end="", flush=True)
        if line.startswith(UNPACKING) and sys.stdout.isatty():
            print("\r  unpacking              ", flush=True)


# Helpers


def run(command: Sequence[str | Path], failure: str, on_line: Callable[[str], None] | None = None) -> None:
    """Run a program to its end, silently.

    Raises:
        BootstrapError: It failed; the text has the reason if we know it, and its last words.
    """
    last: deque[str] = deque(maxlen=REASON_LINES)
    found: str | None = None
    untouched = False
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        close_fds=False,  # the lock goes with it: see taking_turns()
    ) as process:
        for line in process.stdout or ():
            last.append(line.rstrip())
            new = diagnosis(line)
            found = found or new
            # Known to have failed while fetching; a pip that was told to be quiet may hide UNPACKING.
            untouched = (untouched or new == NO_INDEX) and not line.startswith(UNPACKING)
            if on_line is not None:
                on_line(line)
    if process.returncode != 0:
        reason = f": {found}" if found else ""
        # A wall of progress hides what matters; where pip names its errors, those are enough.
        telling = [line for line in last if line.startswith(("ERROR", "WARNING"))] or list(last)
        words = "\n".join(f"  | {line[:LONGEST_WORDS]}" for line in telling if line)
        raise BootstrapError(f"{failure}{reason}\n{words}", untouched=untouched)


def diagnosis(text: str) -> str | None:
    """Return what went wrong outside pip, read from its output; None when it does not say."""
    return next((meaning for pattern, meaning in DIAGNOSES if re.search(pattern, text)), None)


@contextlib.contextmanager
def taking_turns(lock: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the checkout's lock; wait for whoever has it. The system frees it when its holder ends.

    Children inherit it: when this process is killed, the pip that it started goes on for a while, and the
    next run must not touch the environment before that one has ended, too.
    """
    with lock.open("a+b") as held:
        os.set_inheritable(held.fileno(), True)  # noqa: FBT003 (the function has no keywords)
        if not try_lock(held):
            tell("another bootstrap is running in this checkout; waiting for it")
            while not try_lock(held):
                time.sleep(WAIT_FOR_OTHER_S)
        yield


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file against other processes; return whether that succeeded at once."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EAGAIN, errno.EDEADLK}:
            return False
        raise
    return True


if __name__ == "__main__":
    sys.exit(main())
