"""Calls and policies with sensible defaults: a test names only what its rule is about."""

from reference_daemon.policy.config import Advice, AdviceMode, Caps, PolicyConfig, Timeouts, Ttls
from reference_daemon.policy.core import Policy
from reference_daemon.policy.events import (
    Admit,
    Arrival,
    CallArrived,
    CallEnded,
    CallId,
    CallKey,
    CallKind,
    Ended,
    Outcome,
    Refuse,
    RequestId,
    SessionId,
)
from reference_daemon.policy.keys import derived_key, fingerprint

A, B, C, D, E = (CallId(number) for number in range(1, 6))


def a_call(
    call_id: int = A,
    *,
    session: str = "s",
    request: str | None = None,
    key: str | None = "",
    work: str = "w",
    tool: str = "analyze",
    provider: str | None = None,
    kind: CallKind = CallKind.STEP,
    timeout_s: float | None = None,
) -> CallArrived:
    """Return the arrival of a call.

    Args:
        call_id: Its number.
        session: Its session.
        request: Its request_id; by default made of the number.
        key: Its explicit key, "" for a fresh one, "derived" for the one that follows from the work, None for none.
        work: What it is about; with the tool it makes the fingerprint.
        tool: Name of the tool.
        provider: The provider whose slot it needs.
        kind: Its kind.
        timeout_s: What the client will still wait.
    """
    work_fingerprint = fingerprint(f"{tool} {work}".encode())
    own_key = None if key is None else CallKey(key or f"key-{call_id}")
    return CallArrived(
        call_id=CallId(call_id),
        session_id=SessionId(session),
        request_id=RequestId(request if request is not None else f"r{call_id}"),
        key=derived_key(work_fingerprint) if key == "derived" else own_key,
        explicit=key is not None and key != "derived",
        fingerprint=work_fingerprint,
        tool=tool,
        provider=provider,
        kind=kind,
        client_timeout_s=timeout_s,
    )


def a_policy(
    *,
    caps: Caps | None = None,
    timeouts: Timeouts | None = None,
    ttls: Ttls | None = None,
    advice: Advice | None = None,
    drain_grace_s: float = 60.0,
) -> Policy:
    """Return a policy with nothing in flight; by default a key is fresh for 10 s and a 429 says "in 1 s"."""
    return Policy(
        PolicyConfig(
            caps=caps or Caps(),
            timeouts=timeouts or Timeouts(),
            ttls=ttls or Ttls(inflight_s=10.0),
            advice=advice or Advice(mode=AdviceMode.FIXED, fixed_s=1.0),
            drain_grace_s=drain_grace_s,
        )
    )


def admitted(arrival: Arrival) -> Admit:
    """Return what must be an admission."""
    assert isinstance(arrival, Admit), arrival
    return arrival


def refused(arrival: object) -> Refuse:
    """Return what must be a refusal."""
    assert isinstance(arrival, Refuse), arrival
    return arrival


def end(policy: Policy, call_id: int, *, now: float, outcome: Outcome = Outcome.OK, result_bytes: int = 10) -> Ended:
    """Let the work of a call stop."""
    return policy.ended(CallEnded(CallId(call_id), outcome, result_bytes), now=now)


def warm(
    policy: Policy,
    durations_s: list[float],
    *,
    now: float = 0.0,
    tool: str = "analyze",
    kind: CallKind = CallKind.STEP,
) -> float:
    """Let calls of these durations run one after another; return the time after the last.

    Their keys are none, so that nothing of them is kept.
    """
    for number, duration_s in enumerate(durations_s, start=1_000):
        admitted(policy.arrive(a_call(number, key=None, tool=tool, kind=kind, session="warm"), now=now))
        now += duration_s
        end(policy, number, now=now)
    return now
