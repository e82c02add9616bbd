"""What a host's name or address says by itself."""

import pytest

from reference_daemon.addresses import is_address, is_unspecified
from reference_daemon.clock import Clock
from reference_daemon.door import Door
from reference_daemon.sessions import Sessions
from reference_daemon.settings import Settings
from reference_daemon.token_guard import TokenGuard


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_an_unspecified_host_is_every_address(host: str) -> None:
    """0.0.0.0, :: and nothing stand for every address of the machine."""
    assert is_unspecified(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "localhost", "0.0.0.0.evil.example"])
def test_a_specified_host_is_not(host: str) -> None:
    """An address of its own, or a name, stands for itself."""
    assert not is_unspecified(host)


def test_a_name_that_looks_like_an_address_is_none() -> None:
    """Only a whole IP address is one."""
    assert is_address("10.0.0.1")
    assert is_address("fe80::1")
    assert not is_address("10.0.0.1.evil.example")


@pytest.mark.parametrize(
    ("bound", "named", "fits"),
    [
        ("0.0.0.0", "10.1.2.3:8765", True),
        ("::", "[fe80::1]:8765", True),
        ("0.0.0.0", "evil.example", False),
        ("10.1.2.3", "10.1.2.3:8765", True),
        ("10.1.2.3", "10.1.2.4:8765", False),
    ],
)
def test_a_daemon_on_every_address_answers_for_any_address(bound: str, named: str, fits: bool) -> None:
    """A name can be rebound to this machine and is refused; an address cannot, so a client may name the one it used."""
    settings = Settings().model_copy(update={"host": bound})
    door = Door(settings, TokenGuard("correct horse battery staple"), Sessions(1), Clock(), boot_id="boot")
    assert door._host_fits([named]) is fits
