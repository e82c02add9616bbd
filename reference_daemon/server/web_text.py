"""The words of an HTML page, without its markup, scripts and styles: what a model can use of it."""

import re
from html.parser import HTMLParser

_SILENT = frozenset({"script", "style", "template", "noscript", "svg"})
# Elements that stand on lines of their own.
_BLOCK = re.compile(
    r"address|article|aside|blockquote|br|d[dlt]|div|fieldset|figcaption|figure|footer|form|h[1-6r]|header"
    r"|li|main|nav|[ou]l|option|p|pre|section|table|t[dhr]|title"
)


def words_of(html: str) -> str:
    """Return the text of an HTML page: a line per block, spaces squeezed."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (re.sub(r"\s+", " ", line).strip() for line in "".join(reader.pieces).split("\n"))
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if self._silent is None and tag in _SILENT:
            self._silent = tag
        if _BLOCK.fullmatch(tag):
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._silent:
            self._silent = None
        if _BLOCK.fullmatch(tag):
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if self._silent is None:
            # Line ends of the source mean no more than a space.
            self.pieces.append(data.replace("\n", " "))
