"""What is left of a README's Markdown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.readme.markdown import CODE_LINES, plain_text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("# Title\n\nSome *words* and `code`.", "# Title\n\nSome words and code."),
        ("Title\n=====", "# Title"),
        ("[![Build](https://x.example/b.svg)](https://x.example)", "Build"),
        ("[docs](https://example.com/a-very-long-target) here", "docs here"),
        ("[docs][1]\n\n[1]: https://example.com", "docs"),
        ("See https://example.com/path?q=1 for more", "See for more"),
        ("before <!-- a comment --> after", "before after"),
        ("<!-- a\ncomment -->\ntext", "text"),
        (
            '<p align="center"><img src="logo.png" alt="Logo"><b>Bold</b> words</p>',
            "Logo Bold words",
        ),
        ("<script>alert(1)</script>\n\ntext", "text"),
        ("- one\n- two\n  - three", "- one\n- two\n- three"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a | b |\n1 | 2 |"),
        ("a &amp; b &lt;c&gt;", "a & b <c>"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\x1b[31mred\x1b[0m \x07bell\u200b", "red bell"),
        ("~~~python\nprint()\n~~~", "print()"),
        ("<p>see <![foo]> this", "see this"),
        (f"<p>&#{'9' * 5000}; words", f"&#{'9' * 5000}; words"),
    ],
)
def test_markup_is_reduced_to_words(markdown: str, text: str) -> None:
    assert plain_text(markdown) == text


def test_code_blocks_are_shortened() -> None:
    code = "\n".join(f"line {number}" for number in range(100))
    kept = plain_text(f"```\n{code}\n```\nafter").split("\n")
    assert kept == [*(f"line {number}" for number in range(CODE_LINES)), "", "after"]


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "> " * 5_000 + "x", "<" * 20_000, "*_" * 10_000, "<!-- " * 20_000]
)
def test_hostile_nesting_ends(text: str) -> None:
    assert len(plain_text(text)) <= len(text) + 10


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_gives_text_without_control_characters(text: str) -> None:
    result = plain_text(text)
    assert not any(ord(char) < 32 and char not in "\n\t" for char in result)
    assert "\n\n\n" not in result
