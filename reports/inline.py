"""A plot as part of the page: in the page's colours, and each mark of a call names its trace_id."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup

from reports.charts.style import GRID, INK, PAPER, QUIET, SHADE

_THEMED: Final = {
    INK: "var(--ink)",
    QUIET: "var(--quiet)",
    GRID: "var(--line)",
    SHADE: "var(--fault)",
    PAPER: "var(--paper)",
}
"""Colours of the plots that follow the page's theme; those of the outcomes are legible on both."""

_PROLOGUE: Final = re.compile(r"\A.*?(?=<svg\b)", re.DOTALL)
_COMMENT: Final = re.compile(r"<!--.*?-->\s*", re.DOTALL)
_ID: Final = re.compile(r'(\bid="|href="#|url\(#)')
_USE: Final = re.compile(r"<use\b[^>]*/>")


class Mark:
    """What a mark says when somebody points at it, and where it leads.

    Attributes:
        words: The call in a line, with its trace_id.
        target: Anchor of its row in a table of the page; None if it has none.
    """

    __slots__ = ("target", "words")

    def __init__(self, words: str, target: str | None) -> None:
        self.words, self.target = words, target


def inline(
    svg: bytes, name: str, marks: Mapping[str, Sequence[Mark]] | None = None, titles: Mapping[str, str] | None = None
) -> Markup:
    """Make an SVG file part of a page: without its prologue, with ids of its own, in the page's colours.

    Args:
        svg: The file.
        name: Goes before each id, so that no id of the page occurs twice.
        marks: What the marks of each group say, in the order in which they were drawn, by the group's id.
        titles: What a group says as a whole when somebody points at it, by its id.
    """
    text = _COMMENT.sub("", _PROLOGUE.sub("", svg.decode()))
    for group, said in (marks or {}).items():
        text = _name_marks(text, group, said)
    for group, words in (titles or {}).items():
        text = text.replace(f'<g id="{group}">', f'<g id="{group}"><title>{html.escape(words)}</title>')
    text = _ID.sub(rf"\1{name}-", text).replace(f'href="#{name}-{_TO_PAGE}', 'href="#')
    for colour, variable in _THEMED.items():
        text = text.replace(colour, variable)
    return Markup(text)  # noqa: S704 - our own drawing; its letters are paths, and the words of marks are escaped


_TO_PAGE: Final = "page:"
"""Before the target of a link that leaves the drawing, whose ids get no name before them."""


def _name_marks(text: str, group: str, marks: Sequence[Mark]) -> str:
    """Give each mark of a group its words; one with a row of its own becomes a link, which Tab reaches, too."""
    start = text.find(f'<g id="{group}">')
    if start < 0:
        return text
    # A group has no group but the one around its marks, so its end is the second one.
    end = text.find("</g>", text.find("</g>", start) + 1)
    block = text[start:end]
    if len(_USE.findall(block)) != len(marks):
        return text  # some mark is not drawn: better no names than wrong ones
    rest = iter(marks)
    return text[:start] + _USE.sub(lambda found: _named(found[0], next(rest)), block) + text[end:]


def _named(use: str, mark: Mark) -> str:
    title = f"<title>{html.escape(mark.words)}</title>"
    if mark.target is None:
        return f"<g>{title}{use}</g>"
    words = html.escape(mark.words, quote=True)
    return f'<a href="#{_TO_PAGE}{mark.target}" aria-label="{words}">{title}{use}</a>'
