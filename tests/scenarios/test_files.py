"""What a file must be before it is looked at as a scenario: there, small, YAML, without endless aliases."""

import textwrap
from pathlib import Path

import pytest

from scenarios.lines import read_document
from scenarios.load import MAX_BYTES, ScenarioError, load_scenario
from tests.scenarios.files import GOOD, loaded, mistakes_of

NO_MAPPING = "must be a mapping with name, title, providers, load and expect"


class TestFiles:
    def test_missing(self, file: Path) -> None:
        """A file that is not there has no lines."""
        with pytest.raises(ScenarioError) as caught:
            load_scenario(file)
        assert str(caught.value) == f"{file}: no such file"

    def test_unreadable(self, tmp_path: Path) -> None:
        """What the system says about a file is repeated."""
        with pytest.raises(ScenarioError, match="cannot be read: Is a directory"):
            load_scenario(tmp_path)

    def test_largest(self, file: Path) -> None:
        """A file may have exactly as many bytes as are allowed."""
        assert loaded(file, GOOD + "#" * (MAX_BYTES - len(GOOD) - 1) + "\n").name == "tiny"

    def test_too_large(self, file: Path) -> None:
        """One byte more is too large; nothing of the file is looked at."""
        assert mistakes_of(file, "[" * (MAX_BYTES + 1)) == ["larger than 1,000,000 bytes"]

    @pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a comment\n", "---\n..."])
    def test_empty(self, file: Path, text: str) -> None:
        """A file without a value is empty, or no mapping."""
        assert mistakes_of(file, text)[0].split(": ")[1] in {"the file is empty", NO_MAPPING}

    @pytest.mark.parametrize("text", ["- a\n- b\n", "just text", "7", "null"])
    def test_no_mapping(self, file: Path, text: str) -> None:
        """At the top stands a mapping."""
        assert mistakes_of(file, text) == [f"1: {NO_MAPPING}"]

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            (b"name: a\nload: [1, 2\n", 3),
            (b"name: a\n  title: b\n", 2),
            (b"name: a\ntitle: 'b\n", 3),
            (b"name: a\n---\nname: b\n", 2),
            (b"name: a\nseed: *seed\n", 2),
            (b"name: a\ntitle: !!python/name:os.system x\n", 2),
            (b"name: a\n? [b]\n: c\n", 2),
            (b"name: a\nseed: 0b_\n", 2),
            (b"name: a\ntitle: \x07\n", 2),
        ],
    )
    def test_no_yaml(self, file: Path, text: bytes, line: int) -> None:
        """A syntax error has its line; nothing else can be said about the file."""
        (found,) = mistakes_of(file, text)
        assert found.startswith(f"{line}: no valid YAML: ")

    def test_not_in_utf8(self, file: Path) -> None:
        """A file is text in UTF-8."""
        assert mistakes_of(file, b"name: a\ntitle: \xe4\n") == ["2: not in UTF-8"]

    def test_nested_too_deeply(self, file: Path) -> None:
        """No depth of nesting ends in a crash."""
        assert mistakes_of(file, "[" * 100_000) == ["1: nested too deeply"]

    def test_aliases_that_multiply(self, file: Path) -> None:
        """A few lines that stand for a thousand million values are refused before they are written out."""
        levels = [f"k{level}: &k{level} [{', '.join([f'*k{level - 1}'] * 10)}]" for level in range(1, 10)]
        found = mistakes_of(file, "\n".join(["k0: &k0 [1]", *levels]))
        assert found == ["1: aliases blow the file up to more than 1,000,000 values"]

    def test_alias_inside_of_itself(self, file: Path) -> None:
        """A value that holds itself has no end."""
        assert mistakes_of(file, "name: a\nload: &load [*load]\n") == ["2: an alias stands inside of what it refers to"]

    def test_key_given_twice_in_two_lists(self, file: Path) -> None:
        """Keys are compared within one mapping only, and a merged mapping may be overridden."""
        text = textwrap.dedent("""\
            name: a
            load: [{phase: a}, {phase: a}]
            retry: &retry {first: 1}
            again: {<<: *retry, first: 2}
            """)
        found = mistakes_of(file, text)
        assert any("load[1]" in mistake for mistake in found)  # it was looked at as a scenario
        assert not any("given twice" in mistake for mistake in found)


class TestPlaces:
    def test_innermost_part_that_is_there(self) -> None:
        """The line of a place that is not there is that of the part around it."""
        document = read_document("a: 1\nb:\n  - c: 2\n", "mine.yaml")
        assert document.line(("b", 0, "c")) == 3
        assert document.line(("b", 7)) == 2
        assert document.line(("a", 0)) == 1
        assert document.line(("z",)) == 1

    def test_empty_values_are_there(self) -> None:
        """A key without a value is there; an index past the end is not."""
        document = read_document("a:\nb: [~]\n", "mine.yaml")
        assert document.holds(())
        assert document.holds(("a",))
        assert document.holds(("b", 0))
        assert not document.holds(("b", 1))
        assert not document.holds(("a", 0))
