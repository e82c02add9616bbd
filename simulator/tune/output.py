"""Where a tuning writes its settings: never over what somebody else wrote, and not into a folder that takes nothing."""

from collections.abc import Iterable
from pathlib import Path

from reference_daemon.policy.errors import HarnessError
from scenarios.run_directory import write_whole
from simulator.tune.env_file import MARK


class OutputError(HarnessError):
    """The settings must not be written there."""

    exit_code = 2

    def __init__(self, path: Path, reason: str) -> None:
        """Keep both."""
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        """Name both, and the way out."""
        return f"--output {self.path}: {self.reason}; name another file with -o"


def check_output(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output before any work is done for it.

    Args:
        output: Where the settings are to be written.
        inputs: Files that the tuning reads.

    Raises:
        OutputError: It is an input, a folder, or a file that no tuning wrote: its tokens and keys would be lost.
        RunDirectoryError: Nothing can be written there.
    """
    if output.resolve() in {path.resolve() for path in inputs}:
        raise OutputError(output, "this tuning reads it")
    if output.is_dir():
        raise OutputError(output, "it is a folder")
    if output.exists() and not output.read_bytes().startswith(MARK.encode()):
        raise OutputError(output, "it is there, and not made by exai tune")
    probe = output.with_name(f".{output.name}.probe")
    write_whole(probe, b"")
    probe.unlink()


__all__ = ["OutputError", "check_output"]
