"""Runs a command of `exai` with a seeded defect in it: `python -m chaos.defects.run NAME -- daemon --port 0`."""

import sys
from collections.abc import Sequence
from typing import Final

import exai
from chaos.defects import UnknownDefectError, find

_USAGE: Final = "usage: python -m chaos.defects.run NAME -- COMMAND ...\n"


def main(argv: Sequence[str]) -> int:
    """Apply the defect that comes first and run the command after the two dashes; return its exit status."""
    if len(argv) < 3 or argv[1] != "--":  # noqa: PLR2004 - a name, the dashes, a command
        sys.stderr.write(_USAGE)
        return exai.ExitCode.USAGE
    try:
        defect = find(argv[0])
    except UnknownDefectError as error:
        return exai.status_of(error)
    defect.apply()
    sys.stderr.write(f"exai: with the defect {defect.name}: {defect.title}\n")
    return exai.main(argv[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
