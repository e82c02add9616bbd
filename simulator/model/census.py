"""How many are inside, counted two ways that know nothing of each other: so that Little's law can be held against both.

Each passage through a system has a beginning and an end. `area_s` sums, over time, how many are inside; it is kept from
a count that goes up and down, and would show an end that is missed or comes twice. `stays_s` sums how long each one
that left was there, by its own two moments.
"""


class Census:
    """What went through one system.

    Attributes:
        inside: How many are inside.
        most: Most that ever were inside at once.
        left: How many have left.
        area_s: The integral of `inside` over time, up to `seen_at`.
        stays_s: Sum of the stays of those that left.
        spans: From when until when each of those was inside.
        seen_at: Moment of the last change.
    """

    __slots__ = ("area_s", "inside", "left", "most", "seen_at", "spans", "stays_s")

    def __init__(self) -> None:
        """Begin empty, at 0."""
        self.inside = self.most = self.left = 0
        self.area_s = self.stays_s = self.seen_at = 0.0
        self.spans: list[tuple[float, float]] = []

    def enter(self, now: float) -> None:
        """Count one in."""
        inside = self.inside
        self.area_s += inside * (now - self.seen_at)
        self.seen_at = now
        self.inside = inside = inside + 1
        if inside > self.most:  # noqa: PLR1730 - `max` costs a call
            self.most = inside

    def leave(self, now: float, entered_at: float) -> None:
        """Count one out that came at `entered_at`."""
        self.area_s += self.inside * (now - self.seen_at)
        self.seen_at = now
        self.inside -= 1
        self.left += 1
        self.stays_s += now - entered_at
        self.spans.append((entered_at, now))
