"""One logical call: its attempts, and the recoveries of lost connections, until it has an outcome.

What is tried again, and when, is decided by `policy.retry`; this module sends, waits and notes.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from reference_daemon import wire
from reference_daemon.channel import Channel, ConnectionLostError, Terminal
from reference_daemon.connector import Connector
from reference_daemon.outcomes import CallOutcome, CallResult, outcome_of
from reference_daemon.policy.keys import derived_key, fingerprint
from reference_daemon.policy.retry import Recovery, RetryAt

GRACE_S: Final = 1.0
"""Seconds that a client waits beyond what it tells the daemon, so that it is the daemon that answers a late call."""

LEAST_TIMEOUT_S: Final = 0.1
"""Seconds that the daemon is given at least, where the client's own deadline is nearer than its grace."""

LEAST_ATTACH_WAIT_S: Final = 1.0
"""Seconds between two tries to attach, where the daemon names less."""

OnProgress = Callable[[wire.Progress], None]

OnStart = Callable[[CallResult], None]

OnWait = Callable[[wire.Error | wire.ErrorFrame, float, int], None]
"""Called with a refusal, the seconds until the call is sent again, and the attempts made so far."""


class Request(NamedTuple):
    """What a logical call was asked to do.

    Attributes:
        arguments: The tool's arguments.
        deadline_at: Moment at which the client gives up.
        attempt_timeout_s: Seconds that one attempt waits for its answer at most; None: as long as the call.
        on_progress: Called with each heartbeat.
        on_wait: Called before each wait for another attempt.
        derive_key: Whether no key is sent, since the daemon shall derive it; the result holds the one it derives.
    """

    arguments: Mapping[str, Any]
    deadline_at: float
    attempt_timeout_s: float | None
    on_progress: OnProgress | None
    on_wait: OnWait | None = None
    derive_key: bool = False


_canonical = msgspec.json.Encoder(order="sorted").encode


def work_key(tool: str, arguments: Mapping[str, Any]) -> str:
    """Return the key that the daemon derives from a call that brings none, if it does so for the tool.

    By it, a client can attach to the call.
    """
    return derived_key(fingerprint(_canonical([tool, dict(arguments)])))


class _Step(enum.Enum):
    """What comes after an answer, or after the lack of one."""

    SEND = "send"
    STOP = "stop"


