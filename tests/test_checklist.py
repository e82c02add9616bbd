"""`exai checklist` as a person and a script meet it, and `exai status` when no daemon answers."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reference_daemon.checklist import Verdict, ladder, read
from reference_daemon.checklist_live import live_checks
from reference_daemon.clock import Clock
from reference_daemon.policy.ladder import RULES
from reference_daemon.providers.completion import ProviderSettings
from reference_daemon.providers.errors import Failure, ProviderFailedError
from reference_daemon.providers.latency import Constant
from reference_daemon.providers.model_list import models_of
from reference_daemon.providers.stub_model import StubConfig, StubProvider
from reference_daemon.providers.stub_server import StubServer
from reference_daemon.settings import Settings, SettingsError
from tests.processes import ROOT, SETTINGS, RunningDaemon, a_daemon, environment, exai


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without settings, and a working directory without `.env`."""
    for name in list(os.environ):
        if name.startswith(SETTINGS):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon for tests that only ask."""
    with a_daemon(tmp_path_factory.mktemp("daemon"), EXAI_TIME_SCALE="0.05") as running:
        yield running


def failed(text: str) -> list[str]:
    """Return the names of the rules that a `.env` breaks."""
    Path(".env").write_text(text)
    return [check.name for check in ladder(read()) if check.verdict is Verdict.FAIL]


@pytest.mark.usefixtures("bare")
class TestReading:
    def test_shipped_profile_keeps_every_rule(self) -> None:
        """The profile that operators copy passes, without a note."""
        checks = ladder(read(ROOT / ".env.example"))
        assert [check.name for check in checks] == [rule.name for rule in RULES]
        assert {(check.verdict, check.note) for check in checks} == {(Verdict.PASS, "")}

    def test_what_it_says_to_write_helps(self) -> None:
        """Whoever appends each line that the checklist names passes the next time."""
        broken = (
            "EXAI_WS_CALL_TIMEOUT=12\nEXAI_SHIM_RPC_TIMEOUT=9\nWORKFLOW_STEP_TIMEOUT_SECS=500\n"
            "EXPERT_ANALYSIS_TIMEOUT_SECS=400\nEXPERT_HEARTBEAT_INTERVAL_SECS=11\nEXAI_WS_PROGRESS_INTERVAL_SECS=12\n"
            "EXAI_CLIENT_TIMEOUT=8\nEXAI_WS_DISABLE_COALESCE_FOR_TOOLS=chat\nEXAI_WS_GLOBAL_MAX_INFLIGHT=5\n"
            "EXAI_WS_HOST=0.0.0.0\n"
        )
        assert failed(broken) == [rule.name for rule in RULES]
        lines = [line for check in ladder(read()) for line in check.write]
        assert failed(broken + "\n".join(lines)) == []

    def test_origin_is_the_place_that_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Environment before file before default; a value of several settings names each place; empty is not set."""
        Path(".env").write_text(
            "EXAI_WS_CALL_TIMEOUT=170\nEXAI_SHIM_RPC_TIMEOUT=160\nEXAI_WS_KIMI_MAX_INFLIGHT=5\n"
            "EXAI_LONG_RUN=true\nWORKFLOW_STEP_TIMEOUT_SECS=\n"
        )
        monkeypatch.setenv("EXAI_SHIM_RPC_TIMEOUT", "155")
        monkeypatch.setenv("EXAI_WS_GLM_MAX_INFLIGHT", "3")
        origins = {check.name: (check.value, check.origin) for check in ladder(read())}
        assert origins["call-timeout"] == ("170 s", ".env")
        assert origins["shim-timeout"] == ("155 s", "environment")
        assert origins["provider-caps"] == ("GLM=3, KIMI=5, global 16", "environment, .env")
        assert origins["client-timeout"] == ("240 s", ".env")
        assert origins["step-timeout"] == ("120 s", "default")

    def test_environment_hides_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Writing to .env is no help against a value of the environment: that is said."""
        monkeypatch.setenv("EXAI_SHIM_RPC_TIMEOUT", "60")
        (check,) = [check for check in ladder(read()) if check.verdict is Verdict.FAIL]
        assert check.note == "unset it in the environment, which comes before .env"

    def test_wrong_values_leave_out_their_rules(self) -> None:
        """What cannot be read is a problem; rules that need none of it are still judged."""
        Path(".env").write_text("EXAI_WS_CALL_TIMEOUT=soon\nEXAI_WS_GLM_MAX_INFLIGHT=0\nEXAI_SHIM_RPC_TIMEOUT=60\n")
        reading = read()
        assert [problem.setting for problem in reading.problems] == ["EXAI_WS_GLM_MAX_INFLIGHT", "EXAI_WS_CALL_TIMEOUT"]
        assert [check.name for check in ladder(reading)] == ["client-timeout", "coalescing", "token"]

    def test_file_that_is_named_must_be_there(self) -> None:
        """A misspelt --env-file checks nothing."""
        with pytest.raises(SettingsError):
            read(Path("no.env"))

    def test_file_must_be_text(self) -> None:
        """Nor does one that is no text."""
        Path(".env").write_bytes(b"\xff")
        with pytest.raises(SettingsError):
            read()


@pytest.mark.slow
class TestCommand:
    def test_table(self, tmp_path: Path) -> None:
        """Each rule is a row that says pass or FAIL in words; what to write stands below, ready to be copied."""
        (tmp_path / ".env").write_text("EXAI_SHIM_RPC_TIMEOUT=60\n")
        done = exai("checklist", cwd=tmp_path, env=environment())
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout.startswith("read .env; what the environment sets comes before it\n")
        assert len(re.findall(r"^ ?pass ", done.stdout, re.MULTILINE)) == len(RULES) - 1
        assert re.findall(r"^ ?FAIL +(\w+)", done.stdout, re.MULTILINE) == ["EXAI_SHIM_RPC_TIMEOUT"]
        assert "write to .env:\n  EXAI_SHIM_RPC_TIMEOUT=150\n" in done.stdout
        assert done.stdout.endswith("9 passed, 1 failed\n")

    @pytest.mark.parametrize("columns", ["80", "120"])
    def test_table_fits(self, tmp_path: Path, columns: str) -> None:
        """No line is wider than the terminal."""
        done = exai("checklist", cwd=tmp_path, env=environment(COLUMNS=columns))
        assert done.returncode == 0
        assert max(map(len, done.stdout.splitlines())) <= int(columns)

    def test_bad_values_are_listed_and_2(self, tmp_path: Path) -> None:
        """What can be judged is shown; each value that is wrong has its line on stderr."""
        env = environment(EXAI_WS_PORT="abc", LOG_LEVEL="loud")
        done = exai("checklist", "--live", "--run", cwd=tmp_path, env=env)
        assert done.returncode == 2
        assert "10 passed" in done.stdout
        assert [line.split(" = ")[0] for line in done.stderr.splitlines()] == ["exai: EXAI_WS_PORT", "LOG_LEVEL"]

    def test_json(self, tmp_path: Path) -> None:
        """Programs get the same facts; no value of a secret among them."""
        (tmp_path / "my.env").write_text("EXAI_WS_TOKEN=a-secret-of-mine\n")
        done = exai("checklist", "--json", "--env-file", "my.env", cwd=tmp_path, env=environment())
        facts: dict[str, Any] = json.loads(done.stdout)
        assert (done.returncode, facts["file"], facts["problems"], facts["live"]) == (0, "my.env", [], [])
        assert facts["settings"][-1]["value"] == "set, on 127.0.0.1"
        assert "a-secret" not in done.stdout

    def test_run_waits_for_the_rules(self, tmp_path: Path) -> None:
        """A drill of settings that are to be changed says nothing: it is not run."""
        done = exai("checklist", "--run", cwd=tmp_path, env=environment(EXAI_SHIM_RPC_TIMEOUT="60"))
        assert (done.returncode, (tmp_path / "runs").exists()) == (1, False)
        assert done.stderr == "exai: the drill was not run: put the above right first\n"


@pytest.mark.slow
class TestLive:
    def test_daemon_of_these_settings(self, daemon: RunningDaemon) -> None:
        """A daemon that was started with these settings has their caps, timeouts and token; stubs need nothing."""
        done = daemon.exai("checklist", "--live", "--json")
        live = {check["name"]: (check["verdict"], check["value"]) for check in json.loads(done.stdout)["live"]}
        assert done.returncode == 0
        assert live == {
            "daemon-up": ("pass", f"up, boot id {daemon.ready['boot_id']}"),
            "daemon-caps": ("pass", "the same"),
            "daemon-timeouts": ("pass", "the same"),
            "daemon-token": ("pass", "the same"),
            "provider-glm": ("pass", "a stub in the daemon"),
            "provider-kimi": ("pass", "a stub in the daemon"),
        }

    def test_settings_that_changed_since(self, daemon: RunningDaemon) -> None:
        """A daemon that still runs with the old settings is to be restarted; what differs is named."""
        (daemon.folder / "new.env").write_text(
            "EXAI_WS_GLM_MAX_INFLIGHT=2\nEXAI_WS_CALL_TIMEOUT=170\nEXAI_WS_TOKEN=0123456789abcdef\n"
        )
        done = daemon.exai("checklist", "--live", "--json", "--env-file", "new.env")
        live = {check["name"]: check for check in json.loads(done.stdout)["live"]}
        assert done.returncode == 1
        assert live["daemon-caps"]["value"] == "provider GLM: 4, not 2"
        assert live["daemon-timeouts"]["value"] == "call: 180, not 170"
        assert live["daemon-token"]["value"] == "token: not set, not set"
        assert {live[name]["verdict"] for name in ("daemon-caps", "daemon-timeouts", "daemon-token")} == {"FAIL"}

    def test_another_token(self, tmp_path: Path) -> None:
        """A daemon that does not let us in has another token: that is a finding, not a failure of the network."""
        with a_daemon(tmp_path, EXAI_WS_TOKEN="0123456789abcdef") as running:
            env = {**running.env, "EXAI_WS_TOKEN": "fedcba9876543210"}
            done = exai("checklist", "--live", cwd=tmp_path, env=env)
        assert done.returncode == 1
        assert "it has another one than these settings" in done.stdout
        assert "0123456789" not in done.stdout + done.stderr

    def test_no_daemon_is_3(self, tmp_path: Path) -> None:
        """Where nobody answers nothing can be compared."""
        done = exai("checklist", "--live", cwd=tmp_path, env=environment(EXAI_WS_PORT="1"))
        assert done.returncode == 3
        assert "nothing listens there; `exai daemon` starts one" in done.stdout


class TestProviders:
    @pytest.fixture
    async def stub(self) -> StubServer:
        """A stub whose providers list two models."""
        provider = StubProvider(latency=Constant(0.0), models=("glm-4.6", "glm-x"))
        return StubServer(StubConfig(providers={"GLM": provider, "KIMI": provider}), Clock(0.05))

    async def test_models_are_listed(self, stub: StubServer) -> None:
        """A provider that lists its default model passes; one that does not know it fails, and its names are shown."""
        async with stub:
            settings = Settings.model_validate(
                {"EXAI_WS_PORT": 1, "GLM_API_URL": stub.base_url("GLM"), "KIMI_API_URL": stub.base_url("KIMI")}
            )
            checks = {check.name: check for check in await live_checks(settings)}
        assert (checks["provider-glm"].verdict, checks["provider-glm"].value) == (Verdict.PASS, "glm-4.6, glm-x")
        assert checks["provider-kimi"].verdict is Verdict.FAIL
        assert checks["provider-kimi"].note == "set KIMI_DEFAULT_MODEL to one of them: kimi-k2 is none"

    async def test_what_is_no_list_fails(self, stub: StubServer) -> None:
        """An address that leads elsewhere is refused by what answers there."""
        async with stub:
            provider = ProviderSettings(
                name="GLM", base_url=f"{stub.origin}/nowhere", api_key="k", default_model="m", stub=True
            )
            with pytest.raises(ProviderFailedError) as failure:
                await models_of(provider)
        assert (failure.value.reason, failure.value.provider_status) == (Failure.REFUSED, 404)

    async def test_nobody_there_is_undecided(self) -> None:
        """A provider that cannot be reached says nothing about the settings."""
        settings = Settings.model_validate({"EXAI_WS_PORT": 1, "GLM_API_URL": "http://127.0.0.1:1/v1"})
        checks = {check.name: check for check in await live_checks(settings)}
        assert checks["provider-glm"].verdict is Verdict.UNDECIDED
        assert checks["provider-glm"].value == "provider GLM: it cannot be reached"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
class TestLastHeard:
    def test_file_is_removed_at_an_orderly_end(self, tmp_path: Path) -> None:
        """While the daemon runs its figures are in the file; after its end they are not."""
        path = tmp_path / "logs" / "ws_daemon.health.json"
        with a_daemon(tmp_path) as running:
            facts = json.loads(path.read_text())
            assert (facts["pid"], facts["url"]) == (
                running.running.process.pid,
                f"ws://127.0.0.1:{running.env['EXAI_WS_PORT']}",
            )
            running.running.signal(signal.SIGTERM)
            assert running.running.end()[0] == 0
        assert not path.exists()

    def test_status_of_a_daemon_that_was_killed(self, tmp_path: Path) -> None:
        """Its last figures are shown with their age, and the status is 3 all the same."""
        with a_daemon(tmp_path) as running:
            running.running.process.kill()
            running.running.process.wait()
            done = running.exai("status")
            program = running.exai("status", "--json")
        assert done.returncode == program.returncode == 3
        assert re.search(r"^ws://\S+ \(pid \d+\) was last heard of \d+ s ago, by logs.ws_daemon", done.stdout)
        assert "provider GLM" in done.stdout
        assert done.stderr.startswith("exai: no daemon at ws://")
        facts = json.loads(program.stdout)
        assert (facts["answers"], facts["global_inflight"], facts["age"] < 60) == (False, 0, True)

    def test_file_of_another_daemon_says_nothing(self, tmp_path: Path) -> None:
        """Figures of a daemon at another address are not this one's."""
        with a_daemon(tmp_path) as running:
            done = running.exai("status", "--url", "ws://127.0.0.1:1")
        assert (done.returncode, done.stdout) == (3, "")


@pytest.mark.slow
def test_daemon_says_which_rules_its_settings_break(tmp_path: Path) -> None:
    """A daemon that starts with a broken ladder warns of each rule, and runs."""
    with a_daemon(tmp_path, EXAI_SHIM_RPC_TIMEOUT="60", LOG_FORMAT="json") as running:
        warnings = [json.loads(line) for line in running.running.lines if '"rule_broken"' in line]
    assert [(line["level"], line["setting"], line["value"]) for line in warnings] == [
        ("warning", "EXAI_SHIM_RPC_TIMEOUT", "60 s")
    ]
