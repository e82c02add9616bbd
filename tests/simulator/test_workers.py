"""Tasks spread over workers: bounded, named, and honest about what broke."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from reference_daemon.policy.config import PolicyConfig
from simulator.findings.experiment import Conditions
from simulator.replication.metrics import Figures
from simulator.replication.replications import Task, replicate, run_task, tasks_of
from simulator.replication.workers import AHEAD, ReplicationError, WorkersError, run_tasks
from tests.simulator.small import a_scenario


class Pool(Executor):
    """An executor that ends each task with a given exception, or runs it; notes how many were handed over."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.taken = error, 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """End the task at once."""
        self.taken += 1
        future: Future[Any] = Future()
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def tasks(number: int) -> Iterator[tuple[int, Task]]:
    """Return so many tasks by their seeds."""
    return ((task.seed, task) for task in tasks_of(a_scenario(), PolicyConfig(), seeds=range(number)))


def test_each_task_comes_back_under_its_name() -> None:
    """Results carry the name that the task was given, its figures and its processor time."""
    ended = {done.name: done for done in run_tasks(Pool(), tasks(3), workers=2)}
    expected: dict[int, Figures] = {seed: run_task(task) for seed, task in tasks(3)}
    assert {seed: done.figures for seed, done in ended.items()} == expected
    assert all(done.cpu_s > 0 for done in ended.values())


def test_only_a_few_are_handed_over_ahead() -> None:
    """Of many tasks the workers get so many as keep them busy, so that Ctrl-C has little to undo."""
    pool = Pool()
    run = run_tasks(pool, tasks(100), workers=2)
    next(run)
    assert pool.taken == 2 * AHEAD


def test_a_task_that_fails_is_told() -> None:
    """An exception in a task is its own result; the others go on."""
    ended = list(run_tasks(Pool(ValueError("no such thing")), tasks(2), workers=1))
    assert [(done.figures, done.why_not) for done in ended] == [(None, "ValueError: no such thing")] * 2


def test_workers_that_end_are_a_failure_of_the_environment() -> None:
    """When the processes themselves die, no setting is to blame: the command ends with 3 and a hint."""
    with pytest.raises(WorkersError, match="too little memory") as caught:
        list(run_tasks(Pool(BrokenProcessPool("gone")), tasks(1), workers=1))
    assert caught.value.exit_code == 3


class Dead(Executor):
    """An executor whose processes are gone when work is handed over."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Take nothing any more."""
        raise BrokenProcessPool("gone")


@pytest.mark.parametrize("pool", [Pool(BrokenProcessPool("gone")), Dead()])
def test_the_same_for_all_who_hand_out_work(pool: Executor) -> None:
    """Replications, the findings' measures and a sweep's tasks say the same, whether submit or the answer fails."""
    calls: list[Callable[[], object]] = [
        lambda: replicate(a_scenario(), PolicyConfig(), seeds=[1], executor=pool),
        lambda: Conditions(executor=pool).measures(a_scenario(), PolicyConfig(), [1], lambda _: {}),
        lambda: list(run_tasks(pool, tasks(1), workers=1)),
    ]
    for call in calls:
        with pytest.raises(WorkersError, match="too little memory"):
            call()


def test_a_replication_that_fails_is_a_bug_of_the_model() -> None:
    """A scenario was valid and its run failed: seed and reason are named, and the status says bug."""
    error = ReplicationError(7, "ValueError: no such thing")
    assert (error.exit_code, str(error)) == (70, "the replication with seed 7 failed: ValueError: no such thing")
