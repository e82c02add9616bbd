"""A browser for the tests that look at pages, and the page that they look at."""

import shutil
from pathlib import Path
from typing import Final

from reports.write import write_report
from scenarios.checks.judge import judge
from scenarios.history import Body
from scenarios.load import find_scenario, load_scenario
from scenarios.model_faults import Fault
from scenarios.record import Record
from scenarios.run import FaultProof, FaultWindow, Run
from simulator.model.engine import simulate
from simulator.model.settings import model_settings

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def browser_path() -> str | None:
    """Return a browser of this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def window_of(fault: Fault) -> FaultWindow:
    """Return the window that a drill would have seen of a fault."""
    return FaultWindow(
        name=fault.title,
        title=f"{fault.title} on {fault.link or 'daemon'}",
        link=str(fault.link or "daemon"),
        started_at=fault.at,
        ended_at=fault.at + (fault.duration or 0.0),
        proof=FaultProof(bit=True, healed=True, evidence="answered in 2 ms before, 900 ms during, 3 ms after"),
    )


def chaos_record() -> Record:
    """Return the chaos stage as the model runs it, with all windows of its faults, and a failure of each kind."""
    scenario = load_scenario(find_scenario("04-chaos"))
    model = simulate(scenario, model_settings(scenario).config, seed=scenario.seed)
    run = Run(
        scenario=scenario.name,
        title=scenario.title,
        body=Body.REAL,
        started_at="2026-01-02T03:04:05Z",
        wall_s=38.8,
        time_scale=scenario.time_scale,
        seed=scenario.seed,
        timeouts_s={"call timeout": 180.0, "expert budget": 90.0, "heartbeat interval": 5.0},
        caps={"global": 16},
        faults=tuple(map(window_of, scenario.faults)),
        versions={"Toxiproxy": "2.12.0"},
    )
    return Record(run, model.calls, ())


def write_chaos_report(directory: Path) -> Record:
    """Write the report of the chaos stage and return its record."""
    record = chaos_record()
    write_report(directory, record, judge(load_scenario(find_scenario("04-chaos")), record))
    return record
