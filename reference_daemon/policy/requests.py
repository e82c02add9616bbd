"""Which request of which session waits for the answer of which call."""

from reference_daemon.policy.events import CallId, RequestId, SessionId


class RequestTable:
    """The requests in flight: those that sent a call, and those that attached to one."""

    __slots__ = ("_sessions",)

    def __init__(self) -> None:
        """Start with none."""
        self._sessions: dict[SessionId, dict[RequestId, CallId]] = {}

    def call_of(self, session_id: SessionId, request_id: RequestId) -> CallId | None:
        """Return the call whose answer a request waits for."""
        requests = self._sessions.get(session_id)
        return None if requests is None else requests.get(request_id)

    def count(self, session_id: SessionId) -> int:
        """Return how many requests of a session wait."""
        return len(self._sessions.get(session_id, ()))

    def add(self, session_id: SessionId, request_id: RequestId, call_id: CallId) -> None:
        """Note that a request waits for the answer of `call_id`."""
        requests = self._sessions.get(session_id)
        if requests is None:
            requests = self._sessions[session_id] = {}
        requests[request_id] = call_id

    def answered(self, session_id: SessionId, request_id: RequestId) -> None:
        """Forget a request that was answered; those of sessions that are gone are forgotten already.

        A session's id is never used again, so a late answer cannot free a successor's request.
        """
        waiting = self._sessions.get(session_id)
        if waiting is not None and waiting.pop(request_id, None) is not None and not waiting:
            del self._sessions[session_id]

    def close(self, session_id: SessionId) -> set[CallId]:
        """Forget a session; return the calls for whose answers it waited."""
        return set(self._sessions.pop(session_id, {}).values())
