"""READMEs that nearly repeat one another share a group."""

import random

from tagger.learning.duplicates import near_duplicates

WORDS = [f"word{number}" for number in range(500)]


def prose(seed: int, count: int = 120) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def test_a_fork_with_another_title_is_in_the_group_of_its_origin() -> None:
    texts = [prose(1), "My fork\n\n" + prose(1).upper(), prose(2), prose(1)[: len(prose(1)) // 2]]
    groups = near_duplicates(texts)
    assert groups[0] == groups[1] == groups[3], "and a part of it too"
    assert groups[2] != groups[0]


def test_two_that_share_less_than_half_of_the_shorter_one_are_apart() -> None:
    shared, own, other = prose(1, 100), prose(2, 140), prose(3, 140)
    groups = near_duplicates([f"{shared} {own}", f"{shared} {other}"])
    assert groups[0] != groups[1]


def test_it_goes_on_from_one_to_the_next() -> None:
    parts = [prose(seed, 60) for seed in range(5)]
    chain = [" ".join(parts[start : start + 3]) for start in range(3)]
    assert len(set(near_duplicates(chain))) == 1, "the ends of a chain have little in common"


def test_a_licence_that_all_have_makes_no_group() -> None:
    licence = prose(9, 200)
    texts = [f"{prose(seed, 60)} {licence}" for seed in range(40)]
    assert len(set(near_duplicates(texts))) == 40


def test_short_and_empty_texts_are_each_a_group() -> None:
    assert len(set(near_duplicates(["", "", "a title", "a title", "文档"]))) == 5
    assert len(near_duplicates([])) == 0
