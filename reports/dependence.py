"""How far the calls of a run are from independent, and what that leaves of their number.

Calls that run at the same time share caps, queues, faults and providers: they are slow together and fail together,
so a thousand of them tell less than a thousand independent ones would. The time of both runs is cut into the same
blocks, each longer than calls usually influence each other. How much the two runs differ from block to block, beyond
what independent calls would, is the design effect; their numbers are divided by it before any interval is made.

What happens in both runs at the same moment of the scenario, a fault or a phase, cancels out: it is no chance.
What differs between whole runs (another machine, another hour) cannot be seen within them. That is what least effects
are for.

Source: L. Kish, "Survey Sampling", 1965, design effects; R. Woodruff, "Confidence Intervals for Medians and Other
Position Measures", JASA 47, 1952, the step from shares to quantiles.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

from reports.table import CallTable, Floats, Mask

LONG: Final = 1.0
"""Least length of a block, in median latencies: who comes after that has mostly met other calls."""

MOST_BLOCKS: Final = 30

FEWEST_BLOCKS: Final = 4
"""With fewer, nobody can say how far the calls are from independent."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The same stretches of both runs.

    Attributes:
        number: How many there are.
        of_run: For each call of the run the number of its block.
        of_baseline: The same for the baseline.
    """

    number: int
    of_run: npt.NDArray[np.intp]
    of_baseline: npt.NDArray[np.intp]

    def design_effect(self, run: tuple[Mask, Mask], baseline: tuple[Mask, Mask]) -> float:
        """Return by how much the variance of a difference of shares exceeds that of independent calls; at least 1.

        Args:
            run: Which of the run's calls are counted, and which have what is counted.
            baseline: The same for the baseline.
        """
        deviations = self._deviations(self.of_run, *run) - self._deviations(self.of_baseline, *baseline)
        seen = float(deviations @ deviations) * self.number / (self.number - 1)
        expected = _variance(*run) + _variance(*baseline)
        return max(1.0, seen / expected) if expected > 0 else 1.0

    def _deviations(self, blocks: npt.NDArray[np.intp], counted: Mask, having: Mask) -> Floats:
        """Return how much each block moves the share."""
        calls = np.bincount(blocks[counted], minlength=self.number)
        hits = np.bincount(blocks[counted & having], minlength=self.number)
        deviations: Floats = (hits - calls * (hits.sum() / calls.sum())) / calls.sum()
        return deviations

    def penalty(self, tail: float) -> float:
        """Return by how much so few blocks make an interval wider, as a factor of the variance (Student's t)."""
        return float((stdtrit(self.number - 1, tail) / ndtri(tail)) ** 2)


def _variance(counted: Mask, having: Mask) -> float:
    n = np.count_nonzero(counted)
    share = np.count_nonzero(counted & having) / n
    return float(share * (1.0 - share) / n)


def blocks_of(run: CallTable, baseline: CallTable) -> Blocks:
    """Cut both runs into the same blocks of time; both must have calls."""
    start = min(float(run.intended_at.min()), float(baseline.intended_at.min()))
    span_s = max(float(run.intended_at.max()), float(baseline.intended_at.max())) - start
    latencies = np.concatenate((run.latency_s[run.ended], baseline.latency_s[baseline.ended]))
    usual_s = float(np.median(latencies)) if len(latencies) else 0.0
    number = max(1, int(min(MOST_BLOCKS, span_s / (LONG * usual_s) if usual_s > 0 else MOST_BLOCKS)))
    length_s = span_s / number or 1.0
    of_run, of_baseline = (
        np.minimum((table.intended_at - start) / length_s, number - 1).astype(np.intp) for table in (run, baseline)
    )
    return Blocks(number, of_run, of_baseline)
