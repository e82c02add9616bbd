"""The reference client: call_key and trace_id, retries, reconnect, attach.

A logical call is one `call_key`, over all its attempts and connections. What became of it is told by a `CallResult`,
never by an exception: being refused, late or lost are expected answers. Where nobody can know whether the call ran,
the outcome is "unknown".
"""

import random
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from reference_daemon import wire
from reference_daemon.channel import Tap
from reference_daemon.clock import Clock
from reference_daemon.connector import Connector
from reference_daemon.logical_call import LogicalCall, OnProgress, OnStart, OnWait, Request, work_key
from reference_daemon.outcomes import CallOutcome, CallResult, TimeoutLayer
from reference_daemon.policy.retry import RetryPolicy
from reference_daemon.trace_id import trace_id_of

__all__ = ["CallOutcome", "CallResult", "DaemonClient", "OnProgress", "OnStart", "OnWait", "Tap", "TimeoutLayer"]


class DaemonClient:
    """A client with one connection, over which any number of calls run at once."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        token: str | None = None,
        label: str = "",
        retry: RetryPolicy | None = None,
        rng: random.Random | None = None,
        tap: Tap | None = None,
    ) -> None:
        """Build a client; nothing is connected yet.

        Args:
            url: The daemon's, ws://host:port.
            clock: Source of time.
            token: The daemon's token, if it has one.
            label: What the client calls itself, for the daemon's logs.
            retry: When to try again; the shipped rules if None.
            rng: Source of jitter; one seeded by the system if None.
            tap: Is told of every frame and of every connection's begin and end; None: nobody is.

        Raises:
            ConfigError: `url` is none.
        """
        self.clock = clock
        self._connector = Connector(
            url,
            clock,
            token=token,
            label=label,
            retry=retry if retry is not None else RetryPolicy(),
            rng=rng if rng is not None else random.Random(),
            tap=tap,
        )

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            DaemonUnreachableError: Nobody answers there.
            HelloRefusedError: The daemon does not let this client in.
        """
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection. Calls that still wait end as they do when it is lost and there is no other."""
        await self.close()

    async def connect(self) -> None:
        """Connect, if there is no connection: one try.

        Raises:
            DaemonUnreachableError: Nobody answers there.
            HelloRefusedError: The daemon does not let this client in.
        """
        await self._connector.open()

    async def close(self) -> None:
        """Close the connection, and make no other."""
        await self._connector.close()

    def drop(self) -> None:
        """End the connection as a client that crashes, without a word to the daemon, and make no other.

        Calls that still wait end as they do when it is lost and there is no other. `close` is still to be called.
        """
        self._connector.drop()

    def pause_reading(self) -> None:
        """Read nothing from the connection that is open now, as a client that is stuck, until `resume_reading`."""
        channel = self._connector.usable()
        if channel is not None:
            channel.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        channel = self._connector.usable()
        if channel is not None:
            channel.resume_reading()

    async def list_tools(self) -> list[wire.ToolInfo]:
        """Return the daemon's tools.

        Raises:
            HarnessError: There is no answer, or no connection to be had.
        """
        answer: wire.ListToolsResult = await self._ask(wire.ListTools(), wire.ListToolsResult)
        return list(answer.tools)

    async def health(self) -> dict[str, Any]:
        """Return the daemon's figures.

        Raises:
            HarnessError: There is no answer, or no connection to be had.
        """
        answer: wire.HealthResult = await self._ask(wire.Health(), wire.HealthResult)
        return answer.health

    async def rotate_token(self, old: str, new: str) -> str | None:
        """Replace the daemon's token; return None if it was, else the code of the reason.

        Raises:
            HarnessError: There is no answer, or no connection to be had.
        """
        answer: wire.RotateTokenResult = await self._ask(wire.RotateToken(old, new), wire.RotateTokenResult)
        if answer.ok:
            self._connector.token = new
        return None if answer.ok else answer.error or "refused"

    async def _ask(self, frame: wire.ListTools | wire.Health | wire.RotateToken, answer: type[Any]) -> Any:
        return await (await self._connector.open()).ask(frame, answer)

    async def call(  # noqa: PLR0913 - options of a call, each by its name
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        timeout_s: float,
        call_key: str | None = None,
        derive_key: bool = False,
        trace_id: str | None = None,
        attempt_timeout_s: float | None = None,
        on_start: OnStart | None = None,
        on_progress: OnProgress | None = None,
        on_wait: OnWait | None = None,
    ) -> CallResult:
        """Run a tool and return what became of the call. Cancelling this cancels the call in the daemon, too.

        Args:
            tool: Name of the tool.
            arguments: Its arguments.
            timeout_s: Seconds until the client gives up, all attempts together.
            call_key: A fresh UUIDv4 if None.
            derive_key: Send no key, so that the daemon derives it from the work; `call_key` is ignored then. For some
                tools it derives none: a call of theirs whose connection is lost has an unknown outcome.
            trace_id: 32 hex digits; fresh if None, or malformed.
            attempt_timeout_s: Seconds that one attempt waits for its answer at most; None: as long as the call.
            on_start: Called with the result before anything is sent; it is filled in while the call runs.
            on_progress: Called with each heartbeat. What it raises cancels the call, and is raised from here.
            on_wait: Called with the refusal, the wait in seconds and the attempts made, before each other attempt.
        """
        now = self.clock.now()
        if derive_key:
            call_key = work_key(tool, arguments)
        result = CallResult(
            tool=tool,
            call_key=call_key if call_key is not None else str(uuid.uuid4()),
            trace_id=trace_id_of(trace_id),
            intended_at=now,
        )
        deadline_at = now + timeout_s
        request = Request(
            arguments=arguments,
            deadline_at=deadline_at,
            attempt_timeout_s=attempt_timeout_s,
            derive_key=derive_key,
            on_progress=on_progress,
            on_wait=on_wait,
        )
        if on_start is not None:
            on_start(result)
        run = LogicalCall(self._connector, request, result)
        try:
            await run.run()
        except TimeoutError:
            if run.in_doubt:
                result.outcome = CallOutcome.UNKNOWN
            else:
                result.outcome, result.timeout_layer = CallOutcome.TIMEOUT, TimeoutLayer.CLIENT
        result.finished_at = self.clock.now()
        return result
