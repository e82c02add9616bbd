"""What is written about calls: one line when a call starts, one when it ends, one for each that was refused.

The same facts go to the metrics file. A key is named by its hash, a person finds a call by its trace_id.
"""

import traceback
from typing import Any

from reference_daemon import wire
from reference_daemon.clock import Clock
from reference_daemon.intake import MAX_NAME, Prepared
from reference_daemon.live import LiveCall
from reference_daemon.observability.metrics import Event, Metrics
from reference_daemon.sessions import Session


class CallLog:
    """Writes about calls, to the log and to the metrics."""

    def __init__(self, log: Any, metrics: Metrics, clock: Clock) -> None:
        """Write lines with a bound structlog logger."""
        self._log = log
        self._metrics = metrics
        self._clock = clock

    def started(self, call: LiveCall) -> None:
        """A call was admitted."""
        arrived, prepared, admit = call.prepared.arrived, call.prepared, call.admit
        self._log.info(
            "call_start",
            tool=arrived.tool,
            trace_id=prepared.trace_id,
            call_key=prepared.key_hash,
            request_id=arrived.request_id,
            session=arrived.session_id,
            model=prepared.plan.model,
            provider=arrived.provider,
            timeout_s=round(admit.timeout_s, 3),
            limit=admit.limit,
            waits=admit.waits or None,
        )
        self._metrics.write(
            Event(
                "accepted",
                self._clock.unix(),
                tool=arrived.tool,
                trace_id=prepared.trace_id,
                call_key=prepared.key_hash,
                request_id=arrived.request_id,
                session=arrived.session_id,
                provider=arrived.provider,
                kind=arrived.kind,
                timeout_s=admit.timeout_s,
                clock_at=call.context.started_at,
                explicit=arrived.explicit,
                waits=admit.waits or None,
            )
        )

    def ended(self, call: LiveCall, *, client_there: bool) -> None:
        """A call has its answer."""
        prepared, context, answer = call.prepared, call.context, call.answer
        assert answer is not None  # noqa: S101 - that is what this line is about
        arrived, duration_s = prepared.arrived, round(answer.duration_s, 4)
        self._log.info(
            "call_end",
            tool=arrived.tool,
            trace_id=prepared.trace_id,
            request_id=arrived.request_id,
            outcome=answer.outcome,
            status=answer.status,
            duration_s=duration_s,
            phase=context.phase,
            heartbeats=context.heartbeats,
            client="there" if client_there else "gone",
        )
        self._metrics.finished(arrived.tool, answer.outcome, answer.duration_s)
        self._metrics.write(
            Event(
                "finished",
                self._clock.unix(),
                tool=arrived.tool,
                trace_id=prepared.trace_id,
                request_id=arrived.request_id,
                session=arrived.session_id,
                provider=arrived.provider,
                kind=arrived.kind,
                outcome=answer.outcome,
                status=answer.status,
                duration_s=duration_s,
                heartbeats=context.heartbeats,
                clock_at=context.started_at + answer.duration_s,
                working=call.working or None,
                client_there=client_there,
            )
        )

    def stopped(self, call: LiveCall, now: float) -> None:
        """The work of a call that was answered before has stopped."""
        self._log.info(
            "work_stopped",
            tool=call.name,
            trace_id=call.prepared.trace_id,
            request_id=call.prepared.arrived.request_id,
            held_s=round(now - call.context.started_at, 3),
        )
        self._metrics.write(self._event("stopped", call.prepared, now))

    def _event(self, name: str, prepared: Prepared, now: float) -> Event:
        """Make an event that says no more than which call it is about."""
        arrived = prepared.arrived
        return Event(
            name,
            self._clock.unix(),
            tool=arrived.tool,
            trace_id=prepared.trace_id,
            call_key=prepared.key_hash,
            request_id=arrived.request_id,
            session=arrived.session_id,
            provider=arrived.provider,
            kind=arrived.kind,
            clock_at=now,
            explicit=arrived.explicit,
        )

    def refused(self, session: Session, prepared: Prepared, why: wire.Error) -> None:
        """The policy refused a call: a duplicate is worth a warning, being full is not."""
        write = self._log.info if why.code in ("OVER_CAPACITY", "DRAINING") else self._log.warning
        arrived = prepared.arrived
        facts = {
            "scope": why.scope,
            "limit": why.limit,
            "in_use": why.in_use,
            "retry_after_s": why.retry_after,
            "original_request_id": why.original_request_id,
        }
        write(
            why.code.lower(),
            tool=arrived.tool,
            trace_id=prepared.trace_id,
            call_key=prepared.key_hash,
            request_id=arrived.request_id,
            session=session.session_id,
            original_trace_id=why.original_trace_id,
            **facts,
        )
        self._metrics.rejected(why.code, why.scope)
        self._metrics.write(
            Event(
                "rejected",
                self._clock.unix(),
                tool=arrived.tool,
                trace_id=prepared.trace_id,
                call_key=prepared.key_hash,
                request_id=arrived.request_id,
                session=session.session_id,
                provider=arrived.provider,
                outcome=why.code,
                status=why.status,
                clock_at=self._clock.now(),
                code=why.code,
                explicit=arrived.explicit,
                scope=why.scope,
                limit=why.limit,
                in_use=why.in_use,
                retry_after_s=why.retry_after,
                original_request_id=why.original_request_id,
            )
        )

    def unfit(self, session: Session, frame: wire.CallTool, trace_id: str, why: wire.Error) -> None:
        """A request could not be put to the policy."""
        self._metrics.rejected(why.code, None)
        self._log.info(
            "bad_request",
            tool=frame.name[:MAX_NAME],
            trace_id=trace_id,
            request_id=frame.request_id,
            session=session.session_id,
            code=why.code,
            field=why.field,
        )

    def checks_raised(self, frame: wire.CallTool, bug: Exception) -> None:
        """A tool could not check its arguments: a bug of the tool's."""
        self._log.error("checks_raised", tool=frame.name, exception=type(bug).__name__, place=place_of(bug))

    def replayed(self, session: Session, prepared: Prepared) -> None:
        """A kept answer was sent again."""
        self._log.info(
            "replayed",
            tool=prepared.arrived.tool,
            trace_id=prepared.trace_id,
            call_key=prepared.key_hash,
            request_id=prepared.arrived.request_id,
            session=session.session_id,
        )
        self._metrics.write(self._event("replayed", prepared, self._clock.now()))

    def attached(self, session: Session, call: LiveCall, request_id: str) -> None:
        """A request waits for the answer of a call that another one sent."""
        self._log.info(
            "attached",
            tool=call.name,
            trace_id=call.prepared.trace_id,
            request_id=request_id,
            session=session.session_id,
            original_request_id=call.prepared.arrived.request_id,
        )

    def raised(self, call: LiveCall, raised: BaseException, why: wire.Error) -> None:
        """A tool raised. Its text may hold anything, so only its type and place are written."""
        self._log.warning(
            "tool_raised",
            tool=call.name,
            trace_id=call.prepared.trace_id,
            request_id=call.prepared.arrived.request_id,
            code=why.code,
            provider_status=why.provider_status,
            exception=type(raised).__name__,
            place=place_of(raised),
        )


def place_of(raised: BaseException) -> str | None:
    """Return where an exception was raised, as file and line."""
    frames = traceback.extract_tb(raised.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else None
