"""Connections that can be lost: clients that look for the daemon, and calls that find out what became of them.

Only where a scenario disturbs the line between clients and daemon, ends the daemon, or lets clients misbehave, do calls
go this way: it costs more than calling the daemon directly, and shows nothing else on a line that nobody touches.
What a client may conclude is decided by the client's own `RetryPolicy`.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random
from typing import Final

from reference_daemon.policy.events import CallKey, RequestId, SessionId
from reference_daemon.policy.retry import Recovery
from scenarios.history import Outcome, TimeoutLayer
from simulator.model.daemon import Answer, DaemonModel
from simulator.model.lines import DOWN, UP, Line, Stream
from simulator.model.logical_call import Client, LogicalCall
from simulator.model.provider import NEVER
from simulator.model.virtual_time import VirtualTime

RECONNECT_FOR_S: Final = 30.0
"""Seconds without a daemon after which a call is given up, as in the reference client."""

_ROUND_TRIPS: Final = 2
"""Of a new connection: the handshake and the hello."""

_RUN_BEFORE: Final = frozenset({"UNKNOWN_CALL", "GONE"})
"""Answers to an attach that say that there is nothing to attach to."""


class Door(Line):
    """The line between the clients and the daemon, and the daemon, while there is one.

    Attributes:
        daemon: The daemon that serves; None while there is none.
        boot: Which start of the daemon this is.
        connections: Those that are open.
    """

    def __init__(self, time: VirtualTime, chance: Random, daemon: DaemonModel) -> None:
        """Begin with a daemon, and nobody connected."""
        super().__init__(time, chance)
        self.daemon: DaemonModel | None = daemon
        self.boot = 1
        self.connections: dict[Connection, None] = {}  # in their order

    @property
    def answers(self) -> bool:
        """Whether a connection can be made."""
        return self.up and self.daemon is not None

    def cut(self) -> None:
        """Lose every connection."""
        for connection in list(self.connections):
            connection.lose()

    def daemon_ended(self) -> None:
        """Be without a daemon."""
        self.daemon = None
        self.cut()

    def daemon_started(self, daemon: DaemonModel) -> None:
        """Have a daemon again, which knows nothing of the one before."""
        self.daemon = daemon
        self.boot += 1


class Connection:
    """One connection: a session of the daemon.

    Attributes:
        door: What it goes through.
        boot: The start of the daemon that it leads to.
        session_id: Its session.
        heard: Whether it has brought anything.
        open: Whether it was not lost yet.
        silent_until: Moment before which its client reads nothing.
    """

    def __init__(self, door: Door, session_id: SessionId) -> None:
        """Be open."""
        assert door.daemon is not None  # noqa: S101 - whoever connects has looked
        self.door, self.boot, self.session_id, self._daemon = door, door.boot, session_id, door.daemon
        self.heard, self.open = False, True
        self.silent_until = 0.0
        self._exchanges: dict[Exchange, None] = {}
        self._latest: dict[Stream, float] = {UP: 0.0, DOWN: 0.0}
        door.connections[self] = None

    def ask(self, exchange: "Exchange", ask: Callable[[DaemonModel], object]) -> None:
        """Send a request for which `exchange` waits."""
        self._exchanges[exchange] = None
        self.send(ask)

    def send(self, ask: Callable[[DaemonModel], object]) -> None:
        """Send what nobody waits for."""
        self.carry(UP, lambda: ask(self._daemon))

    def carry(self, stream: Stream, act: Callable[[], object]) -> None:
        """Do something at the far end, when a frame that is sent now has arrived there; frames keep their order."""
        time = self.door.time
        at = max(self.door.arrives_at(stream), self._latest[stream])
        if stream == DOWN:
            at = max(at, self.silent_until)
        if at == NEVER:
            return
        self._latest[stream] = at
        if at <= time.now:
            act()
        else:
            time.call_at(at, partial(self._arrived, act))

    def _arrived(self, act: Callable[[], object], _: object) -> None:
        if self.open:
            act()

    def hear(self) -> None:
        """Note that it has brought something."""
        self.heard = True

    def forget(self, exchange: "Exchange") -> None:
        """Wait no more."""
        self._exchanges.pop(exchange, None)

    def lose(self) -> None:
        """End: the daemon forgets the session, and whoever waits is told."""
        if not self.open:
            return
        self.open = False
        del self.door.connections[self]
        if self.door.daemon is self._daemon:
            self._daemon.session_closed(self.session_id)
        for exchange in list(self._exchanges):
            exchange.call.lost_connection(exchange)
        self._exchanges.clear()


class Exchange:
    """A request that waits for its answer on one connection; what the daemon sends goes down the line to its call.

    Attributes:
        connection: The connection.
        call: The call that it is about.
        request_id: Its request_id.
    """

    def __init__(self, connection: Connection, call: "ExposedCall", request_id: RequestId) -> None:
        """Wait."""
        self.connection, self.call, self.request_id = connection, call, request_id

    def acked(self, now: float) -> None:  # noqa: ARG002 - its client hears of it later
        """Bring the ack."""
        self.connection.carry(DOWN, self._acked)

    def answered(self, answer: Answer) -> None:
        """Bring the answer."""
        self.connection.carry(DOWN, lambda: self._answered(answer))

    def _acked(self) -> None:
        self.connection.heard = True
        if self.call.exchange is self:
            self.call.acked(self.connection.door.time.now)

    def _answered(self, answer: Answer) -> None:
        self.connection.heard = True
        self.connection.forget(self)
        if self.call.exchange is self:
            self.call.answered(answer)


class ExposedClient(Client):
    """A client whose connection can be lost; it makes a new one, once for all its calls."""

    __slots__ = ("_door", "_give_up_at", "_numbers", "_tries", "_waiting", "closed", "connection")

    def __init__(self, session_id: SessionId, chance: Random, door: Door) -> None:
        """Connect, if there is somebody; else the first call will try."""
        super().__init__(session_id, chance)
        self._door = door
        self._numbers = count(1)
        self._tries = 0
        self._give_up_at = 0.0
        self._waiting: list[Callable[[Connection | None], None]] = []
        self.closed = False
        self.connection: Connection | None = self._connect() if door.answers else None

    def find(self, then: Callable[[Connection | None], None], wait_s: Callable[[int], float]) -> None:
        """Call `then` with the open connection; without one, look for the daemon for a while.

        Args:
            then: Is handed None if that was in vain.
            wait_s: Returns the wait before a reconnect by its number, see `RetryPolicy.reconnect_s`.
        """
        connection = self.connection
        if connection is not None and connection.open:
            then(connection)
            return
        self._waiting.append(then)
        if len(self._waiting) == 1:
            self._give_up_at = self._door.time.now + RECONNECT_FOR_S
            if connection is None or connection.heard:
                self._tries = 0
            self._look(wait_s, again=connection is not None)

    def _look(self, wait_s: Callable[[int], float], *, again: bool) -> None:
        time = self._door.time
        left_s = self._give_up_at - time.now
        if self.closed or (again and left_s <= 0.0):
            self._found(None)
            return
        if again:
            self._tries += 1
        delay_s = min(wait_s(self._tries), left_s) if again else 0.0
        time.call_at(time.now + delay_s, lambda _: self._try(wait_s))

    def _try(self, wait_s: Callable[[int], float]) -> None:
        """Knock: the answer takes a few round trips, in which the line may go down again."""
        at = self._door.round_trips_at(_ROUND_TRIPS)
        if self.closed or not self._door.answers or at == NEVER:
            self._look(wait_s, again=True)
        elif at <= self._door.time.now:
            self._found(self._connect())
        else:
            self._door.time.call_at(at, lambda _: self._arrive(wait_s))

    def _arrive(self, wait_s: Callable[[int], float]) -> None:
        if self._door.answers and not self.closed:
            self._found(self._connect())
        else:
            self._look(wait_s, again=True)

    def _found(self, connection: Connection | None) -> None:
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(connection)

    def _connect(self) -> Connection:
        self.connection = Connection(self._door, SessionId(f"{self.session_id}.{next(self._numbers)}"))
        return self.connection

    def drop(self) -> None:
        """Vanish, and make no other connection."""
        self.closed = True
        if self.connection is not None:
            self.connection.lose()


class ExposedCall(LogicalCall):
    """A logical call over a connection that can be lost, or whose client cancels, vanishes or stops reading."""

    client: ExposedClient

    exchange: Exchange | None = None
    _boot: int | None = None
    _in_doubt = False
    _lost_at = 0.0
    _refusal: Answer | None = None

    # --- sending -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Send it, and do what its phase says besides."""
        world, behaviour = self.world, self.kind.phase.behaviour
        self._timer = world.time.call_at(self.deadline_at, self.give_up)
        if behaviour is not None and behaviour.cancel is not None:
            world.time.call_at(world.time.now + behaviour.cancel, self._cancel)
        if behaviour is not None and behaviour.early_close is not None:
            world.time.call_at(world.time.now + behaviour.early_close, self._vanish)
        if behaviour is not None and behaviour.stop_reading is not None and self.client.connection is not None:
            self.client.connection.silent_until = world.time.now + behaviour.stop_reading
        super().begin()

    def attempt(self, _: object) -> None:
        """Send it once more, when there is a connection."""
        if self.finished_at is None:
            self.client.find(self._send, self._reconnect_s)

    def _send(self, connection: Connection | None) -> None:
        if self.finished_at is not None:
            return
        if connection is None:
            if self._refusal is None:
                self.end(Outcome.CONNECTION_LOST)
            else:  # the refusal that it was to be sent again after stays its end
                self._end_with(self._refusal)
            return
        arrived = self._arrival(self.world.time.now, connection.session_id)
        self._boot, self._in_doubt, self._refusal = connection.boot, False, None
        self.exchange = exchange = Exchange(connection, self, arrived.request_id)
        connection.ask(exchange, lambda daemon: daemon.call(arrived, self.draw, exchange))

    def _reconnect_s(self, tries: int) -> float:
        return self.world.retry.reconnect_s(tries, draw=self.client.chance.random())

    # --- answers -----------------------------------------------------------------------------------------------------

    def answered(self, answer: Answer) -> None:
        """It has an answer: to its attempt, or to its question what became of it."""
        exchange, self.exchange = self.exchange, None
        if self.finished_at is not None or exchange is None:
            return
        if answer.code in _RUN_BEFORE:
            self._nothing_there(answer.status, exchange.connection)
        elif answer.code == "DUPLICATE" and self.lost:  # the call in the way is this very call
            self._attach(exchange.connection)
        else:
            self._refusal = None if answer.code is None else answer
            super().answered(answer)

    def _nothing_there(self, status: int, connection: Connection) -> None:
        recovery = self.world.retry.recover(status, same_boot=connection.boot == self._boot)
        if recovery is not Recovery.SEND_AGAIN or not self.kind.explicit:
            # The daemon may keep no key for a call whose client sent none: that it knows none says nothing.
            self.end(Outcome.UNKNOWN, status)
        elif self.attempts < self.world.retry.config.max_attempts:
            self.attempt(None)
        else:
            self.end(Outcome.CONNECTION_LOST, status)

    # --- a connection that is lost -----------------------------------------------------------------------------------

    def lost_connection(self, exchange: Exchange) -> None:
        """Find out what became of the call, if it still waits on the connection that was lost."""
        if self.exchange is not exchange:
            return
        self.exchange, self._in_doubt, self._lost_at = None, True, self.world.time.now
        if self.finished_at is None:
            self.client.find(self._found_again, self._reconnect_s)

    def _found_again(self, connection: Connection | None) -> None:
        if self.finished_at is not None:
            return
        if connection is None:
            self.end(Outcome.UNKNOWN)
            return
        self.lost = (*self.lost, (self._lost_at, self.world.time.now))
        self._attach(connection)

    def _attach(self, connection: Connection) -> None:
        """Ask for the answer of the execution that holds the call's key."""
        key = self.key if self.key is not None else CallKey(f"none of {self.number}")
        self.exchange = exchange = Exchange(connection, self, next(self.world.request_ids))
        self._in_doubt = False

        def ask(daemon: DaemonModel) -> None:
            if daemon.attach(connection.session_id, exchange.request_id, key, exchange):
                connection.carry(DOWN, connection.hear)  # a call that is found sends a heartbeat at once

        connection.ask(exchange, ask)

    # --- its client's own end ----------------------------------------------------------------------------------------

    def give_up(self, _: object) -> None:
        """Its client's patience has ended; the daemon is told, unless the connection is lost."""
        if self.finished_at is not None:
            return
        if self._in_doubt:
            self.end(Outcome.UNKNOWN)
        else:
            self.end(Outcome.TIMEOUT, None, TimeoutLayer.CLIENT)
        self._tell_cancelled()

    def _cancel(self, _: object) -> None:
        if self.finished_at is None:
            self.end(Outcome.CANCELLED)
            self._tell_cancelled()

    def _vanish(self, _: object) -> None:
        """Drop the connection, without a word to the daemon, and never come back for the answer."""
        if self.finished_at is None:
            self.end(Outcome.UNKNOWN, None, TimeoutLayer.CLIENT)
            self.exchange = None
            self.client.drop()

    def _tell_cancelled(self) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            connection = exchange.connection
            connection.forget(exchange)
            connection.send(lambda daemon: daemon.cancel(connection.session_id, exchange.request_id))

    def _end_with(self, answer: Answer) -> None:
        self.end(outcome_of(answer), answer.status)


def outcome_of(answer: Answer) -> Outcome:
    """Return how a call ends whose last word was a refusal that says "later"."""
    return Outcome.DRAINING if answer.code == "DRAINING" else Outcome.OVER_CAPACITY


__all__ = ["Connection", "Door", "Exchange", "ExposedCall", "ExposedClient"]
