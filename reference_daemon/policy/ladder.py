"""The timeout ladder, and what else a profile must keep: the rules that `exai checklist` and the daemon's start show.

    MCP client      EXAI_CLIENT_TIMEOUT             all attempts together            150 to 180 s, 240 s for long runs
    └ daemon        EXAI_WS_CALL_TIMEOUT            the ceiling of any call          180 s
      ├ shim        EXAI_SHIM_RPC_TIMEOUT           one attempt                      150 s
      ├ step        WORKFLOW_STEP_TIMEOUT_SECS      an intermediate workflow step    120 s
      └ expert      EXPERT_ANALYSIS_TIMEOUT_SECS    its provider request, + 30 s      90 s
        └ beat      two intervals                   silence that a client bears        5 s

A rung that outlasts the one above it is work that nobody waits for. A rule that is broken stops no daemon by itself:
drills break rules on purpose. It is said at the daemon's start, and fails the checklist.

Source: the strategy, docs/architecture/ws_daemon/strategy.md.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from reference_daemon.policy.config import Caps, Timeouts

SILENCE_BORNE_S: Final = 10.0
"""Some clients give up after 8 to 10 s without a sign of life; heartbeats must come more often."""

LEAST_ATTEMPT_S: Final = 150.0
"""Expert calls take 35 to 60 s, and up to their budget when a provider is slow: less would cut working calls off."""

CLIENT_S: Final = (150.0, 180.0)
"""What the MCP client may be set to: shorter cuts calls off, longer hides those that hang."""

LONG_RUN_S: Final = 240.0
"""What it may also be set to when long runs were asked for."""

ANALYSIS_TOOLS: Final = ("kimi_chat_with_tools", "analyze", "codereview", "testgen")
"""Tools that several people, or several agents of one person, call with the same arguments at once, and mean it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The numbers that the rules are about. Defaults are the strategy's.

    Attributes:
        caps: How many calls may be in flight.
        timeouts: The daemon's budgets.
        progress_interval_s: Heartbeats of calls (EXAI_WS_PROGRESS_INTERVAL_SECS).
        expert_heartbeat_s: Heartbeats while an expert works (EXPERT_HEARTBEAT_INTERVAL_SECS).
        shim_rpc_s: How long one attempt of the shim waits (EXAI_SHIM_RPC_TIMEOUT).
        client_s: What the MCP client is set to (EXAI_CLIENT_TIMEOUT).
        long_run: Whether long runs were asked for (EXAI_LONG_RUN).
        uncoalesced: Tools whose identical calls are never taken for one another (EXAI_WS_DISABLE_COALESCE_FOR_TOOLS).
        host: Address that the daemon is bound to (EXAI_WS_HOST).
        loopback: Whether that address leads to this machine alone.
        token_set: Whether clients need a token (EXAI_WS_TOKEN).
    """

    caps: Caps = field(default_factory=Caps)
    timeouts: Timeouts = field(default_factory=Timeouts)
    progress_interval_s: float = 5.0
    expert_heartbeat_s: float = 5.0
    shim_rpc_s: float = 150.0
    client_s: float = 180.0
    long_run: bool = False
    uncoalesced: frozenset[str] = frozenset(ANALYSIS_TOOLS)
    host: str = "127.0.0.1"
    loopback: bool = True
    token_set: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, as data.

    Attributes:
        name: A short name, for programs.
        settings: The settings that it reads; the first is the one it is about.
        says: What must hold, in words.
        shows: Returns the value that it is about, as people write it.
        holds: Returns whether a profile keeps it.
        write: Returns the lines for .env with which it is kept, once its neighbours are kept, too.
        usual: Returns the value of the strategy, as `shows` would; None where the strategy leaves it open.
    """

    name: str
    settings: tuple[str, ...]
    says: str
    shows: Callable[[Profile], str]
    holds: Callable[[Profile], bool]
    write: Callable[[Profile], tuple[str, ...]]
    usual: Callable[[Profile], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of one rule.

    Attributes:
        rule: The rule.
        value: The value that it is about, as people write it.
        passed: Whether the rule is kept.
        write: Lines for .env; empty if it is kept.
        note: That a value which keeps the rule is not the strategy's; empty if it is, or if the rule is broken.
    """

    rule: Rule
    value: str
    passed: bool
    write: tuple[str, ...] = ()
    note: str = ""


def judge(profile: Profile, rules: Iterable[Rule] | None = None) -> list[Finding]:
    """Judge a profile by `rules`, all of them if None, in their order."""
    return [_finding(rule, profile) for rule in (RULES if rules is None else rules)]


def _finding(rule: Rule, profile: Profile) -> Finding:
    value = rule.shows(profile)
    if not rule.holds(profile):
        return Finding(rule=rule, value=value, passed=False, write=rule.write(profile))
    usual = value if rule.usual is None else rule.usual(profile)
    note = "" if usual == value else f"the strategy has {usual}"
    return Finding(rule=rule, value=value, passed=True, note=note)


# --- the rules -------------------------------------------------------------------------------------------------------


def _beats(name: str, setting: str, seconds: Callable[[Profile], float], whose: str) -> Rule:
    """Return the rule for one of the two heartbeat intervals."""
    return Rule(
        name=name,
        settings=(setting, "EXAI_WS_CALL_TIMEOUT"),
        says=f"below {SILENCE_BORNE_S:g} s and the call timeout: {whose}",
        shows=lambda profile: f"{seconds(profile):g} s",
        holds=lambda profile: seconds(profile) < min(SILENCE_BORNE_S, profile.timeouts.call_s),
        write=lambda _: (f"{setting}=5",),
        usual=lambda _: "5 s",
    )


def _expert_whole_s(profile: Profile) -> float:
    """Return what an expert step takes at most, in seconds, if nothing cuts it."""
    return profile.timeouts.expert_s + profile.timeouts.expert_buffer_s


def _client_holds(profile: Profile) -> bool:
    """Return whether the MCP client waits long enough, and not too long."""
    shortest_s, longest_s = CLIENT_S
    return shortest_s <= profile.client_s <= longest_s or (profile.long_run and profile.client_s == LONG_RUN_S)


def _client_writes(profile: Profile) -> tuple[str, ...]:
    if profile.client_s == LONG_RUN_S:
        return ("EXAI_LONG_RUN=true",)
    return (f"EXAI_CLIENT_TIMEOUT={LONG_RUN_S if profile.long_run else CLIENT_S[1]:g}",)


def _provider_caps_write(profile: Profile) -> tuple[str, ...]:
    """Lower each cap that is too high to the strategy's, or to the global cap where that is lower or none is known."""
    total, usual = profile.caps.total, Caps().providers
    return tuple(
        f"EXAI_WS_{name}_MAX_INFLIGHT={min(usual.get(name, total), total)}"
        for name, cap in profile.caps.providers.items()
        if cap > total
    )


def _tools_in_order(profile: Profile) -> list[str]:
    """Return the tools that are not coalesced: the strategy's first, in its order, so that lists can be compared."""
    known = [tool for tool in ANALYSIS_TOOLS if tool in profile.uncoalesced]
    return [*known, *sorted(profile.uncoalesced.difference(ANALYSIS_TOOLS))]


def _coalescing_writes(profile: Profile) -> tuple[str, ...]:
    more = sorted(profile.uncoalesced.difference(ANALYSIS_TOOLS))
    return (f"EXAI_WS_DISABLE_COALESCE_FOR_TOOLS={','.join([*ANALYSIS_TOOLS, *more])}",)


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        name="call-timeout",
        settings=("EXAI_WS_CALL_TIMEOUT",),
        says=f"at least {LEAST_ATTEMPT_S:g} s: room for an attempt of the shim",
        shows=lambda profile: f"{profile.timeouts.call_s:g} s",
        holds=lambda profile: profile.timeouts.call_s >= LEAST_ATTEMPT_S,
        write=lambda _: ("EXAI_WS_CALL_TIMEOUT=180",),
        usual=lambda _: "180 s",
    ),
    Rule(
        name="client-timeout",
        settings=("EXAI_CLIENT_TIMEOUT", "EXAI_LONG_RUN"),
        says=f"{CLIENT_S[0]:g} to {CLIENT_S[1]:g} s, or {LONG_RUN_S:g} s with EXAI_LONG_RUN; "
        "the MCP client itself must be set to it",
        shows=lambda profile: f"{profile.client_s:g} s",
        holds=_client_holds,
        write=_client_writes,
        usual=lambda profile: f"{LONG_RUN_S if profile.long_run else CLIENT_S[1]:g} s",
    ),
    Rule(
        name="shim-timeout",
        settings=("EXAI_SHIM_RPC_TIMEOUT", "EXAI_WS_CALL_TIMEOUT"),
        says=f"at least {LEAST_ATTEMPT_S:g} s, at most the call timeout",
        shows=lambda profile: f"{profile.shim_rpc_s:g} s",
        holds=lambda profile: LEAST_ATTEMPT_S <= profile.shim_rpc_s <= profile.timeouts.call_s,
        write=lambda _: ("EXAI_SHIM_RPC_TIMEOUT=150",),
        usual=lambda _: "150 s",
    ),
    Rule(
        name="step-timeout",
        settings=("WORKFLOW_STEP_TIMEOUT_SECS", "EXAI_WS_CALL_TIMEOUT"),
        says="at most the call timeout",
        shows=lambda profile: f"{profile.timeouts.step_s:g} s",
        holds=lambda profile: profile.timeouts.step_s <= profile.timeouts.call_s,
        write=lambda _: ("WORKFLOW_STEP_TIMEOUT_SECS=120",),
        usual=lambda _: "120 s",
    ),
    Rule(
        name="expert-timeout",
        settings=("EXPERT_ANALYSIS_TIMEOUT_SECS", "EXAI_WS_CALL_TIMEOUT"),
        says="plus 30 s at most the call timeout less 5 s",
        shows=lambda profile: f"{profile.timeouts.expert_s:g} s",
        holds=lambda profile: _expert_whole_s(profile) <= profile.timeouts.call_s - profile.timeouts.expert_reserve_s,
        write=lambda _: ("EXPERT_ANALYSIS_TIMEOUT_SECS=90",),
        usual=lambda _: "90 s",
    ),
    _beats(
        "expert-heartbeat",
        "EXPERT_HEARTBEAT_INTERVAL_SECS",
        lambda profile: profile.expert_heartbeat_s,
        "clients give up on 8 to 10 s of silence",
    ),
    _beats(
        "progress-interval",
        "EXAI_WS_PROGRESS_INTERVAL_SECS",
        lambda profile: profile.progress_interval_s,
        "as above, without an expert",
    ),
    Rule(
        name="coalescing",
        settings=("EXAI_WS_DISABLE_COALESCE_FOR_TOOLS",),
        says=f"names the analysis tools: {', '.join(ANALYSIS_TOOLS)}",
        shows=lambda profile: ", ".join(_tools_in_order(profile)) or "none",
        holds=lambda profile: profile.uncoalesced.issuperset(ANALYSIS_TOOLS),
        write=_coalescing_writes,
        usual=lambda _: ", ".join(ANALYSIS_TOOLS),
    ),
    Rule(
        name="provider-caps",
        settings=("EXAI_WS_<PROVIDER>_MAX_INFLIGHT", "EXAI_WS_GLOBAL_MAX_INFLIGHT"),
        says="each at most the global cap",
        shows=lambda profile: ", ".join(
            [*(f"{name}={cap}" for name, cap in profile.caps.providers.items()), f"global {profile.caps.total}"]
        ),
        holds=lambda profile: all(cap <= profile.caps.total for cap in profile.caps.providers.values()),
        write=_provider_caps_write,
    ),
    Rule(
        name="token",
        settings=("EXAI_WS_TOKEN", "EXAI_WS_HOST"),
        says="set, unless only this machine can connect",
        shows=lambda profile: f"{'set' if profile.token_set else 'not set'}, on {profile.host}",
        holds=lambda profile: profile.loopback or profile.token_set,
        write=lambda _: ("EXAI_WS_TOKEN=<a secret of 16 characters or more>",),
    ),
)
"""The rules, outermost timeout first."""
