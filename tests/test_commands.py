"""`exai daemon`, `exai call` and `exai status` as a person and a script meet them: real processes."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reference_daemon.client import CallOutcome, DaemonClient
from reference_daemon.clock import Clock
from tests.processes import BOUND_S, RunningDaemon, a_daemon, environment, exai

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and terminals")]

SCALE = {"EXAI_TIME_SCALE": "0.05"}
TWELVE_S = {**SCALE, "EXAI_STUB_LATENCY": "constant:12"}  # long enough for two heartbeats, 0.6 s on the wall
FOREVER = {"EXAI_STUB_LATENCY": "constant:3600"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon for tests that only ask."""
    with a_daemon(tmp_path_factory.mktemp("daemon"), TWELVE_S) as running:
        yield running


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a failed command wrote to stderr; stdout stays empty."""
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


class TestCall:
    def test_result_is_all_of_stdout(self, daemon: RunningDaemon) -> None:
        """A quick tool prints its text, and nothing on stderr."""
        done = daemon.exai("call", "version")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("name: exai-harness\n")

    def test_slow_call_shows_heartbeats(self, daemon: RunningDaemon) -> None:
        """Without a terminal each heartbeat is a plain line on stderr; the result ends with the call summary."""
        done = daemon.exai("call", "analyze")
        told, *beats = done.stderr.splitlines()
        assert done.returncode == 0
        assert told.startswith('no --arguments, so these to try it: {"step": ')
        assert re.fullmatch(r"analyze: expert, \d+ s so far, \d+ s left", beats[0])
        assert len(beats) >= 2
        assert done.stdout.splitlines()[-1] == "=== END SUMMARY ==="
        assert "Heartbeats: 2" in done.stdout

    def test_arguments_are_taken_as_they_are(self, daemon: RunningDaemon) -> None:
        """Arguments that were given are neither completed nor told again; `-` reads them from stdin."""
        given = json.dumps({"prompt": "hello"})
        for done in (daemon.exai("call", "chat", "-a", given), daemon.exai("call", "chat", "-a", "-", stdin=given)):
            assert done.returncode == 0
            assert "no --arguments" not in done.stderr

    def test_arguments_that_do_not_fit_fail(self, daemon: RunningDaemon) -> None:
        """The daemon names the field; the status is 1, for the call was judged."""
        done = daemon.exai("call", "chat", "-a", "{}")
        assert done.returncode == 1
        assert "BAD_REQUEST: prompt" in one_line(done)

    def test_unknown_tool_names_the_nearest(self, daemon: RunningDaemon) -> None:
        """A misspelt name is told with what was meant, in one line."""
        done = daemon.exai("call", "analyse")
        assert done.returncode == 1
        assert "TOOL_NOT_FOUND" in one_line(done)
        assert "did you mean analyze?" in one_line(done)

    def test_json_is_for_programs(self, daemon: RunningDaemon) -> None:
        """`--json` prints one document: outcome, texts, error, ids, attempts."""
        done = daemon.exai("call", "version", "--json")
        facts = json.loads(done.stdout)
        assert (facts["tool"], facts["outcome"], facts["error"], facts["attempts"]) == ("version", "ok", None, 1)
        assert re.fullmatch("[0-9a-f]{32}", facts["trace_id"])
        failed = daemon.exai("call", "analyse", "--json")
        assert failed.returncode == 1
        assert json.loads(failed.stdout)["error"]["code"] == "TOOL_NOT_FOUND"

    def test_list_names_every_tool(self, daemon: RunningDaemon) -> None:
        """A tool a line, or all of them with their schemas as JSON."""
        lines = daemon.exai("call", "--list").stdout.splitlines()
        names = [line.split()[0] for line in lines]
        assert names == ["analyze", "codereview", "testgen", "kimi_chat_with_tools", "chat", "listmodels", "version"]
        listed = json.loads(daemon.exai("call", "--list", "--json").stdout)
        assert [tool["name"] for tool in listed] == names
        assert all(tool["inputSchema"]["type"] == "object" for tool in listed)

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (["version", "-a", "{"], "--arguments: not JSON"),
            (["version", "-a", "[]"], "--arguments: must be a JSON object"),
            (["version", "--timeout", "nan"], "--timeout: must be a number of seconds above 0"),
            (["version", "--timeout", "0"], "--timeout: must be a number of seconds above 0"),
            ([], "TOOL: name a tool, or --list"),
        ],
    )
    def test_wrong_usage_is_2(self, daemon: RunningDaemon, options: list[str], reason: str) -> None:
        """What cannot be a call is refused before anything is sent."""
        done = daemon.exai("call", *options)
        assert done.returncode == 2
        assert reason in done.stderr

    @pytest.mark.parametrize("command", [["call", "version"], ["status"]])
    def test_what_is_no_address_is_2(self, daemon: RunningDaemon, command: list[str]) -> None:
        """A URL that is none is wrong usage, told in one line."""
        done = daemon.exai(*command, "--url", "ws://127.0.0.1:99999")
        assert done.returncode == 2
        assert "must be of the form ws://HOST:PORT" in one_line(done)

    def test_client_that_is_late_says_so(self, daemon: RunningDaemon) -> None:
        """A timeout ends with 1 and names the limit that was passed."""
        done = daemon.exai("call", "chat", "-a", '{"prompt": "x"}', "--timeout", "6")
        assert done.returncode == 1
        assert "TIMEOUT" in done.stderr.splitlines()[-1]


class TestInterruptedCall:
    def test_ctrl_c_cancels_the_call_in_the_daemon(self, tmp_path: Path) -> None:
        """Ctrl-C ends with 130 and one word; the daemon stops the work and frees its slots."""
        with a_daemon(tmp_path, {**SCALE, **FOREVER}) as daemon, daemon.client("call", "analyze") as call:
            call.until("expert")
            call.signal(signal.SIGINT)
            status, text = call.end()
            assert (status, text, call.lines[-1]) == (130, "", "interrupted")
            assert "outcome=cancelled" in daemon.running.until("call_end")
            daemon.running.until("work_stopped")
            health = json.loads(daemon.exai("status", "--json").stdout)
            assert health["global_inflight"] == 0


class TestNoDaemon:
    @pytest.mark.parametrize("command", [["call", "version"], ["call", "--list"], ["status"], ["status", "--json"]])
    def test_is_one_line_and_3(self, tmp_path: Path, command: list[str]) -> None:
        """Nobody listens: the line says where, and what starts a daemon."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        done = exai(*command, cwd=tmp_path, env=environment(EXAI_WS_PORT=str(port)))
        assert done.returncode == 3
        line = f"exai: no daemon at ws://127.0.0.1:{port}: nothing listens there; `exai daemon` starts one"
        assert one_line(done) == line

    def test_wrong_token_is_one_line_and_3(self, tmp_path: Path) -> None:
        """The daemon is there, and lets this client in with the right token only; no token is shown."""
        with a_daemon(tmp_path, {"EXAI_WS_TOKEN": "the-right-one-0123456789"}) as daemon:
            assert daemon.exai("call", "version").returncode == 0
            env = {**daemon.env, "EXAI_WS_TOKEN": "the-wrong-one-0123456789"}
            done = exai("status", cwd=tmp_path, env=env)
            assert done.returncode == 3
            assert "unauthorized" in one_line(done)
            assert "-one-" not in done.stderr


