"""The gate's last stage: questions put by raw clients to the daemon, and by stdio to the shim."""

import contextlib
import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from chaos.conduct import Conducted, Report, keep
from chaos.defects import DEFECTS, applied
from chaos.drill import Checked, Options, run_of, run_to_its_end
from chaos.environment import clean_environment
from chaos.probes import Target, run_probes
from chaos.probes.logs import search_logs
from chaos.recorder import Recorder
from chaos.runner import Watcher
from chaos.topology import Plan, System, running_system
from reference_daemon.clock import Clock
from scenarios.checks.judge import judge
from scenarios.load import to_yaml
from scenarios.model import Scenario
from scenarios.record import Record
from scenarios.run_directory import RunDirectory

_ASKED: Final = (2, *range(6, 18), 20, 21, 22, 24, 25, 26, 27, 28, 29, *range(30, 46))
RULES: Final = tuple(f"INV-{number:02}" for number in _ASKED)
"""What the stage must decide on the embedded daemon."""

_HELLO_TIMEOUT_S: Final = 10.0
_MAX_FRAME_BYTES: Final = 1024 * 1024
"""Small, so that a frame over the limit is quickly sent."""


def protocol_scenario(time_scale: float, *, embedded: bool) -> Scenario:
    """Return the scenario of the stage: no load of its own, the providers that the tools need, and its rules."""
    latency = {"latency": {"uniform": {"low": 35, "high": 55}}}
    values = {
        "name": "protocol",
        "title": "Handshake, Origin, token, bad input, keys and shim, asked by raw clients",
        "time_scale": time_scale,
        "settings": {"EXAI_WS_MAX_FRAME_BYTES": _MAX_FRAME_BYTES, "EXAI_WS_HELLO_TIMEOUT": _HELLO_TIMEOUT_S},
        "providers": {"GLM": latency, "KIMI": latency},
        "load": [
            {"phase": "none", "duration": 1, "arrivals": {"closed": {"users": 1, "calls": 1}}, "mix": {"version": 1}}
        ],
        "expect": [{"invariants": RULES if embedded else "all"}],
    }
    return Scenario.model_validate(values)


def asked_about(scenario: Scenario) -> frozenset[str] | None:
    """Return the rules that a scenario of this stage names, which alone are asked about; None if it names all."""
    named = [each.invariants for each in scenario.expect if each.invariants is not None]
    if "all" in named:
        return None
    return frozenset(rule for rules in named for rule in rules)


@dataclass(slots=True)
class _Stage:
    """The stage while it runs."""

    what: Checked
    options: Options
    directory: RunDirectory
    watcher: Watcher
    clock: Clock
    recorder: Recorder
    token: str | None
    logs: tuple[Path, ...] = ()

    async def run(self) -> None:
        """Bring the daemon up, or take the one that is there, and ask."""
        embedded = self.options.target is None
        settings = dict(self.what.values)
        if embedded:
            assert self.token is not None  # noqa: S101 - an embedded daemon has one
            settings["EXAI_WS_TOKEN"] = self.token
        plan = Plan(
            scenario=self.what.scenario,
            settings=settings,
            toxiproxy=self.options.toxiproxy,
            seed=self.options.seed,
            time_scale=self.options.time_scale,
            logs=self.directory.logs,
            target=self.options.target,
        )
        recorder = self.recorder
        system_of = running_system(plan, say=self.watcher.say, note=recorder.note, since=recorder.since)
        async with system_of as system:
            self.watcher.say("asking the protocol's questions")
            target = self._target(system, embedded=embedded)
            with self._client_defect():
                await run_probes(target, note=recorder.note, since=recorder.since, say=self.watcher.say)
        if system.daemon is not None:
            logs = self.directory.logs
            self.logs = tuple(path for path in logs.rglob("*") if path.is_file() and path.suffix in {".log", ".jsonl"})

    def _target(self, system: System, *, embedded: bool) -> Target:
        address = urlsplit(system.direct_url)
        environment = {
            "EXAI_WS_HOST": address.hostname or "127.0.0.1",
            "EXAI_WS_PORT": str(address.port or 8765),
            "EXAI_WS_AUTOSTART": "false",
            "EXAI_TIME_SCALE": str(self.options.time_scale),
            "EXAI_LOG_DIR": str((self.directory.logs / "shim").absolute()),
        }
        if self.token is not None:
            environment["EXAI_WS_TOKEN"] = self.token
        return Target(
            host=address.hostname or "127.0.0.1",
            port=address.port or 8765,
            token=self.token,
            embedded=embedded,
            hello_timeout_s=self.what.settings.hello_timeout_s,
            max_message_bytes=self.what.settings.max_frame_bytes,
            clock=self.clock,
            shim_command=self._shim_command(),
            shim_environment=clean_environment(os.environ) | environment,
            rotate=embedded,
            own_logs=self.directory.logs if embedded else None,
            defect=self._defect_of("daemon"),
            rules=asked_about(self.what.scenario),
        )

    def _defect_of(self, where: str) -> str | None:
        """Return the scenario's defect, if it is one of this part."""
        name = self.what.scenario.daemon.defect
        return name if name is not None and DEFECTS[name].where == where else None

    def _client_defect(self) -> contextlib.AbstractContextManager[object]:
        """Apply a defect of the client: the probes that ask about it run in this process."""
        name = self._defect_of("client")
        return contextlib.nullcontext() if name is None else applied(name)

    def _shim_command(self) -> list[str]:
        """Return how a shim is started: with the scenario's defect, if it is one of the shim."""
        name = self._defect_of("shim")
        if name is not None:
            return [sys.executable, "-m", "chaos.defects.run", name, "--", "shim"]
        return [sys.executable, "-m", "exai", "shim"]


def run_protocol_stage(
    what: Checked, options: Options, directory: RunDirectory, watcher: Watcher, *, clock: Clock, report: Report
) -> Conducted:
    """Run the stage, judge it and write its report; everything that it started has been stopped afterwards."""
    began_at = clock.now()
    recorder = Recorder(clock)
    token = options.token if options.target else f"gate-{secrets.token_hex(16)}"
    stage = _Stage(what, options, directory, watcher, clock, recorder, token)
    directory.write("scenario.yaml", to_yaml(what.scenario).encode())
    ending = run_to_its_end(stage.run())
    recorder.events += search_logs(stage.logs, [token] if token and options.target is None else [])
    run = run_of(what, options, ending, wall_s=clock.wall_s(clock.now() - began_at))
    record = Record(run, (), sorted(recorder.events, key=lambda event: event.at))
    keep(record, directory)
    judgement = judge(what.scenario, record)
    report(directory.path, record, judgement)
    return Conducted(record, judgement, directory.path, ending.interrupted)
