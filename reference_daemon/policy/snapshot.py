"""The policy's figures at one moment, for health and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

from reference_daemon.policy.admission import Pools
from reference_daemon.policy.duplicates import KeyTable
from reference_daemon.policy.events import SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is in use, and of how much.

    Attributes:
        total: Calls in flight in the daemon.
        total_cap: Its cap.
        tools: Tool → (in flight, cap), of tools that have a cap.
        providers: Provider → (in flight, cap).
        sessions: Session → calls in flight, of sessions that have any.
        live_keys: Keys held by calls.
        results: Results kept for replays.
        result_bytes: Their size.
        tombstones: Keys known to have been executed, without a result.
        appointments: Refused callers that were told when to come back and are still expected.
        draining: Whether the daemon is about to end.
    """

    total: int
    total_cap: int
    tools: Mapping[str, tuple[int, int]]
    providers: Mapping[str, tuple[int, int]]
    sessions: Mapping[SessionId, int]
    live_keys: int
    results: int
    result_bytes: int
    tombstones: int
    appointments: int
    draining: bool


def take_snapshot(pools: Pools, keys: KeyTable, *, appointments: int, draining: bool) -> Snapshot:
    """Read the figures off the policy's tables."""
    live_keys, results, result_bytes, tombstones = keys.counts()
    return Snapshot(
        total=pools.total.in_use,
        total_cap=pools.total.cap,
        tools={tool: (pool.in_use, pool.cap) for tool, pool in pools.tools.items()},
        providers={name: (pool.in_use, pool.cap) for name, pool in pools.providers.items()},
        sessions=pools.sessions_in_use(),
        live_keys=live_keys,
        results=results,
        result_bytes=result_bytes,
        tombstones=tombstones,
        appointments=appointments,
        draining=draining,
    )