class TestStatus:
    def test_shows_what_is_in_use(self, daemon: RunningDaemon) -> None:
        """A person sees address, age, sessions, and each scope with its cap."""
        done = daemon.exai("status")
        assert (done.returncode, done.stderr) == (0, "")
        first, *rows = done.stdout.splitlines()
        assert re.fullmatch(rf"{daemon.url} is up, started .* ago; \d+ sessions?, this one included", first)
        words = [row.split() for row in rows]
        assert ["all", "calls", "0", "16"] in words
        assert ["tool", "analyze", "0", "3"] in words
        assert ["provider", "GLM", "0", "4"] in words

    def test_json_is_the_health_of_the_protocol(self, daemon: RunningDaemon) -> None:
        """`--json` prints what the daemon says, with nothing taken away."""
        health = json.loads(daemon.exai("status", "--json").stdout)
        assert (health["boot_id"], health["global_capacity"]) == (daemon.ready["boot_id"], 16)


class TestStart:
    def test_ready_file_says_where_it_listens(self, daemon: RunningDaemon) -> None:
        """Host, port, boot_id and pid: enough to use the daemon, and to end it."""
        assert daemon.ready["host"] == "127.0.0.1"
        assert daemon.ready["pid"] == daemon.running.process.pid
        assert len(daemon.ready["boot_id"]) == 16

    def test_log_says_who_answers(self, daemon: RunningDaemon) -> None:
        """The first line names URL, token, scale, and that stubs answer."""
        (line,) = [line for line in daemon.running.lines if "daemon_started" in line]
        assert f"url={daemon.url} " in line
        assert line.endswith("token=none time_scale=0.05 GLM=stub KIMI=stub")

    def test_port_that_is_taken_is_one_line_and_3(self, daemon: RunningDaemon) -> None:
        """Two daemons never share a port: the second says so and ends."""
        done = daemon.exai("daemon")
        port = daemon.ready["port"]
        assert done.returncode == 3
        assert one_line(done) == f"exai: cannot listen on 127.0.0.1:{port}: the address is in use"

    def test_bad_settings_are_a_line_each_and_2(self, tmp_path: Path) -> None:
        """Every problem is named at once, without a traceback, and nothing was started."""
        env = environment(EXAI_WS_PORT="abc", EXAI_WS_CALL_TIMEOUT="-1", EXAI_STUB_LATENCY="slow")
        done = exai("daemon", cwd=tmp_path, env=env)
        assert (done.returncode, done.stdout) == (2, "")
        names = [re.findall(r"[A-Z_]{4,}(?= = )", line) for line in done.stderr.splitlines()]
        assert names == [["EXAI_WS_PORT"], ["EXAI_WS_CALL_TIMEOUT"], ["EXAI_STUB_LATENCY"]]
        assert list(tmp_path.iterdir()) == []

    def test_env_file_that_is_missing_is_2(self, tmp_path: Path) -> None:
        """A file that was named must be there."""
        done = exai("daemon", "--env-file", "no.env", cwd=tmp_path, env=environment())
        assert done.returncode == 2
        assert one_line(done) == "exai: ENV_FILE = 'no.env': must name a file that exists"

    @pytest.mark.parametrize("option", [{"EXAI_LOG_DIR": "file/logs"}, {}])
    def test_place_that_cannot_be_written_is_one_line_and_3(self, tmp_path: Path, option: dict[str, str]) -> None:
        """A folder of logs, or of the ready file, that cannot be made is told by its name."""
        (tmp_path / "file").touch()
        ready = ("--ready-file", "file/ready.json") if not option else ()
        done = exai("daemon", "--port", "0", *ready, cwd=tmp_path, env=environment(**option))
        assert done.returncode == 3
        assert one_line(done).startswith("exai: cannot write file/")

    def test_json_lines_are_json(self, tmp_path: Path) -> None:
        """With LOG_FORMAT=json every line of stderr is an object."""
        with a_daemon(tmp_path, {"LOG_FORMAT": "json"}) as daemon:
            daemon.exai("call", "version")
            daemon.running.signal(signal.SIGTERM)
            daemon.running.end()
            events = [json.loads(line)["event"] for line in daemon.running.lines]
        assert events[0] == "daemon_started"
        assert {"call_start", "call_end", "drain_started"} < set(events)
        assert events[-1] == "daemon_stopped"

    def test_metrics_file_is_in_the_log_folder(self, tmp_path: Path) -> None:
        """Each call leaves its events, for calibration."""
        with a_daemon(tmp_path, {"EXAI_LOG_DIR": "elsewhere"}) as daemon:
            daemon.exai("call", "version")
            daemon.running.signal(signal.SIGTERM)
            daemon.running.end()
        lines = (tmp_path / "elsewhere" / "ws_daemon.metrics.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["event"] for line in lines] == [
            "session_opened",
            "accepted",
            "finished",
            "session_closed",
        ]


