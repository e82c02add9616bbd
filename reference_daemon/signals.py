"""SIGTERM and Ctrl-C as calls in the event loop, and the exit status that each means."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final

ENDED: Final = 0
INTERRUPTED: Final = 130

_STATUSES: Final = ((signal.SIGTERM, ENDED), (signal.SIGINT, INTERRUPTED))


def on_signals(act: Callable[[int], None]) -> None:
    """Call `act` in the running loop with the exit status that a signal means, each time one comes."""
    loop = asyncio.get_running_loop()
    for number, status in _STATUSES:
        try:
            loop.add_signal_handler(number, act, status)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_, status=status: loop.call_soon_threadsafe(act, status))
