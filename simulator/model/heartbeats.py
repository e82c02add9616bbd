"""When a client would have heard of its call: heartbeats come at fixed intervals from admission to answer."""

from collections.abc import Iterable, Iterator
from itertools import pairwise


def heard(
    acked_at: float, finished_at: float, interval_s: float, lost: Iterable[tuple[float, float]] = ()
) -> tuple[float | None, float]:
    """Return the time to the first heartbeat, None without one, and the longest silence until the answer.

    Args:
        acked_at: When the call was admitted.
        finished_at: When its answer came.
        interval_s: Seconds between two heartbeats.
        lost: From when until when its connection was lost; one that comes back brings a heartbeat at once.
    """
    stay_s = finished_at - acked_at
    gone = [span for span in lost if span[0] >= acked_at]
    if not gone:
        return (interval_s, interval_s) if stay_s > interval_s else (None, stay_s)
    beats = list(_beats(acked_at, finished_at, interval_s, gone))
    signs = [acked_at, *beats, finished_at]
    return (beats[0] - acked_at if beats else None), max(later - sooner for sooner, later in pairwise(signs))


def _beats(acked_at: float, finished_at: float, interval_s: float, gone: list[tuple[float, float]]) -> Iterator[float]:
    """Return the heartbeats that came through, in their order."""
    sent = [acked_at + number * interval_s for number in range(1, int((finished_at - acked_at) / interval_s) + 1)]
    through = [at for at in sent if at < finished_at and not any(start <= at < end for start, end in gone)]
    return iter(sorted([*through, *(end for _, end in gone if end < finished_at)]))
