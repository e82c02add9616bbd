"""The processes of `bench_limits.py`: servers whose memory can be read, and the load that talks to them."""

import os
import resource
import subprocess
import sys
from pathlib import Path

from bench_daemon import HERE, ServerProcess


def raise_descriptors() -> int:
    """Allow this process and its children as many open files as the machine lets them; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class LoadProcess:
    """`bench_limits_load.py` as a process; it ends when it is closed."""

    def __init__(self, server: ServerProcess) -> None:
        """Start it; it opens nothing yet."""
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "bench_limits_load.py"), str(server.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )

    def do(self, command: str, number: int = 0) -> list[float]:
        """Let it do something, and return the numbers that it answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command} {number}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load ended at `{command} {number}`")
        return [float(word) for word in line.split()]

    def close(self) -> None:
        """End it, and all its connections."""
        self._process.kill()
        self._process.wait()


def resident_bytes(server: ServerProcess, kind: str = "VmRSS") -> int:
    """Return the memory that a server holds, in bytes; of `RssAnon`, that without the files that are mapped into it."""
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {kind}: this benchmark needs Linux")
