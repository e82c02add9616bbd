"""Whether anybody listens at a target: asked first, so that the answer names the target and not a proxy before it."""

import socket
from typing import Final
from urllib.parse import urlsplit

from reference_daemon.policy.errors import HarnessError

_PATIENCE_S: Final = 3.0
"""Wall seconds for a connection on loopback."""

_PORT: Final = 8765


class NobodyThereError(HarnessError):
    """Nobody listens at a target.

    Attributes:
        target: Its address.
        reason: What the system said.
        exit_code: Exit status of a command that ends with it: the environment failed.
    """

    exit_code = 3

    def __init__(self, target: str, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(target, reason)
        self.target, self.reason = target, reason

    def __str__(self) -> str:
        """Name the target and the reason."""
        return f"nobody listens at {self.target}: {self.reason}"


def check_reachable(target: str | None) -> None:
    """Connect to a target, and close at once; without one there is nothing to check.

    Raises:
        NobodyThereError: That is not possible.
    """
    if target is None:
        return
    address = urlsplit(target)
    try:
        socket.create_connection((address.hostname or "", address.port or _PORT), timeout=_PATIENCE_S).close()
    except OSError as error:
        raise NobodyThereError(target, error.strerror or str(error)) from error
