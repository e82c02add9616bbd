"""YAML with line numbers: the values of a file, and where each of them stands.

The file is first read into a tree of nodes, which know their lines; what plain loading would swallow (a key given
twice, aliases that blow a small file up) is found there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

from scenarios.mistakes import Mistake, Path, ScenarioError, key_of

MAX_VALUES: Final = 1_000_000
"""Values in a file with its aliases written out; a file of 1 MB without aliases holds about half as many."""

_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """The safe loader; a date stays text, as nothing in a scenario is one."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the loader's own way of being told
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:  # noqa: FBT001, FBT002 - overridden
        """Return a node's value; what only looks like a number is an error with a place."""
        try:
            return super().construct_object(node, deep=deep)
        except ValueError as error:
            raise ConstructorError(None, None, "not a value of its type", node.start_mark) from error


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file that was read.

    Attributes:
        file: The file, as its reader named it.
        data: Its values.
        root: The tree of its nodes.
        repeated: Keys that are given twice.
    """

    file: str
    data: object
    root: yaml.Node = field(repr=False)
    repeated: tuple[Mistake, ...]

    def line(self, path: Path) -> int:
        """Return the line of what stands at `path`, or of the innermost part of it that is there."""
        node, line = self.root, _line(self.root)
        for part in path:
            entry = _entry(node, part)
            if entry is None:
                break
            line, node = entry
        return line

    def holds(self, path: Path) -> bool:
        """Return whether there is anything at `path`, be it an empty value."""
        if not path:
            return True
        outside, part = self.value(path[:-1]), path[-1]
        if isinstance(outside, list):
            return isinstance(part, int) and 0 <= part < len(outside)
        return isinstance(outside, dict) and part in outside

    def value(self, path: Path) -> object:
        """Return the value at `path`; None if there is none."""
        value: Any = self.data
        for part in path:
            try:
                value = value[part]
            except (TypeError, LookupError):  # no container, no such key, no such index
                return None
        return value

    def mistake(self, path: Path, reason: str, meant: str | None = None) -> Mistake:
        """Return a mistake at `path`."""
        return Mistake(file=self.file, line=self.line(path), key=key_of(path), reason=reason, nearest=meant)


def read_document(text: str, file: str) -> Document:
    """Read the only document of a YAML text.

    Raises:
        ScenarioError: It is no YAML, is empty, or is no tree of reasonable size.
    """
    try:
        return _read(text, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f"{error.context}, " if error.context else ""
        raise _failed(file, mark.line + 1 if mark else 1, f"no valid YAML: {context}{error.problem}") from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _failed(file, line, "no valid YAML: a character that is not allowed") from None
    except RecursionError:
        raise _failed(file, 1, "nested too deeply") from None


def _failed(file: str, line: int, reason: str) -> ScenarioError:
    return ScenarioError([Mistake(file=file, line=line, key="", reason=reason)])


def _read(text: str, file: str) -> Document:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            raise _failed(file, 1, "the file is empty")
        if _size(root, {}, file) > MAX_VALUES:
            raise _failed(file, 1, f"aliases blow the file up to more than {MAX_VALUES:,} values")
        repeated = tuple(_repeated(root, (), file, set()))  # before construction, which joins merged mappings
        return Document(file, loader.construct_document(root), root, repeated)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int | None], file: str) -> int:
    """Return how many values a node holds, aliases written out."""
    if id(node) in known:
        size = known[id(node)]
        if size is None:  # it is being counted: it holds itself
            raise _failed(file, _line(node), "an alias stands inside of what it refers to")
        return size
    known[id(node)] = None
    total = 1 + sum(_size(child, known, file) for child in _children(node))
    known[id(node)] = total
    return total


def _repeated(node: yaml.Node, path: Path, file: str, seen: set[int]) -> Iterator[Mistake]:
    """Find the keys that are given twice in the same mapping."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated(item, (*path, index), file, seen)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            here = (*path, str(key.value))
            name = str(key.value)
            if name in first:
                reason = f"given twice; the first is on line {first[name]}"
                yield Mistake(file=file, line=_line(key), key=key_of(here), reason=reason)
            first.setdefault(name, _line(key))
            yield from _repeated(value, here, file, seen)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _entry(node: yaml.Node, part: str | int) -> tuple[int, yaml.Node] | None:
    """Return line and node of an entry; that of a mapping's entry is the line of its key."""
    if isinstance(node, yaml.MappingNode):
        # From the end: of a merged mapping's keys, the mapping's own come last, and win.
        found = ((_line(key), value) for key, value in reversed(node.value) if key.value == str(part))
        return next(found, None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        item = node.value[part]
        return _line(item), item
    return None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
