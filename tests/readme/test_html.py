"""What is left of HTML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.readme.html import html_words


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("<b>bold</b> words", "bold words"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ('<img src="a.png" alt="A logo">', " A logo "),
        ("<IMG ALT='A logo' title=\"alt='no'\">", " A logo "),
        ("<img alt=logo>", " logo "),
        ("<img alt>", "  "),
        ('<a title="a > b">words</a>', "words"),
        ("<p don't>words</p>", "\nwords"),
        ("a < b and c > d", "a < b and c > d"),
        ("<script>if (a < b) alert('</p>')</script>words", "words"),
        ("<STYLE>p { }</Style >words", "words"),
        ("<script src=x />words", "words"),
        ("<script>never ends", ""),
        ("<!DOCTYPE html><?xml?>words", "words"),
        ("a &amp; b &lt;c&gt; &#233; &eacute; &copy &notit;", "a & b <c> é é © ¬it;"),
        ("see https://example.com/x for more", "see  for more"),
        ('<a href="never ends', '<a href="never ends'),
        ('<a href="x>words', '<a href="x>words'),
    ],
)
def test_html_is_reduced_to_its_words(html: str, words: str) -> None:
    assert html_words(html) == words


@pytest.mark.parametrize("html", ["<p>see <![foo]>", "<!ELEMENT [", "&#" + "9" * 5000, "<", "</"])
def test_odd_html_is_text_or_nothing_but_no_error(html: str) -> None:
    assert len(html_words(html)) <= len(html)


@given(st.text(st.sampled_from("<>/!?-[]&#;='\" \nabpx9") | st.characters(), max_size=60))
def test_any_text_can_be_read_as_html(text: str) -> None:
    assert isinstance(html_words(text), str)
