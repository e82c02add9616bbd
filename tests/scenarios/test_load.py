"""Scenarios from files: what a good one may hold, and how a bad one is explained."""

from pathlib import Path
from typing import Any

import pytest

from reference_daemon.policy.errors import HarnessError
from scenarios.load import Mistake, ScenarioError, load_scenario, shipped, to_yaml
from scenarios.model import Scenario
from tests.scenarios.files import GOOD, loaded, mistakes_of

FULL = """\
name: slow-provider
title: "GLM slows down: äöü"
description: |
  Two minutes of a slow provider,
  and a link that drops.
seed: 7
time_scale: 0.05
settings: {EXAI_WS_GLOBAL_MAX_INFLIGHT: 16, EXAI_WS_HOST: "1e3", EXAI_LONG_RUN: true, EXAI_WS_RETRY_AFTER_QUANTILE: 0.5}
daemon: {defect: heartbeat-cancels-call}
retry: {max_attempts: 5}
providers:
  GLM: {latency: {lognormal: {median: 45, sigma: 0.2}}, concurrency: 8, tool_latency: {chat: {constant: {value: 1}}}}
  KIMI: {latency: {mixture: {parts: [{weight: 9, latency: {constant: {value: 38}}}]}}, errors: {rate: 0.01}}
load:
  - {phase: steady, duration: 300, clients: 3, arrivals: {poisson: {rate: 0.12}}, mix: {analyze: 3, chat: 2}}
  - {phase: users, start: 0, duration: 300, arrivals: {closed: {users: 2, think: 1}}, sequence: [testgen, analyze]}
  - {phase: traced, duration: 9, arrivals: {trace: {times: [1, 2.5]}}, mix: {chat: 1}, behaviour: {duplicates: 2}}
faults:
  - {at: 120, for: 120, link: "daemon-provider:GLM", toxic: {latency: {latency: 30, jitter: 5}}}
  - {name: cut, at: 260, for: 10, link: client-daemon, toxic: down}
  - {at: 280, signal: SIGKILL}
  - {at: 290, for: 3, provider: {name: KIMI, mode: "status:429", latency: {uniform: {low: 1, high: 2}}}}
expect:
  - {metric: success_rate, min: 0.95, during: cut}
  - {metric: p95_s, tool: analyze, max: 150, during: latency-daemon-provider-glm}
  - {metric: timeouts, layer: client, max: 0, phase: users, provider: KIMI}
  - {metric: refusals, scope: "provider:GLM", max: 0, why: Nobody is refused.}
  - {invariants: [INV-01, INV-05]}
"""

MISTAKES = """\
name: Slow Provider
titel: GLM slows down
seed: 1.5
time_scale: 5
settings: {EXAI_A: [1]}
providers:
  GLM:
    latency: {lognormal: {medan: 45, sigma: 0.2}}
    tool_latency:
      analyze: {lognorml: {median: 45, sigma: 0.2}}
      chat: 5
  kimi:
    latency: {mixture: {parts: [{weight: 1, latency: {constant: {value: -5}}}]}}
load:
  - phase: steady
    duration: -1
    clients: 0
    arrivals: {poison: {rate: 0.1}}
    mix: {analyze: 1}
    wibble: 3
  - phase: steady
    duration: abc
    duration: abc
    arrivals: {poisson: {rate: 0.1}, burst: {size: 3}}
    mix: {analyze: 1}
    keys: uniqe
  - {phase: late, duration: 10, arrivals: {uniform: {}}, expert: perhaps}
  -
faults:
  - {at: 1, for: 3, link: client-daemn, toxic: dwon}
  - {at: 1, for: 3, link: "daemon-provider:GML", toxic: {latncy: {latency: 3}}}
  - {at: 1, for: 3, link: client-daemon, toxic: {latency: {jitter: 3}}}
  - {at: 1, for: 3, link: client-daemon, toxic: {latency: {latency: 3}, bandwidth: {rate: 2}}}
  - {at: 1, signal: SIGTREM}
  - {at: 1, for: 3, provider: {name: GLN, mode: malformd}}
  - {at: 1, signal: SIGSTOP}
  - nothing
expect:
  - {metric: sucess_rate, min: 0.95}
  - {metric: p95_s, tool: analize, max: .nan}
  - {metric: timeouts, layer: cleint, max: 0}
  - {invariants: al}
  - {invariants: [INV-1]}
  - {metric: refusals, scope: "provider:GLN", phase: stedy, min: 3, max: 1}
  - {metric: calls}
"""

