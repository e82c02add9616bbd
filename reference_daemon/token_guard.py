"""The token that lets clients in, and its rotation. It is held in memory; whoever rotates it writes it to .env too."""

import hmac
from typing import Final

from reference_daemon.clock import Clock

SHORTEST: Final = 16
"""Characters of a new token at least: shorter ones can be guessed."""

LONGEST: Final = 1024
"""Characters of a token at most."""

PENALTY_WALL_S: Final = 0.2
"""Wall seconds that a bad try costs: five tries a second on one connection."""


class TokenGuard:
    """Compares tokens in constant time, and replaces the token as a whole or not at all."""

    def __init__(self, token: str | None) -> None:
        """Guard with `token`; None lets everybody in."""
        self._token = None if token is None else token.encode()

    @property
    def is_set(self) -> bool:
        """Whether a token is needed at all."""
        return self._token is not None

    def admits(self, token: str | None) -> bool:
        """Return whether `token` is the one; how long that takes says nothing about it."""
        if self._token is None:
            return True
        return hmac.compare_digest(self._token, (token or "").encode("utf-8", "surrogatepass"))

    def rotate(self, old: str, new: str) -> str | None:
        """Replace the token.

        Returns:
            None if it was replaced, else the code of the reason: "no_token_set", "unauthorized", "bad_new_token".
        """
        if self._token is None:
            return "no_token_set"
        if not self.admits(old):
            return "unauthorized"
        if not SHORTEST <= len(new) <= LONGEST or not new.isprintable():
            return "bad_new_token"
        self._token = new.encode()
        return None


class Penalty:
    """Slows one session's bad tries: after one, the next is refused unread for a while."""

    def __init__(self, clock: Clock) -> None:
        """Start without a penalty."""
        self._clock = clock
        self._until = float("-inf")

    def runs(self) -> bool:
        """Return whether a try comes too soon after a bad one."""
        return self._clock.now() < self._until

    def begin(self) -> None:
        """Note a bad try."""
        self._until = self._clock.now() + PENALTY_WALL_S / self._clock.scale
