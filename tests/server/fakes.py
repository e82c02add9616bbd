"""Stand-ins for clock, provider and web, which a test moves by hand."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from reference_daemon.clock import Clock
from reference_daemon.providers.completion import Completion, CompletionRequest
from reference_daemon.providers.routing import Router
from reference_daemon.server.assistant import Assistant
from reference_daemon.server.context import CallContext
from reference_daemon.server.web import Fetched

ID = "0" * 31 + "1"  # the first id that `Hands.token_hex` makes
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def a_completion(**changes: Any) -> Completion:
    """Return an answer of GLM."""
    facts = {"text": "All is well.", "model": "glm-4.6", "provider": "GLM", "tokens_in": 7, "tokens_out": 3}
    return Completion(**{"stub": False, **facts, **changes})


def a_page(url: str, text: str) -> Fetched:
    """Return a page that was fetched."""
    return Fetched(url, 200, 0.0, text, from_cache=False, problem=None)


@dataclass
class Hands:
    """All that a test moves by hand: time, the provider's answer, the web's pages.

    Attributes:
        now: What the clock reads, in seconds.
        answer: What the provider returns or raises.
        holds: Whether provider and web wait for `release`.
        release: Set it to let them go on.
        asked: Set once a request waits.
        requests: What the provider was sent.
        cancelled: Requests that were cancelled while they waited.
        pages: What the web returns.
        fetches: What was fetched: addresses and budget in seconds.
        fetch_takes_s: How far the clock moves while pages are fetched.
    """

    now: float = 1_000.0
    answer: Completion | Exception = field(default_factory=a_completion)
    holds: bool = False
    release: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[CompletionRequest] = field(default_factory=list)
    cancelled: int = 0
    pages: list[Fetched] = field(default_factory=list)
    fetches: list[tuple[tuple[str, ...], float]] = field(default_factory=list)
    fetch_takes_s: float = 0.0
    ids: int = 0

    def __post_init__(self) -> None:
        """Make the clock and the assistant that the hands move."""
        self.clock = Clock(monotonic=lambda: self.now)
        self.assistant = Assistant(Router(), self, self)

    def token_hex(self, nbytes: int) -> str:
        """Return ids in order."""
        self.ids += 1
        return f"{self.ids:0{2 * nbytes}x}"

    async def complete(self, request: CompletionRequest) -> Completion:
        """Answer as the test wants."""
        self.requests.append(request)
        await self._hold()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def fetch_all(self, urls: Sequence[str], budget_s: float) -> list[Fetched]:
        """Return the test's pages."""
        self.fetches.append((tuple(urls), budget_s))
        self.now += self.fetch_takes_s
        return self.pages

    async def _hold(self) -> None:
        self.asked.set()
        try:
            if self.holds:
                await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def context(self, **changes: Any) -> CallContext:
        """Return the context of a call that is admitted now and has 150 s."""
        facts = {
            "clock": self.clock,
            "request_id": "r-1",
            "trace_id": TRACE_ID,
            "call_key_hash": "0123456789ab",
            "started_at": self.now,
            "deadline_at": self.now + 150.0,
            "expert_budget_s": 90.0,
            "web_budget_s": 25.0,
        }
        return CallContext(**{**facts, **changes})


def a_step(**changes: Any) -> dict[str, Any]:
    """Return the arguments of a workflow's last step of two, in which an expert is wanted."""
    step = {"step": "Read the parser", "step_number": 2, "total_steps": 2, "next_step_required": False}
    return {**step, "findings": "It recurses without a limit.", "assistant": True, **changes}


def a_first_step(**changes: Any) -> dict[str, Any]:
    """Return the arguments of the first step of two."""
    first = {"step": "Survey", "step_number": 1, "next_step_required": True, "findings": "Three modules."}
    return a_step(**{**first, **changes})
