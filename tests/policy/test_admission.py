"""Caps: slots are taken all or not at all, and given back once."""

import pytest

from reference_daemon.policy.admission import Pool, Pools
from reference_daemon.policy.config import Caps
from reference_daemon.policy.events import SessionId

S, T = SessionId("s"), SessionId("t")


@pytest.fixture
def pools() -> Pools:
    """Four slots in all, three per session, two for analyze, one for GLM."""
    return Pools(Caps(total=4, session=3, tools={"analyze": 2}, providers={"GLM": 1}))


def scopes(found: list[Pool]) -> list[str]:
    """Return the names of pools."""
    return [pool.scope for pool in found]


class TestNeeded:
    def test_a_full_pool_is_named_in_this_order(self, pools: Pools) -> None:
        """Session, tool, provider, daemon."""
        assert scopes(pools.needed(S, "analyze", "GLM")) == ["session", "tool:analyze", "provider:GLM", "global"]

    def test_what_has_no_cap_has_no_pool(self, pools: Pools) -> None:
        """Tools and providers without a cap are bounded by the session's and the daemon's alone."""
        assert scopes(pools.needed(S, "version", None)) == ["session", "global"]
        assert scopes(pools.needed(S, "version", "KIMI")) == ["session", "global"]

    def test_asking_takes_nothing(self, pools: Pools) -> None:
        """A session's pool exists only while it holds a slot."""
        pools.needed(S, "analyze", "GLM")
        assert pools.sessions_in_use() == {}


class TestTake:
    @pytest.mark.parametrize(("held", "lacking"), [(1, []), (2, ["tool:analyze"])])
    def test_the_cap_is_the_last_that_gets_in(self, pools: Pools, held: int, lacking: list[str]) -> None:
        """With cap - 1 slots held the next is taken, with cap it is not."""
        for _ in range(held):
            assert pools.take(pools.needed(S, "analyze", None)) == []
        assert scopes(pools.take(pools.needed(T, "analyze", None))) == lacking
        assert pools.tools["analyze"].in_use == 2

    def test_all_or_nothing(self, pools: Pools) -> None:
        """One full pool, and no slot of any is taken."""
        pools.take(pools.needed(S, "chat", "GLM"))
        assert scopes(pools.take(pools.needed(T, "analyze", "GLM"))) == ["provider:GLM"]
        assert pools.tools["analyze"].in_use == 0
        assert pools.total.in_use == 1
        assert pools.sessions_in_use() == {S: 1}

    def test_every_full_pool_is_named(self, pools: Pools) -> None:
        """So that advice can wait for the last of them."""
        for _ in range(2):
            pools.take(pools.needed(S, "analyze", None))
        pools.take(pools.needed(S, "chat", "GLM"))
        assert scopes(pools.take(pools.needed(S, "analyze", "GLM"))) == ["session", "tool:analyze", "provider:GLM"]


class TestGiveBack:
    def test_every_pool_is_zero_at_the_end(self, pools: Pools) -> None:
        """And the session's pool is forgotten."""
        held = [pools.needed(session, "analyze", None) for session in (S, T)]
        for slots in held:
            pools.take(slots)
        for slots in held:
            pools.give_back(slots)
        assert (pools.total.in_use, pools.tools["analyze"].in_use, pools.sessions_in_use()) == (0, 0, {})

    def test_a_sessions_pool_stays_while_it_holds_a_slot(self, pools: Pools) -> None:
        """The next call of the session finds the same pool."""
        first, second = pools.needed(S, "a", None), pools.needed(S, "b", None)
        pools.take(first)
        assert pools.needed(S, "b", None)[0] is first[0]
        pools.take(second)


class TestPassOn:
    def test_an_heir_gets_what_it_needs(self, pools: Pools) -> None:
        """Slots that it needs move, the others are given back, and none is counted twice."""
        held = pools.needed(S, "analyze", None)
        pools.take(held)
        needs = pools.needed(T, "analyze", None)
        heir = needs[:1]
        pools.take(heir)
        pools.pass_on(held, heir, needs)
        assert sorted(scopes(heir)) == ["global", "session", "tool:analyze"]
        assert (held, pools.total.in_use, pools.tools["analyze"].in_use) == ([], 1, 1)
        assert pools.sessions_in_use() == {T: 1}

    def test_what_the_heir_has_it_does_not_get_again(self, pools: Pools) -> None:
        """Its second slot of a pool is given back."""
        held, heir = pools.needed(S, "analyze", None), pools.needed(T, "analyze", None)
        pools.take(held)
        pools.take(heir)
        pools.pass_on(held, heir, heir)
        assert pools.total.in_use == 1


def test_a_pool_shows_how_full_it_is() -> None:
    """For messages of failed assertions."""
    assert repr(Pool("tool:analyze", 3)) == "<Pool tool:analyze 0/3>"
