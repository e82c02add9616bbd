"""A Dask cluster runs the same sweep with the same results."""

import sys
from pathlib import Path

import pytest

import exai
from simulator.replication.dask_cluster import ClusterError, NoDaskError, dask_workers
from simulator.replication.replications import worker_pool
from simulator.sweep.sweep import run_sweep
from simulator.sweep.values import points, read_vary
from tests.simulator.small import YAML, a_scenario

distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")


@pytest.mark.slow  # starts a cluster and two worker processes
def test_results_equal_those_of_worker_processes() -> None:
    """Every figure of every setting and seed is the same on a cluster and in a pool."""
    made = points(a_scenario(), [read_vary("EXAI_WS_GLOBAL_MAX_INFLIGHT=2,5")])
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        dask_workers(cluster.scheduler_address, workers=2) as (executor, number),
    ):
        far, *_ = run_sweep(
            made, seeds=(1, 2, 3), warm_up_s=100.0, executor=executor, workers=number, watch=lambda done: None
        )
    assert number == 2
    with worker_pool(2) as pool:
        near, *_ = run_sweep(made, seeds=(1, 2, 3), warm_up_s=100.0, executor=pool, workers=2, watch=lambda done: None)
    assert far == near
    assert [len(row.figures) for row in far] == [3, 3]


@pytest.mark.slow  # starts a cluster with a process of its own
def test_local_cluster_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dask local` needs no cluster that runs already."""
    scenario = tmp_path / "tiny.yaml"
    scenario.write_text(YAML, "utf-8")
    options = ["--vary", "load.0.rate=0.05,0.1", "-n", "2", "--workers", "1", "--dask", "local"]
    assert exai.main(["sweep", str(scenario), "--runs-dir", str(tmp_path / "runs"), *options]) == exai.ExitCode.HELD
    assert "4 runs" in capsys.readouterr().out


def test_nobody_at_the_address() -> None:
    """An address without a scheduler is told by its name, as a failure of the environment."""
    with pytest.raises(ClusterError, match="tcp://nowhere") as caught, dask_workers("tcp://nowhere", workers=1):
        pass
    assert caught.value.exit_code == 3


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed the extra learns how to."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(NoDaskError, match="--extra dask"), dask_workers("local", workers=1):
        pass
