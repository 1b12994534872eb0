"""Heads: their files, what they belong to, and what they make of features."""

import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from support.heads import head_of, random_head
from support.messages import refused
from support.passes import counted
from tagger.errors import HeadError, OutputError, UsageError
from tagger.methods.base import Identity
from tagger.methods.rank import head as head_module
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.methods.rank.head import ONE_QUESTION, Confidence, Head, check_head_target
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.prompts.prompt import PromptTemplate
from tagger.readme.readme import Readme
from tagger.vocabulary import Tag, Vocabulary

HEAD = random_head()
BASE = Calibration(0.5, 1.0, 0.7, 0.9, 0.8, -1.0, 0.5)
assert BASE.digest == HEAD.base

# Its file.


def content_of(head: Head, folder: Path) -> bytes:
    head.save(folder / "saved")
    return (folder / "saved").read_bytes()


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What is in the file of a head."""
    return content_of(HEAD, tmp_path_factory.mktemp("head"))


def test_a_head_is_read_as_it_was_written(tmp_path: Path) -> None:
    HEAD.save(tmp_path / "a")
    found = Head.load(tmp_path / "a")
    for name in ("rows", "mean", "scale"):
        assert getattr(found, name).dtype == getattr(HEAD, name).dtype
        assert getattr(found, name).equal(getattr(HEAD, name))
    assert found.source == str(tmp_path / "a")
    for name in vars(HEAD).keys() - {"rows", "mean", "scale", "source"}:
        assert getattr(found, name) == getattr(HEAD, name)
    assert found.digest == HEAD.digest
    found.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert str(found) == "learned from 40 READMEs with 80 tags"


def test_whatever_a_head_is_made_of_changes_its_digest() -> None:
    digests = {
        HEAD.digest,
        replace(HEAD, rows=HEAD.rows + 1).digest,
        replace(HEAD, mean=HEAD.mean + 1).digest,
        replace(HEAD, scale=HEAD.scale + 1).digest,
        replace(HEAD, rows=HEAD.rows.reshape(8, 3).T).digest,
        replace(HEAD, tags=("cli", "web", "game")).digest,
        replace(HEAD, weight=1.0).digest,
        replace(HEAD, calibration=replace(HEAD.calibration, threshold=0.1)).digest,
        replace(HEAD, base="other").digest,
        replace(HEAD, method="rank 9").digest,
        replace(HEAD, identity=replace(HEAD.identity, readme_tokens=1)).digest,
        replace(HEAD, fitted=HEAD.fitted[:1]).digest,
        replace(HEAD, readmes=1).digest,
        replace(HEAD, labels=1).digest,
    }
    assert len(digests) == 14
    assert replace(HEAD, rows=HEAD.rows.clone()).digest == HEAD.digest


def test_the_file_of_ninety_tags_takes_less_than_a_megabyte(tmp_path: Path) -> None:
    head = random_head([f"a tag of the list {number}" for number in range(90)], 2 * 1536)
    head = replace(head, fitted=tuple(f"{number:064x}" for number in range(657)))
    assert len(content_of(head, tmp_path)) < 1_000_000


def test_the_file_is_one_that_other_programs_can_read(tmp_path: Path) -> None:
    HEAD.save(tmp_path / "h")
    with safe_open(tmp_path / "h", "pt") as file:
        assert sorted(file.keys()) == ["mean", "rows", "scale"]
        about = json.loads(file.metadata()["tagger"])
    assert about["tags"] == ["cli", "game", "web"]
    assert about["fitted"] == list(HEAD.fitted)


THREADS_STARTED = """
import os, sys
from pathlib import Path
from tagger.methods.rank.head import Head

