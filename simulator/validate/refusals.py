"""Which attempts were answered 429, call by call: by the daemon's own log, and by the model's own count."""

from collections import Counter
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from scenarios.events import AnyEvent, DaemonCall, Frame
from simulator.model.run import ModelRun


def refused_in_drill(events: Iterable[AnyEvent]) -> Mapping[str, int]:
    """Return the refusals with 429 by trace_id: by the daemon's log, or by what clients got where there is none."""
    daemon: Counter[str] = Counter()
    clients: Counter[str] = Counter()
    logged = False
    for event in events:
        if isinstance(event, DaemonCall):
            logged = True
            daemon[event.trace_id or ""] += event.what == "refused" and event.status == HTTPStatus.TOO_MANY_REQUESTS
        elif isinstance(event, Frame):
            refused = event.direction == "received" and event.status == HTTPStatus.TOO_MANY_REQUESTS
            clients[event.trace_id or ""] += refused
    return +(daemon if logged else clients)


def refused_in_model(run: ModelRun) -> Mapping[str, int]:
    """Return the refusals with 429 by trace_id, as the calls of a model run got them."""
    return {call.trace_id: ended.refused for call, ended in zip(run.calls, run.ended, strict=True) if ended.refused}