class LogicalCall:
    """One run of `DaemonClient.call`; it fills in a `CallResult`."""

    def __init__(self, connector: Connector, request: Request, result: CallResult) -> None:
        """Prepare the call; nothing is sent yet."""
        self._connector, self._clock, self._retry = connector, connector.clock, connector.retry
        self._request, self._result = request, result
        self._boot_id: str | None = None
        self.in_doubt = False
        """Whether it was sent, and the connection that would bring its answer is lost."""

    async def run(self) -> None:
        """Send the call, as often as the policy allows, until it has an outcome.

        Raises:
            TimeoutError: The client's deadline has passed, or that of an attempt.
        """
        step = _Step.SEND
        while step is _Step.SEND:
            channel = await self._find()
            if channel is None:
                if self._result.error is None:  # else the refusal that it was to be sent again after stays its end
                    self._no_daemon(CallOutcome.CONNECTION_LOST)
                return
            step = await self._after(channel, await self._attempt(channel))

    async def _after(self, channel: Channel, answer: Terminal | None) -> _Step:
        """Take an answer, or find out what became of the call if the connection was lost."""
        while True:
            if answer is None:
                found = await self._find()
                if found is None:
                    self._no_daemon(CallOutcome.UNKNOWN)
                    return _Step.STOP
                channel = found
                self._result.reconnects += 1
            elif not self._is_own_duplicate(answer):
                self._settle(answer)
                return await self._wait_to_retry()
            attached = await self._attach(channel)
            if isinstance(attached, _Step):
                return attached
            answer = attached

    async def _attempt(self, channel: Channel) -> Terminal | None:
        """Send the call once and return its answer; None if the connection was lost."""
        now = self._clock.now()
        if self._result.sent_at is None:
            self._result.sent_at = now
        self._result.attempts += 1
        self._result.error = None
        self._result.request_id = self._connector.new_request_id()
        self._boot_id = channel.boot_id
        budget_s = self._request.deadline_at - now
        if self._request.attempt_timeout_s is not None:
            budget_s = min(budget_s, self._request.attempt_timeout_s)
        frame = wire.CallTool(
            self._result.request_id,
            self._result.tool,
            dict(self._request.arguments),
            None if self._request.derive_key else self._result.call_key,
            self._result.trace_id,
            max(budget_s - GRACE_S, LEAST_TIMEOUT_S),
        )
        return await self._exchange(channel, frame.request_id, frame, give_up_at=now + budget_s)

    async def _find(self) -> Channel | None:
        """Return an open connection, at the latest at the call's deadline; None if none could be had."""
        channel = self._connector.usable()
        if channel is not None:
            return channel
        async with self._clock.timeout_at(self._request.deadline_at):
            return await self._connector.find()

    async def _attach(self, channel: Channel) -> Terminal | _Step | None:
        """Ask what became of the call; None if this connection was lost, too."""
        while True:
            frame = wire.Attach(self._connector.new_request_id(), self._result.call_key)
            answer = await self._exchange(channel, frame.request_id, frame, give_up_at=self._request.deadline_at)
            if not isinstance(answer, wire.ErrorFrame):
                return answer
            if answer.code != "OVER_CAPACITY":
                break
            # Too many requests of this session wait already: that says nothing about the call.
            async with self._clock.timeout_at(self._request.deadline_at):
                await self._clock.sleep(max(answer.retry_after or 0.0, LEAST_ATTACH_WAIT_S))
        same_boot = self._boot_id is not None and channel.boot_id == self._boot_id
        recovery = self._retry.recover(answer.status, same_boot=same_boot)
        if recovery is Recovery.SEND_AGAIN and self._request.derive_key:
            # The daemon may keep no key for such a call: that it knows none does not say that it never saw the call.
            recovery = Recovery.UNKNOWN
        if recovery is Recovery.SEND_AGAIN:
            if self._result.attempts < self._retry.config.max_attempts:
                return _Step.SEND
            self._result.outcome = CallOutcome.CONNECTION_LOST
        else:
            self._result.outcome = CallOutcome.UNKNOWN
        return _Step.STOP

    async def _exchange(
        self, channel: Channel, request_id: str, frame: msgspec.Struct, *, give_up_at: float
    ) -> Terminal | None:
        """Send a frame and wait for the answer to its request; None if the connection was lost."""
        try:
            exchange = channel.expect(request_id, self._note)
            timer = self._clock.call_at(give_up_at, exchange.fail, TimeoutError())
            try:
                channel.send(frame)
                self.in_doubt = False
                return await exchange.done
            finally:
                timer.cancel()
        except ConnectionLostError:
            self.in_doubt = True
            return None
        except BaseException:  # nobody waits for the call any more: it need not go on
            channel.send(wire.Cancel(request_id))
            raise
        finally:
            channel.forget(request_id)

    def _note(self, frame: wire.CallToolAck | wire.Progress) -> None:
        """Take an ack or a heartbeat."""
        now = self._clock.now()
        if isinstance(frame, wire.CallToolAck):
            self._result.acked_at, self._result.timeout_s = now, frame.timeout
            return
        self._result.heartbeats.append(now)
        if self._request.on_progress is not None:
            self._request.on_progress(frame)

    def _is_own_duplicate(self, answer: Terminal) -> bool:
        """Return whether the call in the way is this very call, sent over a connection that was lost."""
        why = answer.error if isinstance(answer, wire.CallToolReply) else None
        return self._result.reconnects > 0 and why is not None and why.code == "DUPLICATE"

    def _settle(self, answer: Terminal) -> None:
        """Take the answer as the outcome, until a better one comes."""
        result = self._result
        result.outcome, result.timeout_layer = outcome_of(answer)
        if isinstance(answer, wire.CallToolReply):
            result.error, result.duration_s = answer.error, answer.duration
            result.outputs = [output.text for output in answer.outputs or ()]
        else:
            result.error = answer

    def _no_daemon(self, outcome: CallOutcome) -> None:
        """Give up, since no daemon was found, or since the one that was found lets this client in no more."""
        self._result.outcome = outcome
        refusal = self._connector.refusal
        if refusal is not None:
            self._result.error = wire.Error(refusal.code, wire.ERROR_STATUS.get(refusal.code, 0), str(refusal))

    async def _wait_to_retry(self) -> _Step:
        """Wait if the policy says that the call is to be sent again."""
        why = self._result.error
        if why is None:
            return _Step.STOP
        now = self._clock.now()
        decision = self._retry.after_refusal(
            why.code,
            why.retry_after if isinstance(why, wire.Error) else None,
            attempt=self._result.attempts,
            now=now,
            deadline_at=self._request.deadline_at,
            draw=self._connector.rng.random(),
        )
        if not isinstance(decision, RetryAt):
            return _Step.STOP
        self._result.retry_wait_s += decision.at - now
        if self._request.on_wait is not None:
            self._request.on_wait(why, decision.at - now, self._result.attempts)
        await self._clock.sleep(decision.at - now)
        return _Step.SEND
