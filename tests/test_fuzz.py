"""Hostile input of every kind, a little of it; `make fuzz` has much more.

A failure here is had again by `PYTHONPATH=tests python -m fuzz --only KIND:NUMBER`.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import checks
from fuzz.readmes import ASCIIDOC, HTML, MARKDOWN, RST, File
from fuzz.runner import Runner, random_of
from support import misbehaving

pytestmark = pytest.mark.slow

COUNTS = {
    "readme": 2_000,
    "ranked": 100,
    "vocabulary": 60,
    "dump": 60,
    "parquet": 60,
    "model": 40,
    "answer": 40,
    "command": 30,
}
ENDINGS = [".md", ".rst", ".adoc", ".txt", ""]

free = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner("0", checks.KINDS, jobs=2) as made:
        yield made


@pytest.mark.parametrize("kind", COUNTS)
def test_hostile_input_is_used_or_refused_in_order(runner: Runner, kind: str) -> None:
    summary = runner.run(kind, range(COUNTS[kind]), enough=3)
    assert [f"{kind}:{failure.number} {failure[1:4]}" for failure in summary.failures] == []


def test_every_kind_is_tried() -> None:
    assert set(COUNTS) == set(checks.KINDS)


@free
@given(st.text(), st.sampled_from(ENDINGS))
def test_any_text_is_a_readme_or_refused(text: str, ending: str) -> None:
    checks.check_readme(File(f"README{ending}", text.encode("utf-8", "surrogatepass")))


@free
@given(st.binary(max_size=2_000), st.sampled_from(ENDINGS))
def test_any_bytes_are_a_readme_or_refused(data: bytes, ending: str) -> None:
    checks.check_readme(File(f"README{ending}", data))


MARKUP = {".md": MARKDOWN.marks + HTML.marks, ".rst": RST.marks, ".adoc": ASCIIDOC.marks}


@free
@given(st.data(), st.sampled_from(sorted(MARKUP)))
def test_any_row_of_marks_is_a_readme_or_refused(data: st.DataObject, ending: str) -> None:
    text = "".join(data.draw(st.lists(st.sampled_from(MARKUP[ending]), max_size=40)))
    checks.check_readme(File(f"README{ending}", text.encode()))


@free
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_anything_is_a_list_of_tags_or_refused(data: bytes) -> None:
    checks.check_vocabulary(data)


# The harness itself


def test_what_goes_wrong_is_found_and_the_rest_is_done() -> None:
    seed, numbers = "31", range(6)  # which meet every way
    ways = [misbehaving.way(random_of(seed, "odd", number)) for number in numbers]
    assert set(ways) == set(range(len(misbehaving.WAYS)))
    with Runner(seed, misbehaving.KINDS, jobs=2, limit=0.1) as runner:
        summary = runner.run("odd", numbers)
    found = {failure.number: failure.what for failure in summary.failures}
    assert [found.get(n) for n in numbers] == [misbehaving.WAYS[way] for way in ways]
    assert set(summary.seconds) == set(numbers)


def test_a_kind_may_take_the_time_that_it_is_granted() -> None:
    with Runner("0", misbehaving.KINDS, limit=0.1) as runner:
        assert not runner.run("slow", range(2)).failures


@pytest.mark.parametrize("kind", COUNTS)
def test_a_case_depends_on_its_number_alone(kind: str) -> None:
    make = checks.KINDS[kind].make
    for number in range(20):
        assert make(random_of("0", kind, number)) == make(random_of("0", kind, number))
