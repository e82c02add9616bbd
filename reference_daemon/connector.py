"""The one connection of a client: made when it is needed and, when it was lost, made anew once for all its calls."""

import asyncio
import random
import uuid
from itertools import count
from typing import Final

from reference_daemon.channel import Channel, DaemonUnreachableError, HelloRefusedError, Tap, check_url, open_channel
from reference_daemon.clock import Clock
from reference_daemon.policy.retry import RetryPolicy

RECONNECT_FOR_S: Final = 30.0
"""Seconds without a daemon after which a call is given up: longer than a restart takes, shorter than patience."""

_FULL: Final = "too_many_sessions"
"""The one refusal of a hello that passes by itself."""


class Connector:
    """Holds the connection that all calls of a client share.

    Attributes:
        clock: Source of time.
        retry: When to try again.
        rng: Source of jitter.
        token: The daemon's token, if it has one.
        refusal: Why the daemon let this client in no more; None while it does.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        token: str | None,
        label: str,
        retry: RetryPolicy,
        rng: random.Random,
        tap: Tap | None = None,
    ) -> None:
        """Hold nothing yet; `label` is what the client calls itself, `tap` is told of every frame.

        Raises:
            ConfigError: `url` is none.
        """
        check_url(url)
        self.clock, self.retry, self.rng, self.token = clock, retry, rng, token
        self.refusal: HelloRefusedError | None = None
        self._url, self._label, self._tap = url, label, tap
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()
        self._search: asyncio.Task[Channel | None] | None = None
        self._name, self._requests = uuid.uuid4().hex, count(1)
        self._tries = 0  # reconnects since a connection last brought anything
        self._closed = False

    def new_request_id(self) -> str:
        """Return a request_id that no other request has, of this client or of another."""
        return f"{self._name}-{next(self._requests)}"

    async def open(self) -> Channel:
        """Return the open connection; without one, try once to make it.

        Raises:
            DaemonUnreachableError: Nobody answers there.
            HelloRefusedError: The daemon does not let this client in.
        """
        async with self._opening:
            channel = self.usable()
            if channel is None:
                if self._closed:
                    raise DaemonUnreachableError(self._url, "this client was closed")
                channel = await open_channel(self._url, self.clock, token=self.token, label=self._label, tap=self._tap)
                self._channel, self.refusal = channel, None
            return channel

    async def find(self) -> Channel | None:
        """Return the open connection; without one, look for the daemon for a while; None if that was in vain.

        Calls that lost the connection together wait for one search. It belongs to none of them: cancelling a call
        does not end it.
        """
        channel = self.usable()
        if channel is not None:
            return channel
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._look())
        search = self._search
        await asyncio.wait([search])
        return None if search.cancelled() else search.result()

    async def close(self) -> None:
        """Close the connection, and make no other."""
        self._closed = True
        if self._search is not None:
            self._search.cancel()
            await asyncio.wait([self._search])
        if self._channel is not None:
            await self._channel.close()

    def drop(self) -> None:
        """End the connection at once, without a word to the daemon, and make no other."""
        self._closed = True
        if self._channel is not None:
            self._channel.drop()

    def usable(self) -> Channel | None:
        """Return the open connection; None if there is none."""
        return self._channel if self._channel is not None and not self._channel.lost.is_set() else None

    async def _look(self) -> Channel | None:
        """Try until a connection stands, with growing waits; a daemon that refuses us for good ends the search."""
        give_up_at = self.clock.now() + RECONNECT_FOR_S
        again = self._channel is not None  # a first connection needs no wait; after a loss many clients come at once
        if self._channel is None or self._channel.heard:
            self._tries = 0
        while not self._closed:
            if again:
                left_s = give_up_at - self.clock.now()
                if left_s <= 0.0:
                    break
                self._tries += 1
                wait_s = self.retry.reconnect_s(self._tries, draw=self.rng.random())
                await self.clock.sleep(min(wait_s, left_s))  # so that the last try is the latest one
            again = True
            try:
                return await self.open()
            except HelloRefusedError as refused:
                self.refusal = refused
                if refused.code != _FULL:
                    break
            except DaemonUnreachableError:
                pass
        return None
