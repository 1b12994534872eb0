"""READMEs: Markdown, HTML, reStructuredText and AsciiDoc, in all sorts of bytes."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from fuzz.grammar import WORDS, Grammar, damaged, mutated, size

MOST = 160 * 1024
"""Characters of the longest README: more than is read of one."""

EXAMPLES = Path(__file__).parents[2] / "examples" / "readmes"

_ENCODINGS = (
    *("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "cp1251", "koi8-r"),
    *("gb18030", "big5", "shift_jis", "euc_jp", "cp949", "utf-7", "cp037"),
)


@dataclass(frozen=True)
class File:
    """A README as it lies in a folder."""

    name: str
    data: bytes


HTML = Grammar(
    {
        "block": (
            "<p>«inline»</p>\n",
            '<p align="center">\n«block»\n</p>\n',
            "<div>\n«block»«block»</div>\n\n",
            "<details><summary>«inline»</summary>\n\n«block»\n</details>\n",
            "<table><tr><td>«inline»</td><td>«block»</td></tr></table>\n",
            "<ul><li>«inline»<li>«block»</ul>\n",
            "<h1>«inline»</h1>\n",
            "<pre><code>«inline»\n</code></pre>\n",
            "<script>«inline»</script>\n",
            "<style>«inline»</style>",
            "<textarea>«inline»</textarea>",
            "<!-- «inline» -->\n",
            "<!--«inline»--!>",
            "<!doctype «word»>\n",
            "<![CDATA[«inline»]]>",
            "<![«word»]>",
            "<![if «word»]>«block»<![endif]>",
            "<!«word»>",
            "<?«word» «inline»?>\n",
            "</«word»>",
            "<svg><title>«inline»</title></svg>",
        ),
        "inline": (
            "«word»",
            "«word» «inline»",
            "<b>«inline»</b>",
            '<a href="«word»">«inline»</a>',
            '<img src="«word»" alt="«inline»">',
            "<img alt='«word»' «word»=«word» />",
            '<a «word»="',
            "<a/«word»",
            "<p «word» ",
            "<br>",
            "</b «word»>",
            "<«word»",
            "<",
            "&amp;",
            "&#«number»;",
            "&#x«word»;",
            "&notin«word»",
            "&",
        ),
        "number": ("0", "38", "55296", "1114112", "9" * 50, "x110000"),
    }
)

MARKDOWN = Grammar(
    {
        "block": (
            "«inline»\n\n",
            "# «inline»\n\n",
            "«inline»\n====\n\n",
            "- «inline»\n",
            "  - «block»",
            "1. «inline»\n   «block»",
            "9999999999) «inline»\n",
            "* * *\n",
            "> «block»",
            ">>> «inline»\n",
            "    «inline»\n",
            "\t«block»",
            "```«word»\n«inline»\n```\n",
            "~~~\n«block»",
            "| «inline» | «inline» |\n|---|:-:|\n| «inline» | «word» |\n\n",
            "|«inline»\n|-|\n",
            "[«word»]: «url» '«inline»'\n",
            "[^«word»]: «inline»\n",
            "---\ntitle: «word»\n---\n",
            "$$\n«inline»\n$$\n",
            "«html»\n",
            "\\\n",
            "\r",
            "\r\n",
        ),
        "inline": (
            "«word»",
            "«word» «inline»",
            "*«inline»*",
            "**«inline»**",
            "_«inline»_",
            "*_«inline»",
            "`«inline»`",
            "``«inline»` ",
            "[«inline»](«url»)",
            "[«inline»](<«url»> '«inline»')",
            "![«inline»](«url»)",
            "[![«inline»](«url»)](«url»)",
            "[«inline»][«word»]",
            "[«inline»]",
            "![«inline»][]",
            "[^«word»]",
            "<«url»>",
            "«url»",
            "~~«inline»~~",
            "\\«inline»",
            "&«word»;",
            "«html»",
            "«inline»  \n«inline»",
        ),
        "url": (
            "https://a.example/«word»",
            "http://a[",
            "ftp://",
            "mailto:a@b",
            "javascript:«word»",
            "#«word»",
            "(((«url»",
            "<",
            "data:image/png;base64,«word»",
        ),
        "html": tuple(text for texts in HTML.rules.values() for text in texts),
        "number": HTML.rules["number"],
    }
)


def _substitutions(random: Random) -> str:
    """Return substitutions that each stand for several of the next, used at the end."""
    levels, width = random.randint(2, 12), random.randint(1, 12)
    lines = [
        f".. |s{level}| replace:: " + f"|s{level + 1}| " * width for level in range(levels)
    ] + [f".. |s{levels}| unicode:: 0x41 0x301 .. x\n"]
    random.shuffle(lines)
    return "\n".join(lines) + "\n\n" + "|s0| " * size(random, 500) + "\n"


def _attributes(random: Random) -> str:
    """Return AsciiDoc's attributes that each stand for several of the next."""
    levels, width = random.randint(2, 12), random.randint(1, 12)
    lines = [f":s{level}: " + f"{{s{level + 1}}} " * width for level in range(levels)]
    return "\n".join(lines) + "\n\n" + "{s0} " * size(random, 500)


