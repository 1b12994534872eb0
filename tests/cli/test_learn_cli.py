"""`tagger learn`, `tagger head`, and `--head` of the other commands, on a tiny model."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support import tiny
from support.console import TAGS, Outcome, Run, one_line
from support.fake_server import Answer, completion, obedient, schema_of, serving
from support.messages import check_line
from tagger._util.paths import user_settings
from tagger.evaluation.labels import Label
from tagger.learning import learn as lesson
from tagger.methods.rank.head import Head
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.models.load import load
from tagger.vocabulary import Vocabulary

pytestmark = pytest.mark.slow

NAMES = ("3d", "game-engine ", "cli")
WORDS = ("alpha beta", "omega psi", "xyz")


def row(number: int, **more: Any) -> dict[str, Any]:
    """A README whose words, which name no tag, tell its tag."""
    words = WORDS[number % 3]
    readme = f"{words} {number} {words}"
    return {"id": str(number), "readme": readme, "tags": [NAMES[number % 3]]} | more


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def labels(workplace: Path) -> Path:
    """Labels to learn from, and READMEs with other labels that are not among them."""
    write(workplace / "other.jsonl", [row(number) for number in range(60, 84)])
    for number in range(3):
        (workplace / f"{number}.md").write_text(row(90 + number)["readme"])
    return write(workplace / "labels.jsonl", [row(number) for number in range(48)])


def learn(run: Run, *args: str) -> Outcome:
    return run("learn", *(args or ("labels.jsonl",)), "--tags", "tags.json")


@pytest.fixture(scope="module")
def content(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the command writes for these labels."""
    folder = tmp_path_factory.mktemp("learned")
    labels = [Label.model_validate(row(number)) for number in range(48)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAGGER_HOME", str(folder))
        rank = Rank(load(str(tiny_folder)), Vocabulary.from_json(TAGS))
        lesson.learn(rank, labels).head.save(folder / "head")
    return (folder / "head").read_bytes()


@pytest.fixture
def head(content: bytes, labels: Path, workplace: Path) -> Path:
    """A head that was learned from the labels, on another day: nothing is in the cache folder."""
    path = workplace / "head.safetensors"
    path.write_bytes(content)
    return path


@pytest.fixture
def learned(run: Run, labels: Path, workplace: Path) -> Path:
    """The same head by the command, which keeps what it has read."""
    outcome = learn(run)
    assert outcome.code == 0, outcome.err
    return workplace / "head.safetensors"


def confidences(outcome: Outcome) -> dict[str, float]:
    assert outcome.code == 0, outcome.err
    return {tag["name"]: tag["confidence"] for tag in json.loads(outcome.out)["tags"]}


SCORES = ("--scores", "--threshold", "0", "--quiet")

# Learning.


def test_what_was_read_and_learned_is_said(run: Run, labels: Path, workplace: Path) -> None:
    outcome = learn(run)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[0].rstrip() == "cross-validated on 48 READMEs"
    for measure in (
        "precision@1 strict",
        "precision@1 lenient",
        "hit@3",
        "recall@5",
        "F1 (given)",
        "ECE",
    ):
        assert measure in outcome.out
    (line,) = [line for line in outcome.out.splitlines() if "│ F1 (given)" in line]
    without, learned, low, high = (
        float(word) for word in line.replace("│", " ").split() if word[0].isdigit()
    )
    assert without < 0.6 < learned
    assert low <= learned <= high
    assert "head.safetensors: learned from 48 READMEs, 48 of them read now" in outcome.err
    assert "came before" not in outcome.err
    assert "tags with fewer than" not in outcome.err
    assert "has no effect" not in outcome.err
    assert Head.load(workplace / "head.safetensors").weight > 0


def test_learning_again_reads_only_what_is_new(
    run: Run, learned: Path, content: bytes, workplace: Path
) -> None:
    assert learned.read_bytes() == content, "as in Python"
    again = learn(run)
    assert again.code == 0, "its own file may be overwritten"
    assert "from 48 READMEs, 0 of them read now" in again.err
    assert learned.read_bytes() == content
    more = learn(run, "labels.jsonl", "other.jsonl", "-o", "more.safetensors")
    assert "from 72 READMEs, 24 of them read now" in more.err
    assert Head.load(workplace / "more.safetensors").readmes == 72


def test_the_order_of_labels_and_of_their_files_does_not_matter(
    run: Run, head: Path, workplace: Path
) -> None:
    rows = [row(number) for number in range(48)]
    write(workplace / "a.jsonl", rows[:20])
    write(workplace / "b.jsonl", rows[:19:-1])
    assert learn(run, "b.jsonl", "a.jsonl", "-o", "turned").code == 0
    assert (workplace / "turned").read_bytes() == head.read_bytes()


def test_a_readme_that_comes_twice_is_said(run: Run, labels: Path, workplace: Path) -> None:
    teacher = [row(number, tags=["3d"], source="teacher") for number in range(6)]
    write(workplace / "teacher.jsonl", teacher)
    outcome = learn(run, "labels.jsonl", "teacher.jsonl")
    assert outcome.code == 0, outcome.err
    said = "labels merged with earlier ones of the same README: 6\n"
    assert outcome.err.count(said) == 1
    assert Head.load(workplace / "head.safetensors").readmes == 48
    write(labels, [row(number) for number in range(48)] + teacher)
    again = learn(run)
    assert again.code == 0, "in the same file, too"
    assert again.err.count(said) == 1


def test_tags_of_which_little_can_be_learned_are_named(
    run: Run, labels: Path, workplace: Path
) -> None:
    rows = [row(number) for number in range(48) if number % 3 or number < 6]
    write(labels, rows)
    outcome = learn(run)
    assert "tags with fewer than 3 labels: 1 (3d)" in outcome.err


def test_labels_that_teach_nothing_are_said(run: Run, labels: Path, workplace: Path) -> None:
    rows = [row(number, tags=[NAMES[number * number % 7 % 3]]) for number in range(36)]
    write(labels, rows)
    outcome = learn(run)
    assert outcome.code == 0
    assert "not significantly better than no head, so it has no effect" in outcome.err
    assert "use it with" not in outcome.err
    assert Head.load(workplace / "head.safetensors").weight == 0
    plain = confidences(run("run", "0.md", *SCORES))
    assert confidences(run("run", "0.md", *SCORES, "--head", "head.safetensors")) == plain


def test_a_head_that_counts_is_not_replaced_by_one_that_does_not(
    run: Run, head: Path, content: bytes, workplace: Path
) -> None:
    rows = [row(number, tags=[NAMES[number * number % 7 % 3]]) for number in range(36)]
    write(workplace / "odd.jsonl", rows)
    outcome = learn(run, "odd.jsonl", "--quiet")
    assert outcome.code == 1
    check_line(outcome.err)
    assert head.read_bytes() == content


def test_the_head_that_ships_is_measured_beside_it(
    run: Run, labels: Path, workplace: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ships = workplace / "ships.safetensors"
    ships.write_bytes(content)
    monkeypatch.setattr(lesson, "shipped_head", lambda *_: Head.load(ships))
    learned = learn(run, "other.jsonl", "-o", "more.safetensors")
    assert learned.code == 2, "24 labels are too few"
    rows = [row(number) for number in range(48, 96)]
    write(workplace / "few.jsonl", rows)
    outcome = learn(run, "few.jsonl", "-o", "more.safetensors")
    assert outcome.code == 0, outcome.err
    assert "built-in head" in outcome.out
    (line,) = [line for line in outcome.out.splitlines() if "│ F1 (given)" in line]
    values = [float(word) for word in line.replace("│", " ").split() if word[0].isdigit()]
    assert values[0] < 0.6 < values[1]
    assert ("the built-in head does better on these READMEs" in outcome.err) == (
        values[1] > values[2]
    )
    again = learn(run, "labels.jsonl", "-o", "more.safetensors")
    assert "built-in head" not in again.out, "it was learned from these READMEs"


def test_quiet_says_nothing(run: Run, labels: Path) -> None:
    outcome = learn(run, "labels.jsonl", "--quiet")
    assert outcome.code == 0
    assert outcome.err == ""
    assert "cross-validated" in outcome.out


BAD: dict[str, list[Any]] = {
    "unknown tags": [row(0, tags=["nope"], acceptable=["clì"]), row(1, tags=["nope"])],
    "no text": [{"id": "a", "tags": []}],
    "a digest alone": [{"id": "a", "tags": [], "readme_digest": "0" * 64}],
    "a tag that is both": [row(0, rejected=["cli", "3D"])],
    "an id of two READMEs": [row(0), row(0, readme="other")],
    "another selection": [row(0, selection="best")],
    "an endless source": [row(0, source="x" * 99)],
    "no object": [5],
    "nothing": [],
    "a binary file": [row(0, readme="\0\0\0")],
    "few": [row(number) for number in range(29)],
    "all alike": [row(number, tags=["cli"]) for number in range(40)],
    "the same README with the same tag": [row(0, id=str(number)) for number in range(40)],
    "the same README": [row(0, id=str(number), tags=[NAMES[number % 3]]) for number in range(40)],
}


@pytest.mark.parametrize("rows", BAD.values(), ids=BAD)
def test_bad_labels_are_one_line_before_the_model_is_loaded(
    run: Run, labels: Path, workplace: Path, rows: list[Any]
) -> None:
    write(labels, rows)
    outcome = run("learn", "labels.jsonl", "--tags", "tags.json", model="there is no such model")
    assert outcome.code == 2
    check_line(outcome.err)
    assert outcome.out == ""
    assert not (workplace / "head.safetensors").exists()


def test_labels_may_hold_digests_of_readmes_that_lie_elsewhere(
    run: Run, head: Path, workplace: Path
) -> None:
    rows, dump = [], []
    for number in range(48):
        readme = row(number)["readme"]
        if number % 2:
            (workplace / "catalogue" / str(number)).mkdir(parents=True)
            (workplace / "catalogue" / str(number) / "README.md").write_text(readme)
        else:
            dump.append({"id": number, "text": readme})
        digest = hashlib.sha256(readme.encode()).hexdigest()
        rows.append(row(number) | {"readme": None, "readme_digest": digest})
    write(workplace / "digests.jsonl", rows)
    write(workplace / "dump.jsonl", dump)
    readmes = ("--readmes", "catalogue", "--readmes", "dump.jsonl", "--readme-field", "text")
    outcome = learn(run, "digests.jsonl", *readmes, "-o", "same")
    assert outcome.code == 0, outcome.err
    assert (workplace / "same").read_bytes() == head.read_bytes()
    args = ("eval", "digests.jsonl", "--tags", "tags.json", "--json", "--quiet")
    assert evaluated(run(*args, *readmes))["readmes"] == 48
    missing = run(*args, "--readmes", "catalogue", model="there is no such model")
    assert missing.code == 2
    check_line(missing.err)
    nowhere = run(*args, "--readmes", "nowhere", model="there is no such model")
    assert (nowhere.code, one_line(nowhere.err)) == (
        2,
        "tagger: nowhere: No such file or directory\n",
    )


def test_a_readme_that_is_labelled_twice_counts_once_in_eval(
    run: Run, labels: Path, workplace: Path
) -> None:
    rows = [row(number) for number in range(6)]
    write(workplace / "plain.jsonl", rows)
    write(workplace / "again.jsonl", [*rows, *(row(0, id=str(n)) for n in range(6, 20))])
    plain = evaluated(run("eval", "plain.jsonl", "--json", "--dump", "s.parquet"))
    outcome = run("eval", "again.jsonl", "--json")
    assert evaluated(outcome) == plain
    said = "labels merged with earlier ones of the same README: 14\n"
    assert outcome.err.count(said) == 1
    kept = run("eval", "again.jsonl", "--json", "--from", "s.parquet")
    assert evaluated(kept) == plain
    assert kept.err.count(said) == 1


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("nowhere.jsonl",), 2),
        (("labels.jsonl", "-o", "README.md"), 2),
        (("labels.jsonl", "-o", "labels.jsonl"), 2),
        (("labels.jsonl", "-o", "."), 74),
        (("labels.jsonl", "-o", "nowhere/head"), 74),
        (("labels.jsonl", "-o", "-"), 2),
        (("labels.jsonl", "-o", "/dev/full"), 2),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_before_the_model_is_loaded(
    run: Run, labels: Path, workplace: Path, args: tuple[str, ...], code: int
) -> None:
    files = {path: path.read_bytes() for path in workplace.iterdir()}
    outcome = run("learn", *args, "--tags", "tags.json", model="there is no such model")
    assert outcome.code == code
    check_line(outcome.err)
    assert {path: path.read_bytes() for path in workplace.iterdir()} == files


def test_a_model_that_is_not_there_is_none_of_the_labels_fault(run: Run, labels: Path) -> None:
    outcome = run("learn", "labels.jsonl", "--tags", "tags.json", model="there is no such model")
    assert outcome.code == 3
    assert outcome.err.startswith("tagger: ")
    assert not Path("head.safetensors").exists()


def test_a_damaged_cache_is_one_line(run: Run, learned: Path, cache: Path) -> None:
    (path,) = (cache / "readings").glob("*.state")
    path.write_bytes(path.read_bytes()[:5000])
    outcome = learn(run)
    assert outcome.code == 2
    said = outcome.err.splitlines()[-1]
    assert f"{path} is damaged: remove it, and the READMEs are read again" in said
    path.unlink()
    assert "48 of them read now" in learn(run).err


@pytest.fixture
def weightless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may read the weights of a model."""

    def read(*_args: object) -> None:
        pytest.fail("the weights were read")

    monkeypatch.setattr(LanguageModel, "network", property(read))


def knowing(request: dict[str, Any]) -> Answer:
    """Answer with the tag that a README's words tell."""
    schema = schema_of(request)
    assert schema is not None
    said = request["messages"][1]["content"]
    tags = [name.strip() for words, name in zip(WORDS, NAMES, strict=True) if words in said]
    id_ = schema["properties"]["id"]["const"]
    return completion(json.dumps({"id": id_, "tags": tags}))


def taught(run: Run, url: str, *more: str) -> Outcome:
    teacher = ("--teacher-endpoint", url, "--teacher-model", "large", "--sample", "40")
    return learn(run, "readmes.jsonl", *teacher, *more)


@pytest.fixture
def readmes(workplace: Path) -> Path:
    rows = [{key: row(n)[key] for key in ("id", "readme")} for n in range(48)]
    return write(workplace / "readmes.jsonl", rows)


def test_a_head_is_learned_from_what_a_teacher_says(
    run: Run, readmes: Path, workplace: Path
) -> None:
    with serving() as server:
        server.answer = knowing
        outcome = taught(run, server.url)
        assert outcome.code == 0, outcome.err
        assert "learned from 40 READMEs, 40 of them read now" in outcome.err
        rows = list(map(json.loads, (workplace / "teacher.jsonl").read_text().splitlines()))
        assert len(rows) == len(server.requests) == 40
        for found in rows:
            expected = row(int(found["id"]))
            assert found["tags"] == [expected["tags"][0].strip()]
            assert found["source"] == "teacher"
        first = (workplace / "head.safetensors").read_bytes()
        assert taught(run, server.url).code == 0
        assert len(server.requests) == 40, "it is not asked again"
    assert (workplace / "head.safetensors").read_bytes() == first
    from_rows = learn(run, "teacher.jsonl")
    assert from_rows.code == 0, from_rows.err
    assert (workplace / "head.safetensors").read_bytes() == first


def test_labels_of_other_readmes_in_the_teachers_file_are_said(
    run: Run, readmes: Path, workplace: Path
) -> None:
    write(workplace / "teacher.jsonl", [row(number) for number in range(60, 63)])
    with serving() as server:
        server.answer = knowing
        outcome = taught(run, server.url)
    assert "3 of its 43 labels are of READMEs that are not in this sample" in outcome.err
    assert "learned from 43 READMEs" in outcome.err


def test_labels_may_be_taken_for_incomplete(run: Run, labels: Path, workplace: Path) -> None:
    outcome = learn(run, "labels.jsonl", "--incomplete")
    assert outcome.code == 0, outcome.err
    assert "the labels are treated as incomplete" in outcome.err
    head = Head.load(workplace / "head.safetensors")
    assert head.weight > 0


def test_a_tag_that_was_renamed_is_ranked_by_its_row(run: Run, head: Path, workplace: Path) -> None:
    expected = confidences(run("run", "0.md", "--head", "head.safetensors", *SCORES))
    tags = [{"id": 77, "name": "3d"}, {"id": 81, "name": "engine"}, {"id": 4, "name": "cli"}]
    (workplace / "renamed.json").write_text(json.dumps(tags))
    args = ("--tags", "renamed.json", "--head", "head.safetensors")
    outcome = run("batch", "0.md", *args)
    assert "the head knows the tag 'engine' as 'game-engine': both have the same id" in outcome.err
    assert "the head covers 3 of the list's 3 tags" in outcome.err
    assert expected.keys() == {"3d", "game-engine ", "cli"}


def test_a_teacher_that_always_says_the_same_is_one_line(
    run: Run, readmes: Path, workplace: Path
) -> None:
    with serving() as server:
        server.answer = obedient
        outcome = taught(run, server.url, "--quiet")
    assert (outcome.code, outcome.out) == (3, "")
    check_line(outcome.err)
    kept = (workplace / "teacher.jsonl").read_text().splitlines()
    assert len(kept) == 32, "all replies until then"
    assert not (workplace / "head.safetensors").exists()


@pytest.mark.parametrize(
    "more",
    [
        ("--teacher-endpoint", "http://127.0.0.1:9/v1"),
        ("--teacher-model", "large"),
        ("--labels-out", "teacher.jsonl"),
        ("--teacher-endpoint", "http://127.0.0.1:9/v1", "--teacher-model", "m", "--offline"),
        ("--teacher-endpoint", "http://x:9/v1", "--teacher-model", "m", "-o", "teacher.jsonl"),
        ("--teacher-endpoint", "nowhere", "--teacher-model", "m"),
    ],
)
def test_a_teacher_that_cannot_be_asked_is_one_line(
    run: Run, readmes: Path, more: tuple[str, ...]
) -> None:
    outcome = learn(run, "readmes.jsonl", *more)
    assert (outcome.code, outcome.out) == (2, "")
    check_line(outcome.err)


def test_what_was_read_is_learned_from_without_the_weights(
    run: Run, learned: Path, content: bytes, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("weightless")
    again = learn(run)
    assert again.code == 0, again.err
    assert learned.read_bytes() == content


# Ranking with what was learned.


def test_every_command_uses_it(
    run: Run, head: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = confidences(run("run", "0.md", *SCORES))
    learned = confidences(run("run", "0.md", *SCORES, "--head", "head.safetensors"))
    assert learned.keys() == plain.keys()
    assert all(learned[name] != plain[name] for name in plain)
    monkeypatch.setenv("TAGGER_HEAD", "head.safetensors")
    assert confidences(run("run", "0.md", *SCORES)) == learned
    assert confidences(run("run", "0.md", *SCORES, "--head", "none")) == plain
    assert confidences(run("batch", "0.md", *SCORES)) == learned
    assert confidences(run("batch", "0.md", *SCORES, "--head", "none")) == plain

    explained = run("explain", "0.md", "--json")
    found = json.loads(explained.out)
    assert {tag["name"]: round(tag["confidence"], 4) for tag in found["tags"]} == learned
    assert found["calibration"] == (
        "learned from 48 READMEs with 48 tags, covering 3 of 3 tags; other tags: as shipped"
    )
    assert found["threshold"] == Head.load(head).calibration.threshold
    assert "learned from 48 READMEs" in " ".join(run("explain", "0.md").out.split())
    without = json.loads(run("explain", "0.md", "--json", "--head", "none").out)
    assert {tag["name"]: round(tag["confidence"], 4) for tag in without["tags"]} == plain
    assert without["calibration"] == "as shipped"


def test_it_tags_readmes_that_it_has_not_seen(run: Run, head: Path) -> None:
    outcome = run("batch", "0.md", "1.md", "2.md", "--head", "head.safetensors", "--max-tags", "1")
    assert outcome.code == 0, outcome.err
    given = {
        reply["id"]: [tag["name"] for tag in reply["tags"]]
        for reply in map(json.loads, outcome.out.splitlines())
    }
    assert given == {f"{n}.md": [NAMES[(90 + n) % 3]] for n in range(3)}
    assert "the head covers 3 of the list's 3 tags" in outcome.err


def test_it_serves_other_lists_with_some_of_its_tags(run: Run, head: Path, workplace: Path) -> None:
    (workplace / "mine.json").write_text('["web", " CLI", "api"]')
    args = ("run", "0.md", "--tags", "mine.json", "--scores", "--threshold", "0")
    plain = confidences(run(*args))
    outcome = run(*args, "--head", "head.safetensors")
    learned = confidences(outcome)
    assert {name for name in plain if plain[name] != learned[name]} == {" CLI"}
    summary = run("batch", *args[1:], "--head", "head.safetensors").err
    assert "the head covers 1 of the list's 3 tags" in summary


def evaluated(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_readmes_that_it_was_fitted_to_are_left_out_of_eval(
    run: Run, head: Path, workplace: Path
) -> None:
    rows = [row(number) for number in [*range(40, 48), *range(60, 84)]]
    write(workplace / "both.jsonl", rows)
    with_head = ("--head", "head.safetensors", "--json")
    outcome = run("eval", "both.jsonl", *with_head)
    unseen = evaluated(outcome)
    assert unseen["readmes"] == 24
    said = "READMEs left out because the head was fitted to them: 8; --include-fitted measures"
    assert said in outcome.err
    others = run("eval", "other.jsonl", *with_head)
    assert evaluated(others) == unseen
    assert "left out" not in others.err
    included = run("eval", "both.jsonl", *with_head, "--include-fitted")
    assert evaluated(included)["readmes"] == 32
    assert "left out" not in included.err
    plain = run("eval", "both.jsonl", "--head", "none", "--json")
    assert evaluated(plain)["readmes"] == 32
    before = evaluated(run("eval", "other.jsonl", "--json"))["measures"]["f1_given"]["value"]
    assert unseen["measures"]["f1_given"]["value"] > before + 0.3


def test_a_head_that_has_seen_everything_cannot_be_measured(run: Run, head: Path) -> None:
    outcome = run("eval", "labels.jsonl", "--head", "head.safetensors")
    assert outcome.code == 2
    assert (
        "the head was fitted to all of these READMEs: measure it on others (--include-fitted "
        "measures it on these anyway)"
    ) in outcome.err
    assert outcome.out == ""
    args = ("eval", "labels.jsonl", "--head", "head.safetensors", "--include-fitted", "--json")
    assert evaluated(run(*args))["readmes"] == 48


def test_kept_scores_are_ranked_by_the_same_head_or_by_another(run: Run, head: Path) -> None:
    measured = ("eval", "other.jsonl", "--json")
    with_head = run(*measured, "--head", "head.safetensors", "--dump", "s.parquet")
    assert with_head.code == 0, with_head.err
    kept = (*measured, "--from", "s.parquet")
    assert run(*kept, "--head", "head.safetensors").out == with_head.out
    without = run(*measured, "--head", "none")
    assert without.out != with_head.out
    assert run(*kept, "--head", "none").out == without.out
    assert run(*kept).out == without.out, "this model has no built-in head"
    seen = run("eval", "other.jsonl", "--from", "s.parquet", "--calibration", "nowhere.json")
    assert seen.code == 2


def test_a_head_of_something_else_is_refused_for_kept_scores(run: Run, head: Path) -> None:
    assert run("eval", "other.jsonl", "--dump", "s.parquet", "--readme-tokens", "77").code == 0
    args = ("eval", "other.jsonl", "--from", "s.parquet", "--head", "head.safetensors", "--quiet")
    refused = run(*args)
    assert refused.code == 2
    check_line(refused.err)


def test_a_damaged_head_is_one_hint_for_kept_scores(run: Run, head: Path) -> None:
    assert run("eval", "other.jsonl", "--dump", "s.parquet").code == 0
    head.write_bytes(head.read_bytes()[:-1])
    args = ("eval", "other.jsonl", "--from", "s.parquet", "--head", "head.safetensors", "--quiet")
    refused = run(*args)
    assert refused.code == 2
    assert refused.err.count("selects this head") == 1
    check_line(refused.err)


def test_scores_are_kept_of_the_readmes_that_were_not_left_out(
    run: Run, head: Path, workplace: Path
) -> None:
    write(workplace / "both.jsonl", [row(number) for number in [*range(40, 48), *range(60, 84)]])
    args = ("eval", "both.jsonl", "--json")
    kept = run(*args, "--head", "head.safetensors", "--dump", "s.parquet")
    assert evaluated(kept)["readmes"] == 24
    again = run(*args, "--from", "s.parquet")
    assert evaluated(again)["readmes"] == 24
    assert "because the head was fitted to them: 8" in again.err
    nothing = run("eval", "labels.jsonl", "--from", "s.parquet")
    assert nothing.code == 2
    assert "s.parquet: has no scores for" in nothing.err.splitlines()[-1]


def test_without_a_cache_folder_it_learns_all_the_same(
    run: Run, labels: Path, workplace: Path, cache: Path
) -> None:
    cache.write_text("a file where the folder should be")
    outcome = learn(run)
    assert outcome.code == 0, outcome.err
    assert "what is read cannot be kept for the next time" in outcome.err
    assert (workplace / "head.safetensors").exists()


# A batch goes on.


def test_a_batch_is_ranked_again_with_another_head_and_reads_nothing(
    run: Run, head: Path, workplace: Path
) -> None:
    assert learn(run, "labels.jsonl", "other.jsonl", "-o", "more.safetensors").code == 0
    args = ("batch", "0.md", "1.md", "2.md", "--tags", "tags.json", "-o", "out.jsonl", "--scores")
    assert run(*args).code == 0
    plain = (workplace / "out.jsonl").read_bytes()
    outputs = [plain]
    for name in ("head.safetensors", "more.safetensors", "none"):
        again = run(*args, "--head", name)
        assert again.code == 0, again.err
        assert "ranking again: head changed" in again.err
        assert "0 tagged in" in again.err, "and nothing is read again"
        outputs.append((workplace / "out.jsonl").read_bytes())
    assert outputs[3] == plain
    assert len(set(outputs)) == 3
    fresh = run("batch", "0.md", "1.md", "2.md", "--scores", "--head", "head.safetensors")
    assert fresh.out.encode() == outputs[1]


def test_a_batch_with_the_same_head_has_nothing_to_do(run: Run, head: Path) -> None:
    args = ("batch", "0.md", "1.md", "--tags", "tags.json", "-o", "o.jsonl", "--head", str(head))
    assert run(*args).code == 0
    again = run(*args)
    assert again.code == 0
    assert "again: " not in again.err
    assert "0 tagged in" in again.err


def test_a_batch_is_ranked_again_without_the_weights(
    run: Run, head: Path, workplace: Path, request: pytest.FixtureRequest
) -> None:
    args = ("batch", "0.md", "1.md", "2.md", "--tags", "tags.json", "-o", "out.jsonl", "--scores")
    assert run(*args).code == 0
    plain = (workplace / "out.jsonl").read_bytes()
    request.getfixturevalue("weightless")
    again = run(*args, "--head", "head.safetensors")
    assert again.code == 0, again.err
    assert (workplace / "out.jsonl").read_bytes() != plain
    assert run(*args).code == 0
    assert (workplace / "out.jsonl").read_bytes() == plain


def test_a_batch_without_features_gives_the_same_and_reads_again_for_another_head(
    run: Run, head: Path, workplace: Path
) -> None:
    args = ("batch", "0.md", "1.md", "2.md", "--tags", "tags.json", "--scores")
    kept = run(*args, "-o", "kept.jsonl", "--head", str(head))
    without = (*args, "-o", "without.jsonl", "--no-features")
    assert run(*without, "--head", str(head)).code == kept.code == 0
    same = (workplace / "kept.jsonl").read_bytes()
    assert (workplace / "without.jsonl").read_bytes() == same
    again = run(*without, "--head", "none")
    assert "reading again: head changed" in again.err
    assert "3 tagged in" in again.err


# What is refused.


def other_prompt(folder: Path) -> tuple[str, ...]:
    (folder / "p.toml").write_text('system = "S"\nuser = "{tags} {readme}"\n')
    return ("--prompt", "p.toml")


def other_model(folder: Path) -> tuple[str, ...]:
    return ("--model", str(tiny.save(folder / "other", seed=1)))


def other_budget(_: Path) -> tuple[str, ...]:
    return ("--readme-tokens", "77")


NAMED = "--head selects this head; pass --head none to run without it)"


@pytest.mark.parametrize(
    "other",
    [
        other_prompt,
        other_model,
        other_budget,
    ],
)
@pytest.mark.parametrize("command", ["run", "batch", "explain"])
def test_a_head_of_something_else_is_refused(
    run: Run,
    head: Path,
    workplace: Path,
    command: str,
    other: Callable[[Path], tuple[str, ...]],
) -> None:
    args = (*other(workplace), "--tags", "tags.json", "--head", "head.safetensors", "--quiet")
    outcome = run(command, "0.md", *args)
    assert outcome.code == 2
    check_line(outcome.err)
    assert outcome.out == ""


def test_a_head_of_another_model_names_both(run: Run, head: Path, workplace: Path) -> None:
    args = ("--head", "head.safetensors", "--quiet")
    said = one_line(run("run", "0.md", *other_model(workplace), *args).err)
    both = f"the model {Head.load(head).model}, and the model here is {workplace / 'other'}; use"
    assert both in said
    assert "to match it" not in said


def test_a_head_and_another_calibration_do_not_go_together(run: Run, head: Path) -> None:
    for number in range(12):
        Path(f"{number}.md").write_text(f"Project {number}")
    files = [f"{number}.md" for number in range(12)]
    made = run("calibrate", *files, "--tags", "tags.json", "-o", "c.json")
    assert made.code == 0, made.err
    args = ("--calibration", "c.json", "--head", "head.safetensors", "--quiet")
    outcome = run("run", "0.md", *args)
    assert outcome.code == 2
    check_line(outcome.err)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1] + b"\x11",
        lambda _: b"",
        lambda _: b'{"format": 3}',
    ],
    ids=["half of it", "another number", "nothing", "another kind of file"],
)
def test_a_damaged_head_is_one_line_before_the_model_is_loaded(
    run: Run, head: Path, damage: Callable[[bytes], bytes]
) -> None:
    head.write_bytes(damage(head.read_bytes()))
    args = ("--tags", "tags.json", "--head", "head.safetensors")
    for command in ("run", "batch", "explain"):
        outcome = run(command, "0.md", *args, model="there is no such model")
        assert outcome.code == 2
        check_line(outcome.err)
    outcome = run("eval", "other.jsonl", *args, model="there is no such model")
    assert outcome.code == 2
    check_line(outcome.err)


@pytest.mark.usefixtures("weightless")
def test_a_head_of_something_else_is_refused_before_the_weights_are_read(
    run: Run, head: Path, workplace: Path
) -> None:
    args = ("--readme-tokens", "77", "--tags", "tags.json", "--head", "head.safetensors", "--quiet")
    for command, source in (("run", "0.md"), ("batch", "0.md"), ("eval", "other.jsonl")):
        outcome = run(command, source, *args)
        assert outcome.code == 2
        check_line(outcome.err)
    everything = run("eval", "labels.jsonl", "--head", "head.safetensors", "--quiet")
    check_line(everything.err)


def test_a_head_that_knows_none_of_the_tags_is_said(run: Run, head: Path, workplace: Path) -> None:
    (workplace / "tags.json").write_text('[{"id": 1, "name": "heron"}, {"id": 2, "name": "owl"}]')
    outcome = run("run", "0.md", "--head", "head.safetensors", *SCORES[:-1])
    assert "the head knows none of these tags, so tags are ranked as without --head" in outcome.err
    assert confidences(outcome) == confidences(run("run", "0.md", *SCORES))


def test_a_tag_without_labels_is_not_covered(run: Run, labels: Path, workplace: Path) -> None:
    write(labels, [row(number) for number in range(48) if number % 3])
    outcome = learn(run)
    assert outcome.code == 0, outcome.err
    assert (
        "tags that no label has or accepts, which are ranked as without the head: 1" in outcome.err
    )
    assert Head.load(workplace / "head.safetensors").tags == ("game-engine", "cli")
    plain = confidences(run("run", "0.md", *SCORES))
    learned = confidences(run("run", "0.md", *SCORES, "--head", "head.safetensors"))
    assert learned["3d"] == plain["3d"]
    assert learned["cli"] != plain["cli"]
    explained = run("explain", "0.md", "--head", "head.safetensors", "--json")
    by_name = {tag["name"]: tag["learned"] for tag in json.loads(explained.out)["tags"]}
    assert by_name["3d"] is None
    assert by_name["cli"]


def test_a_head_is_not_written_over_a_link(run: Run, head: Path, workplace: Path) -> None:
    (workplace / "link").symlink_to(head)
    before = head.read_bytes()
    outcome = learn(run, "labels.jsonl", "-o", "link", "--quiet")
    assert outcome.code == 2
    check_line(outcome.err)
    assert head.read_bytes() == before


def test_an_empty_name_is_no_head(run: Run, labels: Path) -> None:
    outcome = run("run", "0.md", "--head", "", "--quiet")
    assert outcome.code == 2
    check_line(outcome.err)


def test_a_pipe_is_no_head(run: Run, labels: Path, workplace: Path) -> None:
    os.mkfifo(workplace / "pipe")
    outcome = run("run", "0.md", "--head", "pipe", "--quiet")
    assert outcome.code == 2
    check_line(outcome.err)


@pytest.mark.parametrize("command", ["run", "batch", "explain"])
def test_a_head_that_is_not_there_is_named_with_what_names_it(
    run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def said(*args: str) -> str:
        args = (command, "README.md", "--tags", "tags.json", *args)
        outcome = run(*args, model="there is no such model")
        assert outcome.code == 2
        assert "nowhere: cannot be read: No such file" in outcome.err
        return one_line(outcome.err)

    goes_on = "selects this head; pass --head none to run without it)"
    assert f"(--head {goes_on}" in said("--head", "nowhere")
    user_settings().parent.mkdir(parents=True)
    user_settings().write_text('head = "nowhere"\n')
    assert f"({user_settings()} {goes_on}" in said()
    monkeypatch.setenv("TAGGER_HEAD", "nowhere")
    assert f"(TAGGER_HEAD {goes_on}" in said()
    assert f"(--head {goes_on}" in said("--head", "./nowhere").replace("./", "")
    assert run(command, "README.md", "--tags", "tags.json", "--head", "none").code == 0


@pytest.mark.parametrize("name", ["tagger.toml", "pyproject.toml"])
def test_a_folder_cannot_name_a_head(run: Run, head: Path, workplace: Path, name: str) -> None:
    table = "[tool.tagger]\n" if name == "pyproject.toml" else ""
    (workplace / name).write_text(f'{table}head = "head.safetensors"\n')
    outcome = run("run", "0.md")
    assert outcome.code == 2
    check_line(outcome.err)


def test_a_written_reply_has_no_use_for_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    args = ("run", "README.md", "--tags", "tags.json")
    outcome = run(*args, "--method", "generate", "--head", "head.safetensors")
    assert outcome.code == 2
    check_line(outcome.err)
    monkeypatch.setenv("TAGGER_HEAD", "head.safetensors")
    with serving() as server:
        asked = (*args, "--endpoint", server.url, "--model", "m")
        assert run(*asked).code == 0, "a setting is for the commands that have use for it"
        assert run(*asked, "--head", "head.safetensors").code == 2


# Showing one.


def test_a_head_is_shown(run: Run, head: Path) -> None:
    outcome = run("head", "show", "head.safetensors", model=None)
    assert outcome.code == 0, outcome.err
    lines = dict(
        line.split(maxsplit=1) for line in outcome.out.splitlines() if "tokens" not in line
    )
    known = Head.load(head)
    assert lines["readmes"] == lines["labels"] == "48"
    assert lines["digest"] == known.digest
    assert lines["tags"] == "3: 3d, game-engine, cli"
    assert float(lines["weight"]) == pytest.approx(known.weight, abs=1e-4)


def test_a_head_is_shown_as_json(run: Run, head: Path) -> None:
    outcome = run("head", "show", "head.safetensors", "--json", model=None)
    found = json.loads(outcome.out)
    known = Head.load(head)
    assert found["tags"] == ["3d", "game-engine", "cli"]
    assert (found["readmes"], found["labels"]) == (48, 48)
    assert found["digest"] == known.digest
    assert found["threshold"] == known.calibration.threshold
    assert found["readme_tokens"] == known.identity.readme_tokens
    assert found["model"] == known.model


def test_the_head_that_ships_with_a_model_is_shown(run: Run, workplace: Path) -> None:
    outcome = run("head", "show", "qwen2.5-coder-0.5b", "--json", model=None)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["model"] == "qwen2.5-coder-0.5b"


def test_a_head_that_counts_for_nothing_is_shown_to(run: Run, head: Path) -> None:
    replace(Head.load(head), weight=0.0, source="").save(head)
    outcome = run("head", "show", "head.safetensors", model=None)
    assert outcome.code == 0
    check_line(outcome.err)


def test_showing_what_is_no_head_is_one_line(run: Run, workplace: Path) -> None:
    for name in ("README.md", "nowhere"):
        outcome = run("head", "show", name, model=None)
        assert outcome.code == 2
        check_line(outcome.err)


# Suggesting.


def test_readmes_that_are_worth_labelling_are_printed_as_a_batch_writes_them(
    run: Run, readmes: Path, labels: Path, workplace: Path
) -> None:
    write(workplace / "some.jsonl", [row(number) for number in range(0, 48, 3)])
    outcome = learn(run, "readmes.jsonl", "--suggest", "5", "--labelled", "some.jsonl")
    assert outcome.code == 0, outcome.err
    rows = list(map(json.loads, outcome.out.splitlines()))
    assert len({found["id"] for found in rows}) == 5
    assert all(int(found["id"]) % 3 for found in rows), "those that are labelled are left out"
    assert all(0 <= tag["confidence"] <= 1 for found in rows for tag in found["tags"])
    assert not (workplace / "head.safetensors").exists()
    more = learn(run, "readmes.jsonl", "--suggest", "9", "--labelled", "some.jsonl", "--quiet")
    assert more.out.startswith(outcome.out)


def test_what_is_read_for_suggestions_need_not_be_read_to_learn(
    run: Run, readmes: Path, labels: Path
) -> None:
    assert learn(run, "readmes.jsonl", "--suggest", "5").code == 0
    assert "learned from 48 READMEs, 0 of them read now" in learn(run).err


def test_fewer_suggestions_than_asked_for_are_said(
    run: Run, readmes: Path, labels: Path, workplace: Path
) -> None:
    write(workplace / "most.jsonl", [row(number) for number in range(45)])
    outcome = learn(run, "readmes.jsonl", "--suggest", "5", "--labelled", "most.jsonl")
    assert (outcome.code, len(outcome.out.splitlines())) == (0, 3)
    assert outcome.err.splitlines()[-1] == "tagger: only 3 READMEs without a label are left"


@pytest.mark.parametrize(
    "more",
    [
        ("--labelled", "labels.jsonl"),
        ("--suggest", "5", "-o", "suggested.jsonl"),
        ("--suggest", "50", "--sample", "40"),
        ("--suggest", "5", "--teacher-endpoint", "http://127.0.0.1:9/v1"),
        ("--suggest", "5", "--labelled", "none.jsonl"),
        ("--suggest", "5", "--incomplete"),
    ],
)
def test_suggestions_that_cannot_be_made_are_one_line(
    run: Run, readmes: Path, labels: Path, more: tuple[str, ...]
) -> None:
    outcome = learn(run, "readmes.jsonl", *more)
    assert (outcome.code, outcome.out) == (2, "")
    check_line(outcome.err)