before = len(os.listdir("/proc/self/task"))
Head.load(Path(sys.argv[1]))
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_loading_starts_no_threads_that_would_slow_down_the_model_in_another(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.head"
    random_head([f"tag {number}" for number in range(90)], width=4096).save(path)
    command = [sys.executable, "-c", THREADS_STARTED, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "0"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with refused(OutputError):
        HEAD.save(tmp_path / "nowhere" / "h")


def refusal(path: Path) -> str:
    """The reason why a file is refused: one line that names it and says what to do."""
    with pytest.raises(HeadError) as caught:
        Head.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 120
    return message


def rewritten(content: bytes, **changed: Any) -> bytes:
    """A file with other text beside its numbers, as an editor could write it."""
    size = int.from_bytes(content[:8], "little")
    about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["tagger"])
    return to_bytes(from_bytes(content), {"tagger": json.dumps(about | changed)})


def with_tensors(content: bytes, **changed: Tensor | None) -> bytes:
    """A file with other numbers beside its text; None leaves some out."""
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    tensors = from_bytes(content) | changed
    return to_bytes({key: part for key, part in tensors.items() if part is not None}, metadata)


Damage = Callable[[bytes], bytes]

NOT_A_HEAD: dict[str, Damage] = {
    "empty": lambda _: b"",
    "zeros": lambda content: bytes(len(content)),
    "text": lambda _: b"[tool.tagger]\n",
    "half of it": lambda content: content[: len(content) // 2],
    "cut in its text": lambda content: content[:100],
    "without its last byte": lambda content: content[:-1],
    "more after its end": lambda content: content + b"\0",
    "another safetensors file": lambda _: to_bytes({"lm_head.weight": torch.ones(2, 2)}),
    "with other metadata": lambda _: to_bytes({"rows": torch.ones(2, 2)}, {"format": "pt"}),
    "text that is not JSON": lambda _: to_bytes({}, {"tagger": "{"}),
    "text nested deeply": lambda _: to_bytes({}, {"tagger": "[" * 100_000}),
    "without rows": lambda content: with_tensors(content, rows=None),
    "another version": lambda content: rewritten(content, format=2),
    "an unknown field": lambda content: rewritten(content, more=1),
    "an unknown number": lambda content: rewritten(content, numbers={"margin": 1.0, "more": 2.0}),
    "too few numbers": lambda content: rewritten(content, numbers={"margin": 1.0}),
    "unknown features": lambda content: rewritten(content, features={"more": "x"}),
    "features that are no table": lambda content: rewritten(content, features=[1]),
    "no READMEs": lambda content: rewritten(content, readmes=0),
    "a weight that is not a number": lambda content: rewritten(content, weight=float("nan")),
    "an endless number": lambda content: rewritten(
        content, numbers=HEAD.calibration.numbers | {"margin": float("inf")}
    ),
    "numbers of eight bits": lambda content: with_tensors(
        content, rows=HEAD.rows.to(torch.float8_e4m3fn)
    ),
}
NOT_SOUND: dict[str, Damage] = {
    "an endless row": lambda content: with_tensors(content, rows=HEAD.rows / 0),
    "a mean that is not a number": lambda content: with_tensors(
        content, mean=HEAD.mean * torch.nan
    ),
    "an endless scale": lambda content: with_tensors(content, scale=HEAD.scale / 0),
    "rows of another format": lambda content: with_tensors(content, rows=HEAD.rows.float()),
    "a mean of another format": lambda content: with_tensors(content, mean=HEAD.mean.double()),
    "fewer rows than tags": lambda content: with_tensors(content, rows=HEAD.rows[:2].clone()),
    "narrower rows": lambda content: with_tensors(content, rows=HEAD.rows[:, :4].contiguous()),
    "a longer scale": lambda content: with_tensors(content, scale=torch.ones(9)),
    "a mean in two dimensions": lambda content: with_tensors(content, mean=HEAD.mean[:, None]),
    "a single number for a mean": lambda content: with_tensors(content, mean=torch.tensor(1.0)),
    "more tags than rows": lambda content: rewritten(content, tags=["a", "b", "c", "d"]),
}
EDITED: dict[str, Damage] = {
    "another weight": lambda content: rewritten(content, weight=9.0),
    "another tag": lambda content: rewritten(content, tags=["cli", "game", "api"]),
    "fitted to nothing": lambda content: rewritten(content, fitted=[]),
    "another model": lambda content: rewritten(content, model="other"),
    "other tokens": lambda content: rewritten(
        content, features=vars(HEAD.identity) | {"readme_tokens": 512}
    ),
    "no digest": lambda content: rewritten(content, digest=""),
    "another number": lambda content: with_tensors(content, mean=HEAD.mean + 1e-6),
    "its last byte": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
}


@pytest.mark.parametrize("damage", NOT_A_HEAD.values(), ids=NOT_A_HEAD)
def test_what_is_no_head_is_refused(content: bytes, tmp_path: Path, damage: Damage) -> None:
    (tmp_path / "h").write_bytes(damage(content))
    with refused(HeadError):
        Head.load(tmp_path / "h")


@pytest.mark.parametrize("damage", NOT_SOUND.values(), ids=NOT_SOUND)
def test_numbers_that_cannot_be_are_refused(content: bytes, tmp_path: Path, damage: Damage) -> None:
    (tmp_path / "h").write_bytes(damage(content))
    with refused(HeadError):
        Head.load(tmp_path / "h")


@pytest.mark.parametrize("damage", EDITED.values(), ids=EDITED)
def test_a_head_that_was_edited_is_refused(content: bytes, tmp_path: Path, damage: Damage) -> None:
    (tmp_path / "h").write_bytes(damage(content))
    with refused(HeadError):
        Head.load(tmp_path / "h")


class Harmful:
    """What a pickle could hold."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))
    with refused(HeadError):
        Head.load(tmp_path / "a")
    torch.save({"rows": HEAD.rows, "code": Harmful(tmp_path / "harm")}, tmp_path / "b")
    with refused(HeadError):
        Head.load(tmp_path / "b")
    assert not (tmp_path / "harm").exists()
    pickle.loads((tmp_path / "a").read_bytes())
    assert (tmp_path / "harm").exists(), "it would have done harm"


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with refused(HeadError):
        Head.load(tmp_path / "h")
    with refused(HeadError):
        Head.load(tmp_path)


def test_a_file_without_end_is_refused(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "h").write_bytes(content)
    monkeypatch.setattr(head_module, "MAX_BYTES", len(content))
    Head.load(tmp_path / "h")
    monkeypatch.setattr(head_module, "MAX_BYTES", len(content) - 1)
    with refused(HeadError):
        Head.load(tmp_path / "h")
    with refused(HeadError):
        Head.load(Path("/dev/zero"))


def damaged(content: bytes, edits: list[tuple[int, int]], length: int) -> bytes:
    edited = bytearray(content)
    for place, value in edits:
        edited[place % len(edited)] = value
    return bytes(edited[:length])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_bytes_are_a_head_or_are_refused(
    content: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shapes = st.lists(st.sampled_from([0, 1, 2, 3, 8, 2**40]), max_size=3)
    kinds = st.sampled_from(["F16", "F32", "F64", "I8", "BOOL", "F8_E4M3", "F4", "C64"])
    entries = st.fixed_dictionaries(
        {"dtype": kinds, "shape": shapes, "data_offsets": st.sampled_from([[0, 0], [0, 4]])}
    )
    headers = st.fixed_dictionaries(
        {"__metadata__": st.just({"tagger": HEAD._about.model_dump_json()})},
        optional={"rows": entries, "mean": entries, "scale": entries},
    ).map(lambda header: json.dumps(header).encode())
    edits = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    files = (
        st.binary()
        | st.builds(damaged, st.just(content), edits, st.just(len(content)))
        | st.builds(damaged, st.just(content), edits, st.integers(0, len(content)))
        | headers.map(lambda header: len(header).to_bytes(8, "little") + header + bytes(4))
    )
    written = data.draw(files)
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(written)
    try:
        found = Head.load(path)
    except HeadError:
        refusal(path)
        return
    assert found.digest == HEAD.digest
    assert content_of(found, path.parent) == content


def test_only_a_head_is_overwritten(content: bytes, tmp_path: Path) -> None:
    check_head_target(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "own").write_bytes(content)
    check_head_target(tmp_path / "own")
    (tmp_path / "other").write_bytes(to_bytes({"lm_head.weight": torch.ones(2, 2)}))
    with refused(UsageError):
        check_head_target(tmp_path / "other")
    with pytest.raises(OutputError):
        check_head_target(tmp_path)
    with pytest.raises(OutputError):
        check_head_target(tmp_path / "nowhere" / "h")


# What it belongs to.

IDENTITY = Identity(
    HEAD.identity, method=HEAD.method, machine="here", vocabulary="tags", calibration=HEAD.base
)


@pytest.mark.parametrize(
    "same",
    [
        IDENTITY,
        replace(IDENTITY, machine="there"),
        replace(IDENTITY, vocabulary="other tags"),
        replace(IDENTITY, head="another head"),
    ],
    ids=["all of it", "another machine", "other tags", "another head"],
)
def test_neither_machine_nor_tags_are_an_objection(same: Identity) -> None:
    HEAD.check(same, "tiny")
    HEAD.check(same, "another name of the same weights")


def other(**changed: Any) -> Identity:
    return replace(IDENTITY, features=replace(HEAD.identity, **changed))


@pytest.mark.parametrize(
    ("known", "says"),
    [
        (other(weights="x"), "the model tiny, and the model here is mine"),
        (
            other(weights="x", prompt="x", layers="3"),
            "the model tiny, and the model here is mine, and with another prompt",
        ),
        (other(prompt="x"), "another prompt"),
        (other(cleaning="2"), "version 1 of the README cleaning, and here it is 2"),
        (other(readme_tokens=768), "256 README tokens, and 768 are read here"),
        (
            other(layers="3 roots"),
            "the last root after layer 1 as hidden states, and here they are 3 roots",
        ),
        (replace(IDENTITY, calibration="x"), "another calibration"),
        (replace(IDENTITY, method="rank 9"), "the method rank 8, and here it is rank 9"),
        (
            replace(other(prompt="x", readme_tokens=1), calibration="x"),
            "another prompt, and with 256 README tokens, and 1 are read here, and with another "
            "calibration",
        ),
    ],
)
def test_what_differs_is_named_with_its_values(known: Identity, says: str) -> None:
    for head, name in (
        (HEAD, "the head"),
        (replace(HEAD, source="h.safetensors"), "h.safetensors:"),
    ):
        with pytest.raises(HeadError) as caught:
            head.check(known, "mine")
        assert str(caught.value) == (
            f"{name} was learned with {says}; use the same, or learn again"
        )


def test_other_weights_of_the_same_name_are_told_apart() -> None:
    with refused(HeadError):
        HEAD.check(other(weights="x"), "tiny")


def test_no_digest_is_shown_and_no_message_is_endless() -> None:
    digest = "ab" * 32
    strange = replace(
        HEAD,
        model="m" * 1000,
        method="n" * 1000,
        base=digest,
        identity=replace(HEAD.identity, prompt=digest, layers="l" * 1000),
    )
    for weights in ("weights", "x"):
        with pytest.raises(HeadError) as caught:
            strange.check(other(weights=weights), "mine")
        assert digest not in str(caught.value)
        assert len(str(caught.value)) < 800


def test_the_name_of_its_model_cannot_forge_lines() -> None:
    with pytest.raises(HeadError) as caught:
        replace(HEAD, model="a\n\x1b[31mb").check(other(weights="x"), "mine")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


# What it makes of features.

NAMES = ["web", "cli", "game", "api", "http"]
VOCABULARY = Vocabulary.from_names(NAMES)


def evidence_for(tags: int, seed: int = 0, readmes: int = 4) -> Evidence:
    draw = torch.Generator().manual_seed(seed)

    def log_probs(*shape: int) -> TagLogProbs:
        first = -4 + torch.randn(shape, generator=draw)
        return TagLogProbs(first - torch.rand(shape, generator=draw), first)

    return Evidence(
        log_probs(readmes, 2, tags),
        log_probs(2, tags),
        (torch.rand(readmes, tags, 2, generator=draw) > 0.8).float(),
        torch.randn(readmes, 2, 8, generator=draw),
    )


EVIDENCE = evidence_for(len(NAMES))
SHORT = EVIDENCE.of_last_question()
BRIEF = replace(HEAD, method=HEAD.method + ONE_QUESTION)


@pytest.mark.parametrize(
    ("head", "needed"), [(HEAD, EVIDENCE), (BRIEF, SHORT)], ids=["whole", "brief"]
)
def test_a_score_is_one_more_input_of_the_logistic_function(head: Head, needed: Evidence) -> None:
    """By hand, for one tag of one README."""
    assert SHORT.features is not None
    confidence = Confidence.of(BASE, head, VOCABULARY)
    game = HEAD.tags.index("game")
    score = sum(
        float((value - mean) * scale * row)
        for value, mean, scale, row in zip(
            SHORT.features[1].flatten(), HEAD.mean, HEAD.scale, HEAD.rows[game], strict=True
        )
    )
    margin = float(BASE.margins(needed)[1, 2])
    start = float(BASE.logits(needed)[1, 2])
    expected = start + (1.4 - 1.0) * margin + (-2.0 - -1.0) + 2.5 * score
    assert float(confidence.logits(EVIDENCE)[1, 2]) == pytest.approx(expected, abs=1e-4)
    assert confidence.threshold == pytest.approx(0.47), "three of the five tags are known"
    assert confidence.known == 3


def test_margins_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed, margins = [], Calibration.margins

    def counting(calibration: Calibration, evidence: Evidence) -> Tensor:
        computed.append(calibration)
        return margins(calibration, evidence)

    monkeypatch.setattr(Calibration, "margins", counting)
    Confidence.of(BASE, HEAD, VOCABULARY).logits(EVIDENCE)
    assert computed == [BASE]


def test_evidence_of_the_last_question_is_its_branch_and_the_first_tokens() -> None:
    assert EVIDENCE.features is not None
    assert SHORT.features is not None
    assert torch.equal(SHORT.features[:, 0], EVIDENCE.features[:, 1])
    for short, whole in ((SHORT.log_probs, EVIDENCE.log_probs), (SHORT.prior, EVIDENCE.prior)):
        assert torch.equal(short.full[..., 0, :], whole.first[..., 1, :])
        assert torch.equal(short.full, short.first)
    assert torch.equal(SHORT.mentions, EVIDENCE.mentions)
    again = SHORT.of_last_question()
    assert torch.equal(again.log_probs.full, SHORT.log_probs.full)


def test_a_brief_head_that_knows_every_tag_needs_no_more_than_the_last_question() -> None:
    known = Vocabulary.from_names(HEAD.tags)
    evidence = evidence_for(len(known))
    short = evidence.of_last_question()
    background = evidence_for(len(known), seed=1).log_probs.mean()
    for base in (BASE, replace(BASE, background=background)):
        assert not Confidence.of(base, HEAD, known).complete
        confidence = Confidence.of(base, BRIEF, known)
        assert confidence.complete
        assert torch.equal(confidence.logits(evidence), confidence.logits(short))
    assert not Confidence.of(BASE, BRIEF, VOCABULARY).complete
    assert not Confidence.of(BASE, None, VOCABULARY).complete


def test_tags_that_it_does_not_know_keep_their_logit() -> None:
    logits = Confidence.of(BASE, HEAD, VOCABULARY).logits(EVIDENCE)
    plain = BASE.logits(EVIDENCE)
    assert torch.equal(logits[:, 3:], plain[:, 3:])
    assert not torch.isclose(logits[:, :3], plain[:, :3]).any()


def test_without_a_head_or_features_nothing_changes() -> None:
    none = Confidence.of(BASE, None, VOCABULARY)
    assert torch.equal(none.logits(EVIDENCE), BASE.logits(EVIDENCE))
    assert (none.threshold, none.known) == (BASE.threshold, 0)
    unread = replace(EVIDENCE, features=None)
    with_head = Confidence.of(BASE, HEAD, VOCABULARY)
    assert torch.equal(with_head.logits(unread), BASE.logits(EVIDENCE))


def test_tags_are_known_by_their_folded_names() -> None:
    alike = Vocabulary.from_json(
        json.dumps(
            [{"id": 5, "name": " GAME "}, {"id": "x", "name": "Web"}, {"id": 1, "name": "a"}]
        )
    )
    assert HEAD.known(alike).tolist() == [1, 2, -1]
    assert HEAD.known(Vocabulary.from_names(["a", "b"])).tolist() == [-1, -1]


def numbered(**names: str) -> Vocabulary:
    """A list of names by the letters of their ids."""
    return Vocabulary(tuple(Tag(id=id_, name=name) for id_, name in names.items()))


@pytest.mark.parametrize(
    ("vocabulary", "rows", "renamed"),
    [
        (numbered(a="CLI", b="web", c="play"), [0, 2, 1], [("game", "play")]),
        (numbered(a="cli", b="web", d="new"), [0, 2, -1], []),
        (numbered(c="cli", b="web", a="new"), [0, 2, -1], []),
        (numbered(a="shell", b="site", c="game"), [-1, -1, 1], []),
        (numbered(x="cli", c="new", b="web"), [0, -1, 2], []),
    ],
    ids=["one renamed", "one new", "ids swapped", "most names differ", "numbered anew"],
)
def test_a_renamed_tag_is_known_by_its_id(
    vocabulary: Vocabulary, rows: list[int], renamed: list[tuple[str, str]]
) -> None:
    head = replace(HEAD, ids=("a", "c", "b"))
    assert head.renames(vocabulary) == renamed
    assert head.known(vocabulary).tolist() == rows
    assert HEAD.renames(vocabulary) == [], "for a head that is for any list"


@given(order=st.permutations(range(len(NAMES))))
def test_the_order_of_tags_does_not_matter(order: list[int]) -> None:
    turned = Vocabulary.from_names([NAMES[place] for place in order])
    part = TagLogProbs(EVIDENCE.log_probs.full[..., order], EVIDENCE.log_probs.first[..., order])
    prior = TagLogProbs(EVIDENCE.prior.full[..., order], EVIDENCE.prior.first[..., order])
    evidence = replace(EVIDENCE, log_probs=part, prior=prior, mentions=EVIDENCE.mentions[:, order])
    logits = Confidence.of(BASE, HEAD, turned).logits(evidence)
    expected = Confidence.of(BASE, HEAD, VOCABULARY).logits(EVIDENCE)[:, order]
    assert torch.allclose(logits, expected, atol=1e-5)


@given(order=st.permutations(range(3)))
def test_the_order_of_its_rows_does_not_matter(order: list[int]) -> None:
    turned = replace(HEAD, tags=tuple(HEAD.tags[row] for row in order), rows=HEAD.rows[order])
    logits = Confidence.of(BASE, turned, VOCABULARY).logits(EVIDENCE)
    expected = Confidence.of(BASE, HEAD, VOCABULARY).logits(EVIDENCE)
    assert torch.allclose(logits, expected, atol=1e-5)


def test_without_weight_it_changes_no_bit() -> None:
    idle = replace(HEAD, calibration=BASE, weight=0.0)
    assert torch.equal(
        Confidence.of(BASE, idle, VOCABULARY).logits(EVIDENCE), BASE.logits(EVIDENCE)
    )


def test_the_background_of_a_calibration_counts_for_all_tags() -> None:
    background = evidence_for(len(NAMES), seed=1).log_probs.mean()
    base = replace(BASE, background=background)
    idle = replace(HEAD, calibration=BASE, weight=0.0)
    logits = Confidence.of(base, idle, VOCABULARY).logits(EVIDENCE)
    assert torch.equal(logits, base.logits(EVIDENCE))
    idle = replace(BRIEF, calibration=BASE, weight=0.0)
    logits = Confidence.of(base, idle, VOCABULARY).logits(EVIDENCE)
    assert torch.equal(logits[:, 3:], base.logits(EVIDENCE)[:, 3:])
    assert torch.equal(logits[:, :3], base.of_last_question().logits(SHORT)[:, :3])


# With a model.

README = Readme("x", "A game engine for the terminal.")


def rank_with(model: LanguageModel, head: Head | None = None, **more: Any) -> Rank:
    more = {"readme_tokens": 200} | more
    return Rank(model, VOCABULARY, head=head, **more)


def logits_of(rank: Rank) -> dict[str, float]:
    (ranking,) = rank.score([rank.encode(README)])
    return {scored.tag.name: scored.logit for scored in ranking}


def test_a_method_ranks_with_what_was_learned(tiny_model: LanguageModel) -> None:
    plain = rank_with(tiny_model)
    head = head_of(plain, ["game", "CLI", "never heard of"])
    learned = rank_with(tiny_model, head)
    assert learned.confidence.known == 2
    before, after = logits_of(plain), logits_of(learned)
    assert {name for name in NAMES if before[name] != after[name]} == {"game", "cli"}
    share = 2 / len(NAMES)
    expected = share * head.calibration.threshold + (1 - share) * plain.threshold
    assert learned.threshold == pytest.approx(expected)
    assert learned.identity.differences(plain.identity) == ["head"]
    assert plain.identity.differences(learned.identity) == ["head"]
    assert learned.reading_identity == plain.reading_identity


LONG = Vocabulary.from_names([f"{7919 * number % 100_003:05}" for number in range(150)])


@pytest.mark.parametrize("vocabulary", [VOCABULARY, LONG], ids=["scored", "searched"])
@pytest.mark.parametrize("keep_features", [True, False])
def test_one_question_gives_the_same_confidences(
    tiny_model: LanguageModel, vocabulary: Vocabulary, keep_features: bool
) -> None:
    whole = Rank(tiny_model, vocabulary, head=None)
    head = head_of(whole, brief=True)
    brief = Rank(tiny_model, vocabulary, head=head, keep_features=keep_features)
    readmes = [Readme("x", "A game engine for the terminal."), Readme("y", "Maps!")]
    encoded = [whole.encode(readme) for readme in readmes]
    with counted(tiny_model.network) as passes:
        logits = brief.confidence.logits(whole.evidence(encoded)).tolist()
        cost = sum(passes)
    with counted(tiny_model.network) as passes:
        found = brief.rank(brief.read(encoded))
        assert sum(passes) < cost
    places = {tag.id: place for place, tag in enumerate(vocabulary)}
    for ranking, row in zip(found, logits, strict=True):
        given = [row[places[tag.id]] for tag in ranking.tags]
        assert given == pytest.approx(sorted(row, reverse=True)[: len(given)], abs=1e-4)
        assert [tag.confidence for tag in ranking.tags] == pytest.approx(
            [1 / (1 + math.exp(-logit)) for logit in given], abs=1e-4
        )
    scored = brief.score(encoded[:1])[0]
    assert len(scored) == len(vocabulary)
    assert scored[0].confidence == pytest.approx(found[0].tags[0].confidence, abs=1e-6)


def test_what_one_question_gives_is_not_ranked_as_what_two_do(tiny_model: LanguageModel) -> None:
    plain = rank_with(tiny_model)
    brief = rank_with(tiny_model, head_of(plain, brief=True))
    assert brief.reading_identity.differences(plain.reading_identity) == ["method"]
    assert brief.evidence_identity == plain.evidence_identity
    (reading,) = brief.read([brief.encode(README)])
    with pytest.raises(ValueError, match="not the evidence"):
        plain.rank([reading])
    assert len(brief.conversations(README)) == 1
    assert brief.conversations(README)[0].text == plain.conversations(README)[-1].text
    assert brief.prompt_tokens["questions"] < plain.prompt_tokens["questions"]
    assert brief.capacity.overhead < plain.capacity.overhead


def test_two_questions_are_asked_where_no_brief_head_knows_every_tag(
    tiny_model: LanguageModel,
) -> None:
    plain = rank_with(tiny_model)
    for head in (head_of(plain), head_of(plain, NAMES[:4], brief=True)):
        other = rank_with(tiny_model, head)
        assert other.reading_identity == plain.reading_identity
        assert other.read([other.encode(README)]) == plain.read([plain.encode(README)])


def test_a_head_of_a_list_that_is_searched_is_for_such_lists(tiny_model: LanguageModel) -> None:
    short, long = (Rank(tiny_model, each, head=None) for each in (VOCABULARY, LONG))
    with pytest.raises(HeadError):
        Rank(tiny_model, VOCABULARY, head=head_of(long, NAMES))
    with pytest.raises(HeadError):
        Rank(tiny_model, LONG, head=head_of(short, ["07919"]))


def test_a_head_without_weight_gives_the_ranking_without_one(tiny_model: LanguageModel) -> None:
    plain = rank_with(tiny_model)
    calibration = plain.calibration
    idle = replace(head_of(plain, weight=0.0), calibration=calibration)
    learned = rank_with(tiny_model, idle)
    assert logits_of(learned) == logits_of(plain)
    assert learned.threshold == plain.threshold


@pytest.mark.parametrize(
    "change",
    [
        {"readme_tokens": 100},
        {"template": PromptTemplate(system="S", user="{tags} {readme}")},
        {"calibration": BASE},
    ],
    ids=lambda change: "" if isinstance(change, str) else next(iter(change)),
)
def test_a_head_of_another_setting_is_refused(
    tiny_model: LanguageModel, change: dict[str, Any]
) -> None:
    head = head_of(rank_with(tiny_model))
    with refused(HeadError):
        rank_with(tiny_model, head, **change)


def test_a_head_of_another_width_is_refused(tiny_model: LanguageModel) -> None:
    """It says that it belongs to the model, and its numbers say that it does not."""
    head = head_of(rank_with(tiny_model))
    narrow = replace(head, rows=head.rows[:, :8], mean=head.mean[:8], scale=head.scale[:8])
    with refused(HeadError):
        rank_with(tiny_model, narrow)
