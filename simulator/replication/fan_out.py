"""Work handed to worker processes, and what it means when these end without an answer."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from reference_daemon.policy.errors import HarnessError

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class WorkersError(HarnessError):
    """The worker processes ended without an answer, for example for lack of memory."""

    def __str__(self) -> str:
        """Say what happened."""
        return "a worker process ended without an answer; too little memory is the usual reason: try fewer --workers"


@contextlib.contextmanager
def living_workers() -> Iterator[None]:
    """Say in our own words that the workers ended, whether work is handed over or its answer is waited for.

    Raises:
        WorkersError: They ended.
    """
    try:
        yield
    except BrokenProcessPool as error:
        raise WorkersError from error


def fan_out(executor: Executor | None, work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> list[Result]:
    """Do a piece of work for each of the pieces, and return the results in their order.

    Args:
        executor: Where it is done; None: here, one after the other.
        work: What is done; for worker processes a function of the module level, or a partial of one.
        pieces: What it is done with.

    Raises:
        WorkersError: The workers themselves ended.
    """
    if executor is None:
        return [work(piece) for piece in pieces]
    with living_workers():
        futures: list[Future[Result]] = [executor.submit(work, piece) for piece in pieces]
        return [future.result() for future in futures]


__all__ = ["WorkersError", "fan_out", "living_workers"]
