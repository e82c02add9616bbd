"""A Dask cluster as an executor: the same sweep on more than one machine, or on this one to try it."""

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any, Final

from reference_daemon.policy.errors import HarnessError

LOCAL: Final = "local"
"""In the place of an address: a cluster of this machine, for as long as the command runs."""

_CONNECT_S: Final = 10.0
"""Seconds that a scheduler has to answer."""


class NoDaskError(HarnessError):
    """Dask is not installed."""

    exit_code = 2

    def __str__(self) -> str:
        """Say how to get it."""
        return "--dask needs the extra `dask`: python bootstrap.py --extra dask, or install dask[distributed]"


class ClusterError(HarnessError):
    """A cluster cannot be used.

    Attributes:
        address: Its address.
        reason: Why not.
    """

    def __init__(self, address: str, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(address, reason)
        self.address, self.reason = address, reason

    def __str__(self) -> str:
        """Name both."""
        return f"--dask {self.address}: {self.reason}"


@contextlib.contextmanager
def dask_workers(address: str, *, workers: int) -> Iterator[tuple[Executor, int]]:
    """Lend a cluster's executor, and say how many tasks it runs at once.

    Args:
        address: Of a scheduler, such as tcp://host:8786; "local" makes a cluster of this machine.
        workers: Processes of a local cluster.

    Raises:
        NoDaskError: Dask is not installed.
        ClusterError: Nobody answers at the address, or the cluster has no workers.
    """
    try:
        from distributed import Client  # noqa: PLC0415 - an extra, needed here alone
    except ImportError as error:
        raise NoDaskError from error
    with contextlib.ExitStack() as stack:
        where = address
        if address == LOCAL:
            where = stack.enter_context(_local_cluster(workers))
        try:
            client: Any = Client(where, timeout=_CONNECT_S)  # type: ignore[no-untyped-call]  # distributed has no types
        except (OSError, ValueError) as error:
            raise ClusterError(address, f"no scheduler answers ({type(error).__name__})") from error
        stack.enter_context(client)
        threads = sum(client.nthreads().values())
        if threads == 0:
            raise ClusterError(address, "the cluster has no workers")
        executor = client.get_executor()
        try:
            yield executor, threads
        except BaseException:
            # Waiting would be for ever: Ctrl-C has ended the workers of this machine, too.
            executor.shutdown(wait=False)
            raise
        executor.shutdown()


def _local_cluster(workers: int) -> Any:
    """Return a cluster of so many processes, which listens on this machine alone."""
    from distributed import LocalCluster  # noqa: PLC0415 - an extra, needed here alone

    return LocalCluster(  # type: ignore[no-untyped-call]  # distributed has no types
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        scheduler_port=0,
        dashboard_address=None,
        silence_logs=logging.ERROR,  # what it warns of at its end is no news to people
    )
