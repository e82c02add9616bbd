"""The findings' document: each experiment's tables stand between two marks, its plots in a folder beside it."""

import dataclasses
import re
from typing import Final

from reports.markdown import study_to_markdown
from reports.study import Study

_HEADINGS: Final = re.compile(r"^(#+) ", re.MULTILINE)
_TITLE: Final = 2
"""Lines that a study begins with: its heading, and an empty one. The document has its own heading."""


class NoPlaceError(ValueError):
    """The document has no marks for a finding."""


def block(study: Study, command: str, plots: str) -> str:
    """Return what the document says of a study: how it was made, what came out, tables and plots.

    Args:
        study: What came out.
        command: With which it can be made again.
        plots: Folder of the plots, as the document names it.
    """
    lines = study_to_markdown(dataclasses.replace(study, sections=())).splitlines()[_TITLE:]
    parts = [f"`{command}`, {'; '.join(f'{name}: {value}' for name, value in study.settings.items())}.", *lines]
    for section in study.sections:
        one = dataclasses.replace(study, headline="", sections=(section,))
        text = "\n".join(study_to_markdown(one).splitlines()[_TITLE:])
        parts.append(_HEADINGS.sub("#### ", text).strip())
        parts += [f"![{chart.title}]({plots}/{study.name}-{chart.name}.svg)" for chart in section.charts]
    return "\n\n".join(part.strip() for part in parts if part.strip())


def check_place(document: str, name: str) -> None:
    """Refuse a document that has no marks for a finding.

    Raises:
        NoPlaceError: It has none.
    """
    if _marks(name).search(document) is None:
        raise NoPlaceError(
            f"no place for {name}: it must have the marks <!-- exai findings {name} --> and <!-- end -->"
        )


def replaced(document: str, name: str, text: str) -> str:
    """Return the document with a finding's text between its marks.

    Raises:
        NoPlaceError: It has none.
    """
    check_place(document, name)
    return _marks(name).sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", document)


def _marks(name: str) -> re.Pattern[str]:
    return re.compile(f"(<!-- exai findings {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
