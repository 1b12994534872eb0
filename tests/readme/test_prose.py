"""Prose early: paragraphs that say later than is read what a README is about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.readme.prose import ENOUGH, LONG, prose_early

INSTALLATION = "## Installation\n\nsudo apt-get install tool\n\n- Debian\n- Arch"
SAYS = "Hedgerow compares " + "many files " * LONG + "with what there is."
ELSE = "Nobody should " + "ever sleep " * LONG + "without a blanket."


def test_a_paragraph_that_names_the_project_moves_into_what_is_read() -> None:
    text = f"# Hedgerow\n\n{INSTALLATION}\n\n{SAYS}\n\n## Licence"
    found = prose_early(text, 25)
    assert found == f"# Hedgerow\n\n{SAYS}\n\n{INSTALLATION}\n\n## Licence"


def test_it_goes_behind_a_short_description() -> None:
    text = f"# Hedgerow\n\nInfrastructure as text.\n\n{INSTALLATION}\n\n{SAYS}"
    found = prose_early(text, 80)
    assert found == f"# Hedgerow\n\nInfrastructure as text.\n\n{SAYS}\n\n{INSTALLATION}"


@pytest.mark.parametrize(
    "text",
    [
        f"# Hedgerow\n\n{INSTALLATION}\n\n{ELSE}",
        f"# Hedgerow\n\n{INSTALLATION}\n\nHedgerow plants infrastructure.",
        f"# Hedgerow\n\n{INSTALLATION}\n\n- {SAYS}",
        f"# Hedgerow\n\n{INSTALLATION}\n\n{SAYS.replace('files', '{f}')}",
        f"# Hedgerow\n\n{'A word. ' * ENOUGH}\n\n{SAYS}",
        f"# Hedgerow\n\n{'一个工具。' * ENOUGH}\n\n{SAYS}",
        "# Hedgerow",
        "",
    ],
    ids=["names nothing", "short", "a list", "code", "says enough", "in Chinese", "title", "empty"],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert prose_early(text, max(text.rfind("\n\n"), 0)) == text


def test_it_works_in_a_script_without_spaces() -> None:
    says = "树篱比较文件" + "和现有的东西" * LONG + "。"
    text = f"# 树篱\n\n{INSTALLATION}\n\n{says}"
    assert prose_early(text, 20) == f"# 树篱\n\n{says}\n\n{INSTALLATION}"


@given(
    st.lists(
        st.sampled_from(["# Tool", "tool " * 30 + ".", "Tool.", "- a", "x = {}", "", "| a |"])
        | st.text(max_size=80)
    ),
    st.integers(1, 400),
)
def test_no_paragraph_is_lost_or_made_up(parts: list[str], read: int) -> None:
    text = "\n\n".join(parts).strip()
    found = prose_early(text, read)
    assert sorted(found.split()) == sorted(text.split())
    assert found.partition("\n")[0] == text.partition("\n")[0]