def group_is_gone(pid: int) -> bool:
    """Return whether no process of a process group is left."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return False


class TestEnd:
    @pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
    def test_calls_in_flight_end_first(self, tmp_path: Path, number: signal.Signals, expected: int) -> None:
        """A signal lets the running call end, and then the daemon; nothing of it is left."""
        with a_daemon(tmp_path, TWELVE_S) as daemon, daemon.client("call", "analyze") as call:
            call.until("expert")
            daemon.running.signal(number)
            status, text = call.end()
            assert status == 0
            assert "=== END SUMMARY ===" in text
            assert daemon.running.end()[0] == expected
            assert not (tmp_path / "ready.json").exists()
            assert group_is_gone(daemon.running.process.pid)

    def test_second_signal_ends_at_once(self, tmp_path: Path) -> None:
        """Who does not want to wait says so twice: the call is told that it was interrupted."""
        with a_daemon(tmp_path, {**SCALE, **FOREVER}) as daemon, daemon.client("call", "analyze") as call:
            call.until("expert")
            daemon.running.signal(signal.SIGTERM)
            daemon.running.until("drain_started")
            daemon.running.signal(signal.SIGTERM)
            status, _ = call.end()
            assert status == 1
            assert "INTERRUPTED" in call.lines[-1]
            assert daemon.running.end()[0] == 0

    async def test_killed_daemon_leaves_an_unknown_outcome(self, tmp_path: Path) -> None:
        """After SIGKILL and a restart nothing is run again: the client says that the call may have run."""
        with a_daemon(tmp_path, FOREVER) as first:
            async with DaemonClient(first.url, clock=Clock()) as client:
                beats: list[Any] = []

                def kill(frame: object) -> None:
                    beats.append(frame)
                    first.running.signal(signal.SIGKILL)

                call = asyncio.create_task(client.call("chat", {"prompt": "x"}, timeout_s=100.0, on_progress=kill))
                await asyncio.to_thread(first.running.end)
                with a_daemon(tmp_path, FOREVER, port=first.ready["port"]) as second:
                    result = await call
                    second.running.signal(signal.SIGTERM)
                    second.running.end()
                    assert not [line for line in second.running.lines if "call_start" in line]
        assert (result.outcome, result.attempts, len(beats)) == (CallOutcome.UNKNOWN, 1, 1)


class TestTerminal:
    def test_daemon_greets_a_person(self, tmp_path: Path) -> None:
        """In a terminal the first lines say where it listens, that stubs answer, how to try it, and how to stop it."""
        shown = on_terminal(["daemon", "--port", "0"], tmp_path, environment(), until="daemon_started")
        assert "The daemon listens on ws://127.0.0.1:" in shown
        assert "a stub with made-up texts; set GLM_API_KEY for the real one" in shown
        assert re.search(r"exai call version --url ws://127\.0\.0\.1:\d+", shown)
        assert "Ctrl-C" in shown

    def test_call_shows_one_live_line(self, daemon: RunningDaemon) -> None:
        """In a terminal heartbeats replace each other on one line, which is gone when the result comes."""
        shown = on_terminal(["call", "analyze"], daemon.folder, daemon.env, until="\x1b[?25h")
        assert "analyze: sent" in shown
        assert re.search(r"analyze: expert, \d+ s so far", shown)
        assert "\x1b[2K" in shown


def on_terminal(arguments: list[str], cwd: Path, env: dict[str, str], *, until: str) -> str:
    """Run a command with a terminal as stderr; return what it showed up to some words, and end it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "exai", *arguments],
        cwd=cwd,
        env={**env, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while until.encode() not in shown:
            shown += os.read(ours, 4096)
    finally:
        process.terminate()
        process.wait(timeout=BOUND_S)
        os.close(ours)
    return shown.decode()
