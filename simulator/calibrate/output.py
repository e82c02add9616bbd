"""Where a calibrated scenario may be written: not over its own recordings, and where there is a way to write."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile

from scenarios.run_directory import RunDirectoryError
from simulator.calibrate.recordings import CalibrationError


def check_output(output: Path, recordings: Iterable[Path]) -> None:
    """Refuse an output before the work is done that would be lost.

    Raises:
        CalibrationError: It is one of the recordings.
        RunDirectoryError: It cannot be written.
    """
    if output.exists() and any(output.samefile(recording) for recording in recordings):
        raise CalibrationError(f"--output {output}", "it is a recording that the scenario is made of")
    if output.is_dir():
        raise RunDirectoryError(output, "it is a directory")
    try:
        output.parent.mkdir(exist_ok=True)
        with TemporaryFile(dir=output.parent):
            pass  # where a file can be made, the scenario can
    except OSError as error:
        raise RunDirectoryError.of(output, error) from error