_DISTRIBUTIONS = "constant, uniform, lognormal, gamma, weibull, empirical, mixture"
_PHASE_KEYS = "phase, duration, start, clients, arrivals, mix, sequence, expert, model, keys, client_timeout, behaviour"
_TOXICS = "latency, bandwidth, slow_close, timeout, reset_peer, slicer, limit_data"

EXPLAINED = f"""\
1: name: must be lower-case letters, digits and -, no - first
2: titel: unknown key (did you mean "title"?)
3: seed: must be a whole number
4: time_scale: must be at most 1
5: settings.EXAI_A: no such setting
5: settings.EXAI_A: must be text, a number or true or false
8: providers.GLM.latency.lognormal.medan: unknown; lognormal takes median, sigma (did you mean "median"?)
10: providers.GLM.tool_latency.analyze: latency must be one of {_DISTRIBUTIONS} (did you mean "lognormal"?)
11: providers.GLM.tool_latency.chat: must be a mapping
12: providers.kimi: must be upper-case letters, digits and _, a letter first, such as GLM
13: providers.kimi.latency: constant.value must be a number from 0 to 604800
16: load[0].duration: must be above 0
17: load[0].clients: must be at least 1
18: load[0].arrivals.poison: unknown key (did you mean "poisson"?)
20: load[0].wibble: unknown key; known here: {_PHASE_KEYS}
21: load[1].phase: another phase has this name
23: load[1].duration: must be a number
23: load[1].duration: given twice; the first is on line 22
24: load[1].arrivals: give exactly one of poisson, uniform, burst, closed, trace
26: load[1].keys: must be unique, shared or derived (did you mean "unique"?)
27: load[2].arrivals.uniform.gap: is missing
27: load[2].expert: must be true or false
28: load[3]: must be a mapping
30: faults[0].link: must be client-daemon or daemon-provider:NAME (did you mean "client-daemon"?)
30: faults[0].toxic: must be down or a mapping (did you mean "down"?)
31: faults[1].link: no such link; there is daemon-provider:GLM, daemon-provider:kimi \
(did you mean "daemon-provider:GLM"?)
31: faults[1].toxic.latncy: unknown key (did you mean "latency"?)
32: faults[2].toxic.latency.latency: is missing
33: faults[3].toxic: give exactly one of {_TOXICS}, or the word down
34: faults[4].signal: must be SIGTERM, SIGKILL or SIGSTOP (did you mean "SIGTERM"?)
35: faults[5].provider.mode: must be ok, status:NNN (4xx or 5xx), hang, drip or malformed (did you mean "malformed"?)
35: faults[5].provider.name: no such provider; there is GLM, kimi (did you mean "GLM"?)
36: faults[6]: for is needed: a fault that nobody removes ends with the run
37: faults[7]: must be a mapping
39: expect[0].metric: unknown name (did you mean "success_rate"?)
40: expect[1].max: must be a finite number
40: expect[1].tool: no such tool in the load; there is analyze (did you mean "analyze"?)
41: expect[2].layer: must be client, shim, daemon, step, expert, web or provider (did you mean "client"?)
42: expect[3].invariants: must be all or a list (did you mean "all"?)
43: expect[4].invariants[0]: must be all, or a list of names such as INV-01
44: expect[5]: min is above max
44: expect[5].phase: no such phase; there is steady, late (did you mean "steady"?)
44: expect[5].scope: no such provider; there is provider:GLM, provider:kimi (did you mean "provider:GLM"?)
45: expect[6]: a metric needs min or max
"""


