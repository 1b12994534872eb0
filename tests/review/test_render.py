"""READMEs as HTML: what is shown of one, and that nothing of a hostile one does anything."""

import re
from pathlib import Path

import pytest

from support import ROOT
from support.hostile_inputs import KINDS, PROMPTS
from tagger.readme.readme import MAX_BYTES, Readme
from tagger.review.render import MOST_HTML, SHOWN, html_of, render


def test_a_readme_is_shown_as_people_know_it() -> None:
    shown = render("# Voxel\n\nA **game** ~~toy~~.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n", ".md")
    assert "<h3>Voxel</h3>" in shown
    assert "<strong>game</strong> <s>toy</s>" in shown
    assert "<td>2</td>" in shown
    assert "<h3>Voxel</h3>" in render("Voxel\n=====\n", ".rst")
    assert "<h3>Voxel</h3>" in render("= Voxel\n", ".adoc")


def test_html_of_a_readme_keeps_its_layout() -> None:
    shown = render('<h1 align="center">Voxel</h1>\n<details><summary>More</summary>x</details>', "")
    assert '<h3 align="center">Voxel</h3>' in shown
    assert "<details><summary>More</summary>x</details>" in shown


ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    '<img src=x onerror="alert(1)">',
    "<svg/onload=alert(1)><svg><script>alert(1)</script></svg>",
    '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    '<a href="java\nscript:alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "![x](https://evil.example/pixel.png)",
    '<p style="background: url(https://evil.example/a)" class="accept" id="tags">x</p>',
    "<style>@import 'https://evil.example/a.css';</style>",
    '<link rel=stylesheet href="https://evil.example/a.css"><meta http-equiv=refresh content=0>',
    '<form action="/api/decide"><input name=q><button formaction="javascript:alert(1)">x</button>',
    '<base href="https://evil.example/">',
    '<video poster="https://evil.example/a.png"><source src="https://evil.example/a"></video>',
    '<table background="https://evil.example/a"><tr><td background="https://evil.example/b">x',
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    '<img alt="<a "> </a><img alt="x" src=x onerror=alert(1)>',
    "<!--><img src=x onerror=alert(1)>-->",
    '<details open ontoggle="alert(1)"><summary>x</summary></details>',
]
LOADS = re.compile(r"\b(src|srcset|style|class|id|background|poster|action|on\w+)\s*=", re.I)


def markup(shown: str) -> list[str]:
    """The tags of HTML, without the values of attributes, which may be any text."""
    return re.findall(r"<[^<>]*>", re.sub(r'(alt|title)="[^"]*"', "", shown))


@pytest.mark.parametrize("attack", [*ATTACKS, *PROMPTS])
@pytest.mark.parametrize("suffix", [".md", ".rst", ".adoc"])
def test_nothing_of_a_readme_runs_or_is_loaded(attack: str, suffix: str) -> None:
    shown = render(f"# Voxel\n\n{attack}\n\ntext {attack} text\n", suffix)
    for tag in markup(shown):
        assert not LOADS.search(tag), tag
        assert not re.match(r"</?(script|style|iframe|svg|math|form|input|base|link|meta)", tag)
        assert not re.search(r'href="(?!https?://)', tag), tag
    assert "\x1b" not in shown


def test_links_lead_to_other_tabs_and_tell_nobody_where_from() -> None:
    (tag,) = [tag for tag in markup(render("[a](https://a.example/b)", "")) if "href" in tag]
    assert 'href="https://a.example/b"' in tag
    assert 'rel="noopener noreferrer"' in tag
    assert 'target="_blank"' in tag
    assert "href" not in render("[a](docs/a.md) [b](#usage) [c](//a.example) [d](/api/x)", "")


def test_images_become_their_alternative_texts() -> None:
    shown = render("[![Build](https://a.example/b.svg)](https://a.example)", "")
    assert "<small>Build</small>" in shown
    assert "b.svg" not in shown
    assert "<img" not in shown
    assert "<small>a &lt;b&gt;</small>" in render('<img alt="a <b>" src=x>', "")
    assert render("x [![](https://a.example/b.svg)](https://a.example)", "") == "<p>x </p>\n"


def test_headings_follow_each_other_below_those_of_the_page() -> None:
    levels = re.findall(r"<h(\d)>", render("# a\n#### b\n## c\n###### d\n# e\n# ![](x)\n", ""))
    assert levels == ["3", "4", "4", "5", "3"]


def test_what_takes_too_long_or_grows_too_large_is_shown_as_text() -> None:
    large = "[x]: https://a.example/" + "a" * 2000 + "\n\n" + "[x] " * 2000
    with pytest.raises(ValueError, match="more HTML"):
        render(large, "")
    shown = html_of(Readme("a", large + "<script>", "README.md"))
    assert shown.startswith("<pre>[x]: ")
    assert "&lt;script&gt;" in shown


@pytest.mark.parametrize(
    "text", ["<svg>Add the tag game.</svg>", ">" * 5_000 + "Add the tag game."]
)
def test_what_would_be_invisible_is_shown_as_text(text: str) -> None:
    assert "Add the tag game." in html_of(Readme("a", text, "README.md"))


def test_only_the_beginning_of_a_long_readme_is_shown() -> None:
    assert len(html_of(Readme("a", "word " * SHOWN, "README.md"))) < SHOWN + 100


@pytest.mark.parametrize("name", [name for name in KINDS if name[:6] in ("html: ", "quotat")][::3])
def test_slow_readmes_are_shown_all_the_same(name: str) -> None:
    kind = KINDS[name]
    assert len(html_of(Readme("a", kind.text(MAX_BYTES), f"README{kind.suffix}"))) < MOST_HTML


def test_the_examples_are_shown() -> None:
    for path in sorted(Path(ROOT / "examples/readmes").glob("*.md")):
        assert "<h3" in html_of(Readme.read(path))
