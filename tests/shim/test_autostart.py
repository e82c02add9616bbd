import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from reference_daemon.assembly import METRICS_FILE
from reference_daemon.autostart import LOCK_FILE, LOG_FILE, READY_FILE, Autostart, AutostartError, tail_of
from reference_daemon.settings import Settings
from tests.shim.conftest import BOUND_S, Processes, a_call, free_port, mcp_client

ENDS_SOON = (sys.executable, "-c", "import sys; print('one'); sys.exit('cannot do it')")


def settings_in(folder: Path, **more: Any) -> Settings:
    """Return settings that log to `folder`."""
    return Settings.model_validate({"EXAI_LOG_DIR": folder, **more})


def autostart_of(command: tuple[str, ...], folder: Path) -> Autostart:
    """Return an autostart that starts `command`."""
    return Autostart(settings_in(folder), structlog.get_logger(), command=command)


class TestRules:
    @pytest.mark.parametrize(
        ("host", "wanted", "allowed"),
        [
            ("127.0.0.1", True, True),
            ("localhost", True, True),
            ("127.0.0.1", False, False),
            ("192.0.2.1", True, False),
            ("daemon.example", True, False),
        ],
    )
    def test_only_on_this_machine_and_only_if_wanted(self, host: str, wanted: bool, allowed: bool) -> None:
        """A daemon elsewhere is somebody else's; EXAI_WS_AUTOSTART=false says no for this machine, too."""
        settings = Settings.model_validate({"EXAI_WS_HOST": host, "EXAI_WS_AUTOSTART": wanted})
        assert Autostart.allowed(settings) is allowed

    async def test_daemon_that_answers_is_enough(self, tmp_path: Path) -> None:
        """Then nothing is started."""

        async def yes() -> bool:
            return True

        await autostart_of(ENDS_SOON, tmp_path).ensure(yes)
        assert not (tmp_path / LOG_FILE).exists()

    async def test_daemon_that_ends_is_an_error_with_its_words(self, tmp_path: Path) -> None:
        """Its exit status and the end of its output are told; the lock is free again."""

        async def no() -> bool:
            return False

        autostart = autostart_of(ENDS_SOON, tmp_path / "new folder")
        for _ in range(2):
            with pytest.raises(AutostartError, match=r"exit status 1; it said last: .*cannot do it"):
                await autostart.ensure(no)
        assert (tmp_path / "new folder" / LOCK_FILE).exists()

    async def test_port_that_is_taken_meanwhile_is_no_error(self, tmp_path: Path) -> None:
        """A daemon that ends because another one came up has done no harm."""
        looks = 0

        async def once_the_other_has_ended() -> bool:
            nonlocal looks
            looks += 1
            return "cannot do it" in tail_of(tmp_path / LOG_FILE)

        autostart = autostart_of(ENDS_SOON, tmp_path)
        await autostart.ensure(once_the_other_has_ended)
        assert looks >= 3
        assert autostart._started is not None
        assert autostart._started.wait(BOUND_S) == 1

    async def test_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        """Where logs cannot be written, no daemon can run."""

        async def no() -> bool:
            return False

        (tmp_path / "file").write_text("in the way")
        with pytest.raises(AutostartError, match="file"):
            await autostart_of(ENDS_SOON, tmp_path / "file").ensure(no)

    def test_tail_of_nothing_is_empty(self, tmp_path: Path) -> None:
        """No log, no words."""
        assert tail_of(tmp_path / "none") == ""


@contextlib.asynccontextmanager
async def ending_what_was_started(folder: Path) -> AsyncIterator[None]:
    """End the daemon that a shim started in `folder`, which the body must have waited for."""
    try:
        yield
    finally:
        ready = folder / READY_FILE
        if ready.exists():
            pid = json.loads(ready.read_bytes())["pid"]
            os.kill(pid, signal.SIGTERM)
            async with asyncio.timeout(BOUND_S):
                while ready.exists():  # noqa: ASYNC110 - it is no child of this process; it removes the file at its end
                    await asyncio.sleep(0.02)


class TestDaemon:
    async def test_two_shims_start_one(self, processes: Processes) -> None:
        """Two shims that miss the daemon at once start one; it outlives both and holds none of their pipes."""
        port, folder = free_port(), processes.folder
        async with ending_what_was_started(folder):
            shims = [await processes.shim(port, EXAI_WS_AUTOSTART="true") for _ in range(2)]
            for shim in shims:
                await shim.initialize()
                shim.send(a_call(1, "version"))
            for shim in shims:
                assert not (await shim.until_answered(1))["result"]["isError"]
                assert shim.process.stdin is not None
                shim.process.stdin.close()
            said = [await shim.log.rest() for shim in shims]  # ends only when nobody holds the pipe any more
            for shim in shims:
                assert shim.process.stdout is not None
                assert await shim.process.stdout.read() == b""
                assert await shim.process.wait() == 0
            assert sum(b'"daemon_autostart"' in lines for lines in said) == 1
            log = (folder / LOG_FILE).read_text()
            assert (log.count('"daemon_started"'), log.count('"session_opened"')) == (1, 2)
            pid = json.loads((folder / READY_FILE).read_bytes())["pid"]
            assert os.getsid(pid) == pid
            async with mcp_client(port, folder) as client:  # may start none, so this is the same daemon
                assert not (await client.call_tool("version", {})).is_error

    async def test_listing_starts_one_too(self, processes: Processes) -> None:
        """A client that asks for the tools first gets them from a daemon that was started for it."""
        folder = processes.folder
        async with ending_what_was_started(folder), mcp_client(free_port(), folder, EXAI_WS_AUTOSTART="true") as client:
            assert len((await client.list_tools()).tools) == 7

    async def test_lost_call_starts_none(self, processes: Processes) -> None:
        """A call whose daemon died ends as unknown; only the next new call starts a daemon."""
        daemon = await processes.daemon(EXAI_STUB_LATENCY="constant:600")
        async with ending_what_was_started(processes.folder):
            shim = await processes.shim(daemon.port, EXAI_WS_AUTOSTART="true")
            await shim.initialize()
            shim.send(a_call(1, "chat", {"prompt": "hi"}))
            await daemon.log.until(event="call_start")
            await daemon.kill()
            lost = (await shim.until_answered(1))["result"]
            assert lost["_meta"]["exai/call"]["outcome"] == "unknown"
            assert not (processes.folder / LOG_FILE).exists()
            shim.send(a_call(2, "version"))
            assert not (await shim.until_answered(2))["result"]["isError"]
            assert (processes.folder / LOG_FILE).exists()

    async def test_daemon_that_cannot_start_is_explained(self, processes: Processes) -> None:
        """What the daemon complained about reaches the person who called."""
        (processes.folder / METRICS_FILE).mkdir()
        async with mcp_client(free_port(), processes.folder, EXAI_WS_AUTOSTART="true") as client:
            result = await client.call_tool("version", {})
        assert result.is_error
        assert METRICS_FILE in result.model_dump_json()
