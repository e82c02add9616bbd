"""The daemon of the workbench: the real one, with one more tool, which does what no real tool should.

    python -m chaos.probes.workbench_daemon [--defect NAME] -- daemon --port 0

A daemon must stand a tool that raises, that ignores its cancellation and its deadline, or that answers at length.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

import exai
from chaos.defects import find
from chaos.defects.defect import Change, original_of
from reference_daemon import assembly
from reference_daemon.policy.events import CallKind
from reference_daemon.server.context import ArgumentError, CallContext, CallPlan, Tool
from reference_daemon.server.registry import build_tools

NAME: Final = "misbehave"
_DEFECT: Final = "--defect"


class Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the tool is to do.

    Attributes:
        seconds: Time that it takes, unscaled.
        stubborn: Whether it goes on when it is cancelled.
        raises: Text of the exception that it ends with; "": it ends with none.
        work: Name of the work: calls of the same name are counted together.
        size: Characters of its answer at least.
        provider: Provider whose slot it holds.
    """

    seconds: float = 0.0
    stubborn: bool = False
    raises: str = ""
    work: str = ""
    size: int = 0
    provider: str | None = None


class MisbehavedError(Exception):
    """What the tool raises; its text must reach nobody."""


class Misbehaving:
    """The tool."""

    name: Final = NAME
    description: Final = "Does what it is told to, however wrong; for probes."
    input_schema: Final[Mapping[str, Any]] = {"type": "object"}

    def __init__(self) -> None:
        """Have nothing running."""
        self._running: Counter[str] = Counter()
        self._most: Counter[str] = Counter()
        self._ran: Counter[str] = Counter()

    def parse(self, arguments: Mapping[str, Any]) -> Wish:
        """Return the wish."""
        try:
            return msgspec.convert(dict(arguments), Wish)
        except msgspec.ValidationError:
            raise ArgumentError("arguments", "are no wish") from None

    def plan(self, wish: Wish) -> CallPlan:
        """Say what it holds."""
        return CallPlan(CallKind.CHAT, wish.provider, None)

    async def run(self, wish: Wish, context: CallContext) -> Sequence[str]:
        """Take the time, and end as it was wished.

        Raises:
            MisbehavedError: That was wished.
        """
        self._ran[wish.work] += 1
        self._running[wish.work] += 1
        self._most[wish.work] = max(self._most[wish.work], self._running[wish.work])
        try:
            await _take(wish, context)
        finally:
            self._running[wish.work] -= 1
        if wish.raises:
            raise MisbehavedError(wish.raises)
        ran = {"work": wish.work, "ran": self._ran[wish.work], "most": self._most[wish.work]}
        return [json.dumps(ran).ljust(wish.size)]


async def _take(wish: Wish, context: CallContext) -> None:
    """Let the time pass, whatever others want if it is stubborn."""
    until = context.clock.now() + wish.seconds
    while (left_s := until - context.clock.now()) > 0:
        try:
            await context.clock.sleep(left_s)
        except asyncio.CancelledError:
            if not wish.stubborn:
                raise


def install() -> None:
    """Give every daemon of this process the tool."""

    def with_one_more(**parts: Any) -> Mapping[str, Tool]:
        return {**build_tools(**parts), NAME: Misbehaving()}

    change = Change(assembly, "build_tools", with_one_more)
    original_of(change)  # it must stand there
    setattr(*change)


def main(argv: Sequence[str]) -> int:
    """Run a command of `exai` with the tool, and with a seeded defect if one is named."""
    install()
    words = list(argv)
    if words[0] == _DEFECT:
        find(words[1]).apply()
        words = words[2:]
    return exai.main(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
