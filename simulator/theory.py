"""What queueing theory says exactly, to hold the model against it.

Sources: A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic telephone
exchanges", 1917; J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9, 1961.
"""


def erlang_b(servers: int, offered: float) -> float:
    """Return the share of arrivals that a loss system refuses.

    Args:
        servers: Calls that it takes at once; at least 1.
        offered: Arrivals per second times mean duration in seconds: erlangs; above 0.

    Raises:
        ValueError: An argument is out of range.
    """
    _check(servers, offered)
    blocking = 1.0
    for busy in range(1, servers + 1):  # the stable recursion; the sum of powers overflows
        blocking = offered * blocking / (busy + offered * blocking)
    return blocking


def erlang_c(servers: int, offered: float) -> float:
    """Return the share of arrivals that must wait where they queue without end.

    Raises:
        ValueError: An argument is out of range, or the queue would grow for ever.
    """
    if offered >= servers:
        raise ValueError(f"offered = {offered!r}: must be below servers, {servers}")
    blocking = erlang_b(servers, offered)
    return servers * blocking / (servers - offered * (1.0 - blocking))


def erlang_c_wait_s(servers: int, offered: float, mean_s: float) -> float:
    """Return the mean wait of all arrivals, in the unit of `mean_s`, the mean duration."""
    return erlang_c(servers, offered) * mean_s / (servers - offered)


def _check(servers: int, offered: float) -> None:
    if servers < 1:
        raise ValueError(f"servers = {servers!r}: must be at least 1")
    if not 0.0 < offered < float("inf"):
        raise ValueError(f"offered = {offered!r}: must be finite and above 0")
