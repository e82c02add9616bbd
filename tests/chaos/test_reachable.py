"""The first look at a target."""

import socket

import pytest

from chaos.reachable import NobodyThereError, check_reachable


def test_a_target_that_listens_is_taken() -> None:
    """A connection is all that is asked for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_reachable(f"ws://127.0.0.1:{server.getsockname()[1]}")
        server.setblocking(False)
        connection, _ = server.accept()  # raises where nobody asked
        with connection:
            connection.settimeout(60.0)
            assert connection.recv(1) == b""


def test_where_nobody_listens_the_target_is_named() -> None:
    """The message names the address that was given, and ends the command with 3."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = f"ws://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(NobodyThereError, match=f"nobody listens at {target}: ") as raised:
        check_reachable(target)
    assert raised.value.exit_code == 3
