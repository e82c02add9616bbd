"""Caps: pools of slots, taken all or not at all, and given back exactly once.

A call needs a slot in up to four pools, looked at in this order: its session, its tool, its provider, the daemon.
Tools and providers without a cap have no pool.
"""

from collections.abc import Iterable, Sequence

from reference_daemon.policy.config import Caps
from reference_daemon.policy.events import SessionId
from reference_daemon.policy.schedule import Schedule


class Pool:
    """Slots of one scope.

    Attributes:
        scope: Name of the scope in errors: "session", "tool:analyze", "provider:GLM" or "global".
        session_id: The session whose pool it is, if it is one's.
        cap: Slots in all.
        in_use: Slots held.
        schedule: When its slots are expected to become free; kept by `advice`.
    """

    __slots__ = ("cap", "in_use", "schedule", "scope", "session_id")

    def __init__(self, scope: str, cap: int, session_id: SessionId | None = None) -> None:
        """Make a pool with all slots free."""
        self.scope, self.cap, self.session_id = scope, cap, session_id
        self.in_use = 0
        self.schedule = Schedule()

    def __repr__(self) -> str:
        """Show the scope and how full it is."""
        return f"<Pool {self.scope} {self.in_use}/{self.cap}>"


class Pools:
    """Every pool of the daemon. A session's pool exists while the session holds a slot."""

    def __init__(self, caps: Caps) -> None:
        """Make all pools but the sessions'."""
        self._session_cap = caps.session
        self._sessions: dict[SessionId, Pool] = {}
        self.total = Pool("global", caps.total)
        self.tools = {tool: Pool(f"tool:{tool}", cap) for tool, cap in caps.tools.items()}
        self.providers = {name: Pool(f"provider:{name}", cap) for name, cap in caps.providers.items()}

    def needed(self, session_id: SessionId, tool: str, provider: str | None) -> list[Pool]:
        """Return the pools that a call needs a slot of, in the order in which a full one is named."""
        session = self._sessions.get(session_id)
        if session is None:
            session = Pool("session", self._session_cap, session_id)
        needed = [session]
        if (pool := self.tools.get(tool)) is not None:
            needed.append(pool)
        if provider is not None and (pool := self.providers.get(provider)) is not None:
            needed.append(pool)
        needed.append(self.total)
        return needed

    def take(self, pools: Sequence[Pool]) -> list[Pool]:
        """Take a slot of each pool, or none at all.

        Returns:
            The full pools, in their order; empty if the slots were taken.
        """
        for pool in pools:
            if pool.in_use >= pool.cap:
                return [pool for pool in pools if pool.in_use >= pool.cap]
        for pool in pools:
            pool.in_use += 1
            if pool.session_id is not None:
                self._sessions[pool.session_id] = pool
        return []

    def give_back(self, pools: Iterable[Pool]) -> None:
        """Give one slot of each pool back, and forget a session's pool when it is empty."""
        for pool in pools:
            pool.in_use -= 1
            if not pool.in_use and pool.session_id is not None:
                del self._sessions[pool.session_id]

    def pass_on(self, held: list[Pool], heir: list[Pool], needs: Sequence[Pool]) -> None:
        """Move the slots in `held` to `heir`, as far as it needs and has none of them, and give the others back."""
        wanted = [pool for pool in held if pool in needs and pool not in heir]
        heir += wanted
        self.give_back([pool for pool in held if pool not in wanted])
        held.clear()

    def sessions_in_use(self) -> dict[SessionId, int]:
        """Return the slots held per session, of those that hold any."""
        return {session_id: pool.in_use for session_id, pool in self._sessions.items()}
