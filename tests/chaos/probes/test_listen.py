"""What the kernel's tables of sockets say."""

from chaos.probes.listen import listening

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue\n"


def test_loopback_and_everywhere() -> None:
    """Addresses are written word by word in the machine's order; 0.0.0.0 is everywhere."""
    table = HEAD + "   0: 0100007F:223D 00000000:0000 0A 0:0\n   1: 00000000:223D 00000000:0000 0A 0:0\n"
    assert listening(table, 8765) == ["127.0.0.1", "0.0.0.0"]


def test_other_ports_and_states_do_not_count() -> None:
    """Only sockets that listen at the port are looked at."""
    table = HEAD + "   0: 00000000:223E 00000000:0000 0A 0:0\n   1: 00000000:223D 0100007F:9999 01 0:0\n"
    assert listening(table, 8765) == []


def test_ipv6() -> None:
    """An address of IPv6 has four words; one that stands for IPv4 is written as that."""
    loopback, everywhere = "0" * 24 + "01000000", "0" * 32
    mapped = "0" * 16 + "FFFF0000" + "0100007F"
    table = HEAD + "".join(f"  0: {each}:223D {everywhere}:0000 0A 0:0\n" for each in (loopback, everywhere, mapped))
    assert listening(table, 8765) == ["::1", "::", "127.0.0.1"]
