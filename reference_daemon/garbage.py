"""How often the collector of reference cycles looks for some.

It starts anew with every 700 objects that are made and not freed yet. In a daemon these are calls in flight and kept
answers, which are freed by counting references like nearly everything here; it took a tenth of the daemon's time to
look at them, and at every loaded module with them, and to find nothing. What does leave cycles is a connection that has
ended, some 11 KB of them: so the old objects are looked at, too, before thousands of those add up.
"""

import gc
from typing import Final

OBJECTS: Final = 10_000
"""New objects before the young ones are looked at: some megabytes, which a cycle may hold for as long."""

ROUNDS: Final = 2
"""Looks at the young objects for one at those that stayed, and so on: more of them would let what is left of ended
connections grow by as many times."""


def look_rarely() -> None:
    """Leave alone what was loaded until now, and look for cycles in the rest less often. Of this process as a whole."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, ROUNDS, ROUNDS)
