"""Ctrl-C, SIGTERM and a closed terminal end a drill in order: its work is cancelled once and cleans up."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

_SIGNALS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


async def until_interrupted(work: Coroutine[Any, Any, None]) -> bool:
    """Run `work` and return whether a signal ended it; its own exceptions pass.

    The first signal cancels the work. Later ones change nothing: stopping takes seconds at most, and a child
    that is left behind because somebody was impatient takes a port and a core for ever.
    """
    task = asyncio.ensure_future(work)
    with _on_signal(_once(task.cancel)):
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            # Where the loop takes no signal handlers (Windows), Ctrl-C cancels this coroutine instead.
            task.cancel()
            await asyncio.wait([task])
    if task.cancelled():
        return True
    task.result()
    return False


@contextlib.contextmanager
def _on_signal(act: Callable[[], object]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    taken = []
    with contextlib.suppress(NotImplementedError):
        for number in _SIGNALS:
            loop.add_signal_handler(number, act)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)


def _once(act: Callable[[], object]) -> Callable[[], None]:
    calls = iter([act])

    def first_time() -> None:
        for once in calls:
            once()

    return first_time
