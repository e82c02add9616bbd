"""Names that are known outside of a scenario: settings, tools, numbers of rules; and faults that never begin."""

from pathlib import Path

import pytest

from reference_daemon.server.info_tools import list_models, version
from reference_daemon.server.prompts import WORKFLOWS
from reference_daemon.server.registry import CHATS
from scenarios.load import ScenarioError, load_scenario
from scenarios.outside import TOOLS

SCENARIO = """\
name: tiny
title: One call
settings: {EXAI_LONG_RUN: true}
providers: {GLM: {latency: {constant: {value: 45}}, tool_latency: {chat: {constant: {value: 1}}}}}
load: [{phase: only, duration: 300, arrivals: {burst: {size: 1}}, mix: {analyze: 1}}]
faults: [{at: 20, for: 10, link: client-daemon, toxic: down}]
expect: [{invariants: [INV-01]}]
"""
SETTING = "EXAI_LONG_RUN: true"
PROVIDERS = "there is GLM, KIMI"
DISTRIBUTIONS = "constant, uniform, lognormal, gamma, weibull, empirical"
THERE = f"no such tool; there is {', '.join(TOOLS)}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the place of a scenario file."""
    return tmp_path / "mine.yaml"


def mistakes_of(file: Path, text: str, *, foreign: bool = False) -> list[str]:
    """Return the mistakes of a file with this text, without its name."""
    file.write_text(text, encoding="utf-8")
    try:
        load_scenario(file, foreign=foreign)
    except ScenarioError as error:
        return [str(mistake).removeprefix(f"{file}:") for mistake in error.mistakes]
    return []


class TestSettings:
    @pytest.mark.parametrize(
        ("setting", "mistake"),
        [
            (
                "EXAI_WS_GLOBAL_MAX_INFLIHGT: 4",
                'EXAI_WS_GLOBAL_MAX_INFLIHGT: no such setting (did you mean "EXAI_WS_GLOBAL_MAX_INFLIGHT"?)',
            ),
            (
                "EXAI_WS_TOL_MAX_INFLIGHT: 4",
                f'EXAI_WS_TOL_MAX_INFLIGHT: no provider TOL; {PROVIDERS} (did you mean "EXAI_WS_TOOL_MAX_INFLIGHT"?)',
            ),
            (
                "EXAI_WS_GML_MAX_INFLIGHT: 4",
                f'EXAI_WS_GML_MAX_INFLIGHT: no provider GML; {PROVIDERS} (did you mean "EXAI_WS_GLM_MAX_INFLIGHT"?)',
            ),
            ("LOG_LEVL: INFO", 'LOG_LEVL: no such setting (did you mean "LOG_LEVEL"?)'),
            ("QQQ: 1", "QQQ: no such setting"),
            ("EXAI_WS_GLOBAL_MAX_INFLIGHT: -1", "EXAI_WS_GLOBAL_MAX_INFLIGHT: must be a whole number of at least 1"),
            ("EXAI_WS_GLM_MAX_INFLIGHT: many", "EXAI_WS_GLM_MAX_INFLIGHT: must be a whole number"),
            ("EXAI_CLIENT_TIMEOUT: 0", "EXAI_CLIENT_TIMEOUT: must be a finite number above 0"),
            ("LOG_FORMAT: xml", "LOG_FORMAT: must be console or json"),
            (
                "EXAI_WS_RETRY_AFTER: later",
                "EXAI_WS_RETRY_AFTER: must be appointment, residual or fixed:SECONDS",
            ),
            (
                "EXAI_STUB_LATENCY: slow",
                f"EXAI_STUB_LATENCY: must be NAME:NUMBERS, NAME one of {DISTRIBUTIONS}",
            ),
            (
                'EXAI_WS_TOOL_MAX_INFLIGHT: "chat=1, anlyze=3"',
                f'EXAI_WS_TOOL_MAX_INFLIGHT: {THERE} (did you mean "analyze"?)',
            ),
        ],
    )
    def test_wrong(self, file: Path, setting: str, mistake: str) -> None:
        """An unknown setting is a mistake, and so is a value that breaks the setting's rule; each is told once."""
        assert mistakes_of(file, SCENARIO.replace(SETTING, setting)) == [f"3: settings.{mistake}"]

    @pytest.mark.parametrize(
        "setting", ["EXAI_WS_KIMI_MAX_INFLIGHT: 3", "EXAI_STUB_LATENCY: 'constant:3'", "EXAI_LONG_RUN: 'off'"]
    )
    def test_right(self, file: Path, setting: str) -> None:
        """A setting of the daemon is one, also where the scenario does not need it."""
        assert mistakes_of(file, SCENARIO.replace(SETTING, setting)) == []

    def test_secret(self, file: Path) -> None:
        """No value of a setting is repeated, as it may be a secret."""
        text = SCENARIO.replace(SETTING, "EXAI_WS_PORT: hunter2, GLM_API_KYE: hunter2")
        found = mistakes_of(file, text)
        assert len(found) == 2
        assert "hunter2" not in " ".join(found)


