"""Sessions: one per connection that said hello. The daemon chooses their ids; what a client calls itself is a label."""

from collections.abc import Iterator
from dataclasses import dataclass

from reference_daemon.link import Link
from reference_daemon.policy.events import SessionId


@dataclass(slots=True, eq=False)
class Session:
    """One client.

    Attributes:
        session_id: The daemon's id for it.
        link: Its connection.
        label: What the client calls itself; for logs.
        opened_at: When it said hello.
    """

    session_id: SessionId
    link: Link
    label: str
    opened_at: float


class Sessions:
    """The open sessions, up to a bound."""

    def __init__(self, most: int) -> None:
        """Allow at most `most` sessions at once."""
        self._most = most
        self._open: dict[SessionId, Session] = {}

    def __len__(self) -> int:
        """Return the number of open sessions."""
        return len(self._open)

    def __iter__(self) -> Iterator[Session]:
        """Iterate over the open sessions."""
        return iter(self._open.values())

    def __contains__(self, session_id: SessionId) -> bool:
        """Return whether a session is open."""
        return session_id in self._open

    def get(self, session_id: SessionId) -> Session | None:
        """Return an open session."""
        return self._open.get(session_id)

    def open(self, session: Session) -> bool:
        """Add a session, unless there are too many."""
        if len(self._open) >= self._most:
            return False
        self._open[session.session_id] = session
        return True

    def close(self, session: Session) -> None:
        """Forget a session."""
        self._open.pop(session.session_id, None)