class TestGoodFiles:
    def test_smallest(self, file: Path) -> None:
        """Providers, load, expectations, a name and a title suffice; the rest has defaults."""
        scenario = loaded(file, GOOD)
        assert scenario.load_s == 300
        assert scenario.faults == ()

    @pytest.mark.parametrize("text", [GOOD, FULL], ids=["smallest", "everything"])
    def test_written_and_read_back(self, file: Path, text: str) -> None:
        """A scenario that is written with all of its defaults loads back to an equal one."""
        scenario = loaded(file, text)
        written = to_yaml(scenario)
        assert loaded(file, written) == scenario
        assert to_yaml(loaded(file, written)) == written

    def test_written_with_the_files_names(self, file: Path) -> None:
        """What is written uses the keys of the file, `for` among them, and names every default."""
        written = to_yaml(loaded(file, FULL))
        assert "  for: 120.0\n" in written
        assert "duration: 120" not in written
        assert "quiesce: 240.0\n" in written

    def test_values_keep_their_kinds(self, file: Path) -> None:
        """Text that looks like a number stays text when it is quoted, also after writing."""
        settings = loaded(file, to_yaml(loaded(file, FULL))).settings
        assert settings == {
            "EXAI_WS_GLOBAL_MAX_INFLIGHT": 16,
            "EXAI_WS_HOST": "1e3",
            "EXAI_LONG_RUN": True,
            "EXAI_WS_RETRY_AFTER_QUANTILE": 0.5,
        }
        assert settings["EXAI_LONG_RUN"] is True

    def test_anchors_and_merged_mappings(self, file: Path) -> None:
        """Parts can be named once and used again, with own keys on top."""
        text = GOOD.replace("- phase: only", "- &base\n    phase: only") + "retry: {max_attempts: 3}\n"
        text = text.replace("expect:", "  - {<<: *base, phase: again, duration: 5}\nexpect:")
        assert [(phase.phase, phase.duration) for phase in loaded(file, text).load] == [("only", 300), ("again", 5)]

    def test_dates_are_text(self, file: Path) -> None:
        """A name may look like a date."""
        assert loaded(file, GOOD.replace("name: tiny", "name: 2026-01-31")).name == "2026-01-31"

    def test_every_shipped_scenario_is_good(self) -> None:
        """What is shipped loads."""
        assert shipped()
        for name, path in shipped().items():
            assert name.endswith(load_scenario(path).name)


