"""Work spread over processes or machines: a bounded number of tasks is out at once, and Ctrl-C ends all of them."""

import contextlib
import multiprocessing
import time
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from reference_daemon.policy.errors import HarnessError
from scenarios.model import Scenario
from simulator.model.settings import ModelSettings
from simulator.replication.fan_out import WorkersError, living_workers
from simulator.replication.metrics import Figures
from simulator.replication.replications import Task, figures_and_gaps, tasks_of, worker_pool
from simulator.screen import Screen

AHEAD: Final = 4
"""Tasks out for each worker: enough that none waits for the next, few enough that Ctrl-C has little to undo."""

Name = TypeVar("Name", bound=Hashable)
Timed = tuple[Figures, tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Done(Generic[Name]):
    """A task that is over.

    Attributes:
        name: What the task was called.
        figures: Its figures; None if it failed.
        cpu_s: Processor seconds that it took.
        not_carried: Parts of the scenario that the model left out, in words.
        why_not: Why it failed, in words.
    """

    name: Name
    figures: Figures | None
    cpu_s: float = 0.0
    not_carried: tuple[str, ...] = ()
    why_not: str | None = None


def timed_task(task: Task) -> Timed:
    """Run a replication; return its figures, what the model left out, and the processor seconds that it took."""
    began = time.thread_time()
    figures, not_carried = figures_and_gaps(task)
    return figures, not_carried, time.thread_time() - began


def run_tasks(executor: Executor, tasks: Iterable[tuple[Name, Task]], *, workers: int) -> Iterator[Done[Name]]:
    """Run tasks and return each when it is over, in any order; one that fails is told, and the others go on.

    Raises:
        WorkersError: The workers themselves ended.
    """
    waiting = iter(tasks)
    out: dict[Future[Timed], Name] = {}
    while True:
        with living_workers():
            for name, task in islice(waiting, max(AHEAD * workers - len(out), 0)):
                out[executor.submit(timed_task, task)] = name
        if not out:
            return
        ended, _ = wait(out, return_when=FIRST_COMPLETED)
        for future in ended:
            yield _outcome(out.pop(future), future)


def _outcome(name: Name, future: Future[Timed]) -> Done[Name]:
    try:
        with living_workers():
            figures, not_carried, cpu_s = future.result()
    except WorkersError:
        raise
    except Exception as error:  # noqa: BLE001 - one setting that fails must not cost the results of the others
        return Done(name, None, why_not=f"{type(error).__name__}: {error}")
    return Done(name, figures, cpu_s, not_carried)


@contextlib.contextmanager
def local_workers(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Lend worker processes; an exception, Ctrl-C too, ends them at once instead of waiting for their work."""
    executor = worker_pool(workers)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    executor.shutdown()


def run_all(
    scenario: Scenario,
    settings: ModelSettings,
    seeds: list[int],
    *,
    warm_up_s: float,
    workers: int,
    screen: Screen,
) -> list[Figures]:
    """Run a scenario with several seeds in worker processes, and return the figures in the order of the seeds.

    Raises:
        WorkersError: The workers themselves ended.
        ReplicationError: A replication failed.
    """
    tasks = tasks_of(
        scenario, settings.config, seeds=seeds, warm_up_s=warm_up_s, client_timeout_s=settings.client_timeout_s
    )
    found: dict[int, Figures] = {}
    with local_workers(workers) as executor:
        for done in run_tasks(executor, ((task.seed, task) for task in tasks), workers=workers):
            if done.figures is None:
                raise ReplicationError(done.name, done.why_not or "")
            found[done.name] = done.figures
            screen.progress(f"{len(found)} of {len(seeds)} replications")
    return [found[seed] for seed in seeds]


class ReplicationError(HarnessError):
    """A replication failed: a bug of the model.

    Attributes:
        seed: Its seed.
        reason: What went wrong.
    """

    exit_code = 70

    def __init__(self, seed: int, reason: str) -> None:
        """Keep the facts; the text is made by `__str__`."""
        super().__init__(seed, reason)
        self.seed, self.reason = seed, reason

    def __str__(self) -> str:
        """Name both."""
        return f"the replication with seed {self.seed} failed: {self.reason}"


__all__ = [
    "AHEAD",
    "Done",
    "ReplicationError",
    "WorkersError",
    "local_workers",
    "run_all",
    "run_tasks",
    "timed_task",
]
