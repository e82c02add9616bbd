"""How often the collector of reference cycles looks for some.

It starts anew with every 700 objects that are made and not freed yet. In a daemon these are calls in flight and kept
answers, which are freed by counting references like nearly everything here; it took a tenth of the daemon's time to
look at them, and at every loaded module with them, and to find nothing.
"""

import gc
from typing import Final

OBJECTS: Final = 20_000
"""New objects before the young ones are looked at: some megabytes, which a cycle may hold for as long."""

ROUNDS: Final = 20
"""Looks at the young objects for one at those that stayed, and so on."""


def look_rarely() -> None:
    """Leave alone what was loaded until now, and look for cycles in the rest less often. Of this process as a whole."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, ROUNDS, ROUNDS)