class TestTools:
    def test_the_daemon_has_the_same(self) -> None:
        """The tools known here are exactly those that the daemon lists."""
        tools = {workflow.name for workflow in WORKFLOWS} | CHATS.keys() | {list_models([]).name, version().name}
        assert set(TOOLS) == tools

    @pytest.mark.parametrize(
        ("old", "new", "place", "meant"),
        [
            ("mix: {analyze: 1}", "mix: {analyse: 1}", "5: load[0].mix.analyse", "analyze"),
            ("mix: {analyze: 1}", "sequence: [chat, Codereveiw]", "5: load[0].sequence[1]", "codereview"),
            ("{chat: {", "{chta: {", "4: providers.GLM.tool_latency.chta", "chat"),
        ],
    )
    def test_slip(self, file: Path, old: str, new: str, place: str, meant: str) -> None:
        """A name that looks like a tool's, and is none, is a slip."""
        assert mistakes_of(file, SCENARIO.replace(old, new)) == [f'{place}: {THERE} (did you mean "{meant}"?)']

    def test_tool_of_another_daemon(self, file: Path) -> None:
        """A name that looks like no tool of ours may be one of the daemon that the scenario is for."""
        assert mistakes_of(file, SCENARIO.replace("analyze", "translate-page")) == []

    def test_for_another_daemon(self, file: Path) -> None:
        """Of a daemon that is not ours, tools and settings are its own; what else is wrong is told all the same."""
        text = SCENARIO.replace("analyze", "analyse").replace(SETTING, "EXAI_LONG_RNU: 1").replace("INV-01", "INV-99")
        assert len(mistakes_of(file, text)) == 3
        assert [mistake[:9] for mistake in mistakes_of(file, text, foreign=True)] == ["7: expect"]


class TestRules:
    @pytest.mark.parametrize(
        ("expectation", "place"),
        [("invariants: [INV-01, INV-99]", "expect[0].invariants[1]"), ("broken: INV-99", "expect[0].broken")],
    )
    def test_no_such_rule(self, file: Path, expectation: str, place: str) -> None:
        """An expectation of a rule that there is not would never be judged."""
        (found,) = mistakes_of(file, SCENARIO.replace("invariants: [INV-01]", expectation))
        assert found.startswith(f'7: {place}: no such rule; there is INV-01 to INV-46 (did you mean "INV-')

    def test_no_number(self, file: Path) -> None:
        """What does not look like a number of a rule is told once."""
        (found,) = mistakes_of(file, SCENARIO.replace("INV-01", "INV-1"))
        assert "must be all, or a list of names such as INV-01" in found


class TestFaultsAfterTheEnd:
    @pytest.mark.parametrize(("at", "quiesce"), [("540", ""), ("5000", ""), ("310", "quiesce: 10\n")])
    def test_never_begins(self, file: Path, at: str, quiesce: str) -> None:
        """A fault at or after the end of load and quiesce would never begin; the end is named."""
        (found,) = mistakes_of(file, SCENARIO.replace("at: 20", f"at: {at}") + quiesce)
        wait = 10 if quiesce else 240
        end = f"the load ends at 300 s, and the run {wait} s later at {300 + wait} s"
        assert found == f"6: faults[0].at: would never begin: {end}"

    def test_begins_in_the_end(self, file: Path) -> None:
        """A fault may begin while the last calls end."""
        assert mistakes_of(file, SCENARIO.replace("at: 20", "at: 539")) == []

    @pytest.mark.parametrize(
        ("old", "new"), [("duration: 300", "duration: long"), ("load: [", "load: [7, "), ("load: [", "laod: [")]
    )
    def test_no_end(self, file: Path, old: str, new: str) -> None:
        """Where the end cannot be read, nothing is said about it."""
        found = mistakes_of(file, SCENARIO.replace("at: 20", "at: 5000").replace(old, new))
        assert found
        assert not any("begin" in mistake for mistake in found)


def test_all_at_once(file: Path) -> None:
    """Mistakes of all these kinds are listed together with those of the validator."""
    text = SCENARIO.replace(SETTING, "EXAI_LONG_RNU: 1").replace("analyze", "analyse").replace("title", "titel")
    text = text.replace("at: 20", "at: 5000").replace("INV-01", "INV-99").replace("value: 45", "value: -45")
    lines = [mistake.partition(":")[0] for mistake in mistakes_of(file, text)]
    assert lines == ["2", "3", "4", "5", "6", "7"]