class TestMistakes:
    def test_all_at_once(self, file: Path) -> None:
        """Every mistake is listed, in the order of its line, with its key, its reason and what was probably meant."""
        found = mistakes_of(file, MISTAKES)
        assert sorted(found) == sorted(EXPLAINED.splitlines())
        numbers = [int(text.partition(":")[0]) for text in found]
        assert numbers == sorted(numbers)

    def test_facts_are_attributes(self, file: Path) -> None:
        """A mistake keeps its facts, for tools; the error ends a command with the status of wrong usage."""
        file.write_text(GOOD.replace("title", "titel"), encoding="utf-8")
        with pytest.raises(ScenarioError) as caught:
            load_scenario(file)
        assert caught.value.mistakes == (
            Mistake(file=str(file), line=2, key="titel", reason="unknown key", nearest="title"),
        )
        assert isinstance(caught.value, HarnessError)
        assert caught.value.exit_code == 2

    def test_values_are_not_repeated(self, file: Path) -> None:
        """A setting may be a secret: no message quotes a value."""
        text = GOOD + "settings: {KEY: [hunter2]}\nseed: hunter2\ndaemon: {defect: HUNTER2}\n"
        assert "hunter2" not in " ".join(mistakes_of(file, text)).lower()

    @pytest.mark.parametrize(
        ("old", "new", "mistake"),
        [
            ("title: One call\n", "", "1: title: is missing"),
            ("{invariants: all}", "{}", "11: expect[0]: give either metric or invariants, or broken"),
            ("  - {invariants: all}", "  []", "10: expect: must hold at least 1"),
            ("One call", "''", "2: title: must have at least 1 characters"),
            ("One call", "", "2: title: must be text"),
            ("mix: {analyze: 1}", "mix: {}", "9: load[0].mix: must hold at least 1"),
            ("mix: {analyze: 1}", "mix: {analyze: 0}", "9: load[0].mix.analyze: must be above 0"),
            ("{size: 1}", "{size: 1000001}", "8: load[0].arrivals.burst.size: must be at most 1e+06"),
            ("{size: 1}", "{size: big}", "8: load[0].arrivals.burst.size: must be a whole number"),
            ("phase: only", f"phase: {'x' * 65}", "6: load[0].phase: must have at most 64 characters"),
            ("{constant: {value: 45}}", "45", "4: providers.GLM.latency: must be a mapping"),
            (
                "{constant: {value: 45}}",
                "{constant: {valu: 45}}",
                '4: providers.GLM.latency.constant.valu: unknown; constant takes value (did you mean "value"?)',
            ),
            ("{constant: {value: 45}}", "{constant: {}}", "4: providers.GLM.latency: constant.value is missing"),
            ("duration: 300", "Duration: 300", '7: load[0].Duration: unknown key (did you mean "duration"?)'),
            ("name: tiny", "name: tiny\n7: x", "2: [7]: a key must be text"),
            ("{invariants: all}", "{invariants: all, ~: x}", "11: expect[0].None: a key must be text"),
            (
                "{invariants: all}",
                "{invariants: all, why: One, and more}",
                "11: expect[0].and more: unknown key; within braces, a text with a comma needs quotes",
            ),
        ],
    )
    def test_in_our_own_words(self, file: Path, old: str, new: str, mistake: str) -> None:
        """Each kind of mistake has one sentence, and is one mistake."""
        assert mistakes_of(file, GOOD.replace(old, new)) == [mistake]

    def test_trace_after_the_end(self, file: Path) -> None:
        """A trace that is longer than its phase is a mistake of the phase."""
        found = mistakes_of(file, GOOD.replace("{burst: {size: 1}}", "{trace: {times: [301]}}"))
        assert found == ["6: load[0]: a time of the trace is after the end of the phase"]

    def test_line_of_a_long_value(self, file: Path) -> None:
        """A mistake in a mapping over several lines is on the line of its own key."""
        text = GOOD.replace(
            "arrivals: {burst: {size: 1}}", "arrivals:\n      burst:\n        every: 1\n        size: 0"
        )
        assert mistakes_of(file, text) == ["11: load[0].arrivals.burst.size: must be at least 1"]

    def test_unknown_key_that_is_there_already(self, file: Path) -> None:
        """A key is never proposed that the mapping has."""
        (found,) = mistakes_of(file, GOOD + "names: x\n")
        assert found.startswith("12: names: unknown key; known here: name, title")

    def test_link_of_a_provider_in_wrong_case(self, file: Path) -> None:
        """The nearest link is one that the scenario has."""
        fault = 'faults: [{at: 1, for: 1, link: "daemon-provider:glm", toxic: down}]\n'
        (found, *_) = mistakes_of(file, GOOD + fault)
        assert found.endswith('(did you mean "daemon-provider:GLM"?)')

    def test_fault_that_no_expectation_can_mean(self, file: Path) -> None:
        """`during` names a fault, by its own name or by the one made from what it is."""
        text = GOOD.replace("expect:", "expect:\n  - {metric: calls, min: 1, during: ct}")
        text += (
            "faults:\n  - {name: cut, at: 1, for: 1, link: client-daemon, toxic: down}\n  - {at: 2, signal: SIGTERM}\n"
        )
        assert mistakes_of(file, text) == [
            '11: expect[0].during: no such fault; there is cut, sigterm (did you mean "cut"?)'
        ]

    def test_provider_that_is_not_there(self, file: Path) -> None:
        """A fault of a provider that the scenario lacks is one mistake, at its place."""
        text = GOOD + "faults: [{at: 1, provider: {name: GML, mode: hang}, for: 1}]\n"
        assert mistakes_of(file, text) == [
            '12: faults[0].provider.name: no such provider; there is GLM (did you mean "GLM"?)'
        ]

    def test_fault_of_no_provider(self, file: Path) -> None:
        """A signal needs no provider, and is no mistake."""
        (fault,) = loaded(file, GOOD + "faults: [{at: 1, signal: SIGTERM, for: 1}]\n").faults
        assert fault.signal == "SIGTERM"


def test_a_scenario_made_by_hand_can_be_written(file: Path) -> None:
    """A scenario that never was a file is written as one."""
    made: dict[str, Any] = {
        "name": "made",
        "title": "yes: no",
        "providers": {"GLM": {"latency": {"constant": {"value": 1e-7}}}},
        "load": [{"phase": "p", "duration": 1e5, "arrivals": {"burst": {"size": 1}}, "sequence": ["chat"]}],
        "expect": [{"invariants": "all"}],
    }
    scenario = Scenario.model_validate(made)
    assert loaded(file, to_yaml(scenario)) == scenario