RST = Grammar(
    {
        "block": (
            "«inline»\n\n",
            "«word»\n========\n\n",
            "====\n«inline»\n====\n\n",
            "«inline»\n'''\n",
            "* «inline»\n",
            "  - «block»",
            "#. «inline»\n",
            "iv) «inline»\n",
            "    «block»",
            "| «inline»\n",
            ":«word»: «inline»\n",
            "«word»\n  «block»",
            "-a «word»  «inline»\n",
            "«inline»::\n\n    «word»\n\n",
            ">>> «word»\n",
            ".. «directive»:: «inline»\n\n   «block»",
            ".. «directive»:: «word»\n   :«option»: «word»\n\n",
            ".. |«word»| «directive»:: «inline»\n",
            ".. [«word»] «inline»\n",
            ".. _«word»: «url»\n",
            ".. __: «url»\n__ «word»_\n",
            ".. «inline»\n",
            "..\n\n  «block»",
            "+---+---+\n| «word» | «word» |\n+---+---+\n",
            "+-",
            "===  ===\n«word»  «word»\n===  ===\n\n",
            "--------\n\n",
        ),
        "inline": (
            "«word»",
            "«word» «inline»",
            "*«inline»*",
            "**«inline»**",
            "``«inline»``",
            "`«inline»`_",
            "`«inline» <«url»>`__",
            "`<",
            ":«word»:`«inline»`",
            "`«inline»`:«word»:",
            "|«word»|",
            "|«inline»|_",
            "«word»_",
            "[«word»]_",
            "[#]_",
            "_`«inline»`",
            "\\«inline»",
            "«url»",
            "<<«word»",
        ),
        "directive": (
            *("image", "figure", "include", "raw", "csv-table", "list-table", "table", "code"),
            *("math", "replace", "unicode", "date", "contents", "sectnum", "class", "role"),
            *("default-role", "title", "meta", "parsed-literal", "container", "epigraph", "note"),
            *("admonition", "topic", "sidebar", "compound", "header", "target-notes", "toctree"),
            *("literalinclude", "automodule", "highlight", "rubric", "line-block", "«word»"),
        ),
        "option": ("file", "url", "alt", "class", "name", "widths", "header", "encoding", "«word»"),
        "url": ("https://a.example/«word»", "/etc/passwd", "«word»_", "file:///etc/passwd", "a@b"),
    },
    _substitutions,
)

ASCIIDOC = Grammar(
    {
        "block": (
            "«inline»\n\n",
            "= «inline»\n",
            "====== «inline»\n\n",
            "* «inline»\n",
            "***** «inline»\n+\n",
            ". «block»",
            "«word»:: «inline»\n",
            "----\n«inline»\n----\n",
            "....\n«block»",
            "```«word»\n«inline»\n```\n",
            "====\n«block»====\n",
            "--\n«block»--\n",
            "|===\n|«inline» |«inline»\n|===\n",
            "////\n«inline»\n////\n",
            "// «inline»\n",
            "[«word»,«word»]\n",
            "[[«word»]]\n",
            ".«inline»\n",
            ":«word»: «inline»\n",
            "ifdef::«word»[]\n«block»endif::[]\n",
            "include::«url»[«inline»]\n",
            "image::«url»[«inline»]\n",
            "NOTE: «inline»\n",
            "'''\n",
            "<<<\n",
        ),
        "inline": (
            "«word»",
            "«word» «inline»",
            "*«inline»*",
            "**«inline»**",
            "_«inline»_",
            "`«inline»`",
            "+«inline»+",
            "``+«inline»+``",
            "#«inline»#",
            "^«word»^",
            "link:«url»[«inline»]",
            "xref:«word»[«inline»]",
            "«url»[«inline»^]",
            "mailto:«word»[«inline»]",
            "image:«url»[«inline»,«word»]",
            "<<«word»,«inline»>>",
            "<<",
            "{«word»}",
            "pass:[«inline»]",
            "footnote:[«inline»]",
            "((«inline»))",
            "kbd:[«word»]",
            "«inline» +\n«inline»",
        ),
        "url": ("https://a.example/«word»", "http://a[", "https:", "/etc/passwd", "«word»", "a["),
    },
    _attributes,
)

_KINDS: tuple[tuple[Grammar, tuple[str, ...]], ...] = (
    (MARKDOWN, (".md", ".markdown", "", ".txt", ".MD")),
    (HTML, (".md", ".md", ".html")),
    (RST, (".rst", ".rst", ".rest")),
    (ASCIIDOC, (".adoc", ".asciidoc", ".asc")),
)


@cache
def _examples() -> tuple[str, ...]:
    """Return real READMEs, to be cut up and spliced."""
    return tuple(path.read_text() for path in sorted(EXAMPLES.glob("*.md")))


def text(random: Random, most: int = MOST) -> str:
    """Return a README's text of up to so many characters, in any markup."""
    return _text(random, random.choice(_KINDS)[0], most)


def readme(random: Random) -> File:
    """Return a README as a file."""
    grammar, endings = random.choice(_KINDS)
    if random.random() < 0.05:
        endings = (".md", ".rst", ".adoc")
    return File(f"README{random.choice(endings)}", _bytes(random, _text(random, grammar, MOST)))


def short_readme(random: Random) -> File:
    """Return a README of a few pages at most."""
    grammar, endings = random.choice(_KINDS)
    data = _bytes(random, _text(random, grammar, 8 * 1024))
    return File(f"README{random.choice(endings)}", data)


def _text(random: Random, grammar: Grammar, most: int) -> str:
    if random.random() < 0.06:
        made = random.choice(_examples())
        for _ in range(random.randint(0, 8)):
            made = mutated(random, made)
        return made[:most]
    if random.random() < 0.04:
        return "".join(random.choices(WORDS, k=size(random, 3_000)))[:most]
    return grammar.text(random, most)


def _bytes(random: Random, made: str) -> bytes:
    """Return a text in UTF-8, or now and then in something else."""
    chance = random.random()
    if chance < 0.02:
        return random.randbytes(size(random, MOST))
    if chance < 0.12:
        return made.encode(random.choice(_ENCODINGS), "replace")
    data = made.encode("utf-8", "surrogatepass")
    return damaged(random, data) if chance < 0.2 else data
