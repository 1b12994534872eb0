"""The prompt: its template, its structure under hostile text, and how much of a README it takes."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import tiny
from support.hostile_inputs import PROMPTS
from support.messages import refused
from tagger.errors import LoadError, PromptError
from tagger.models.tokenizer import ChatTokenizer
from tagger.prompts.prompt import Prompt, PromptTemplate, Question
from tagger.vocabulary import Vocabulary

TOKENIZER = ChatTokenizer(tiny.tokenizer())
CONTROL = set(tiny.tokenizer().get_added_vocab().values())
TEMPLATE = PromptTemplate(system="You tag.", user="Tags: {tags}\n{readme}\nChoose.")


def prompt(*names: str) -> Prompt:
    return Prompt(TEMPLATE, Vocabulary.from_names(names or ("cli", "web ")), TOKENIZER)


def before(parts: Prompt) -> list[list[int]]:
    """Everything before the README, for each order of the list."""
    return [[*parts.head, *listed, *parts.bridge] for listed in parts.lists]


def test_the_conversation_is_chatml_with_names_in_both_orders() -> None:
    parts = prompt()
    (ending,) = parts.endings
    for ids, listed in zip(before(parts), ("cli, web", "web, cli"), strict=True):
        text = TOKENIZER.decode([*ids, *parts.fit("A README.", 100), *ending])
        assert text == (
            "<|im_start|>system\nYou tag.<|im_end|>\n"
            f"<|im_start|>user\nTags: {listed}\nA README.\nChoose.<|im_end|>\n"
            "<|im_start|>assistant\n"
        )


def test_a_blank_before_the_list_belongs_to_its_first_tag() -> None:
    assert TOKENIZER.decode(list(prompt().lists[0])) == " cli, web"


def test_each_question_is_a_paragraph_of_its_own_behind_the_readme() -> None:
    questions = (Question("What is it?"), Question("Which kind?", 'It is "'))
    template = PromptTemplate("You tag.", "Tags: {tags}\n{readme}", questions)
    parts = Prompt(template, Vocabulary.from_names(["cli"]), TOKENIZER)
    assert [TOKENIZER.decode(list(ending)) for ending in parts.endings] == [
        f"\n\n{question.ask}<|im_end|>\n<|im_start|>assistant\n" for question in questions
    ]
    assert parts.openings == ('{"tags": ["', 'It is "')


def test_descriptions_and_aliases_stand_in_the_list_on_a_line_each() -> None:
    vocabulary = Vocabulary.from_json(
        json.dumps(
            [
                {
                    "id": 1,
                    "name": "k8s ",
                    "description": "runs on\nKubernetes",
                    "aliases": ["a", "b"],
                },
                {"id": 2, "name": "cli"},
            ]
        )
    )
    text = TOKENIZER.decode(before(Prompt(TEMPLATE, vocabulary, TOKENIZER))[0])
    assert "Tags: \n- k8s (a, b): runs on Kubernetes\n- cli\n" in text


@pytest.mark.parametrize("text", PROMPTS)
def test_a_readme_holds_no_control_token(text: str) -> None:
    ids = prompt().fit(text, 1000)
    assert not CONTROL.intersection(ids)
    assert TOKENIZER.decode(ids) == text


@pytest.mark.parametrize("text", PROMPTS)
def test_a_tag_name_holds_no_control_token(text: str) -> None:
    plain, hostile = prompt("cli", "web"), prompt("cli", text)
    for ids, expected in zip(before(hostile), before(plain), strict=True):
        assert [id_ for id_ in ids if id_ in CONTROL] == [id_ for id_ in expected if id_ in CONTROL]
    assert hostile.endings == plain.endings


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_whatever_becomes_a_control_token(text: str) -> None:
    assert not CONTROL.intersection(TOKENIZER.encode(text))


@given(st.text("ab \n.", max_size=300), st.integers(1, 50))
def test_a_readme_never_takes_more_than_its_budget(text: str, budget: int) -> None:
    assert len(prompt().fit(text, budget)) <= budget


def test_a_long_readme_ends_at_a_paragraph_when_one_ends_late_enough() -> None:
    text = "word " * 45 + "end.\n\n" + "more " * 100
    full = TOKENIZER.encode(text)
    cut = TOKENIZER.encode(text[: text.index("\n\n")])
    assert prompt().fit(text, len(cut) + 5) == cut
    assert prompt().fit(text, len(full)) == full


def test_a_text_without_spaces_is_cut_at_the_budget() -> None:
    assert len(prompt().fit("a" * 5000, 50)) == 50


def test_a_vocabulary_cannot_put_line_breaks_into_the_list() -> None:
    assert "cli, a b\n" in TOKENIZER.decode(before(prompt("cli", "a\n\nb"))[0])


def test_a_shipped_template_goes_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = PromptTemplate.load(Path("documents"))
    assert "software" not in named.system + named.user
    assert named.digest != PromptTemplate.load().digest
    with refused(PromptError):
        PromptTemplate.load(Path("documets"))


def test_a_file_of_the_folder_does_not_pass_for_a_shipped_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "documents").write_text('system = "mine"\nuser = "{tags} {readme}"')
    (tmp_path / "rank").write_text("not even TOML")
    assert PromptTemplate.load(Path("documents")).system != "mine"
    assert PromptTemplate.load(tmp_path / "documents").system == "mine"
    assert PromptTemplate.load()


@pytest.mark.parametrize("content", [b"[" * 3000, b"a" + b".a" * 5000 + b" = 1", b"\xff"])
def test_a_template_that_cannot_be_parsed_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    with refused(PromptError):
        PromptTemplate.load(tmp_path / "bad.toml")


def test_a_template_without_end_is_refused() -> None:
    with refused(PromptError):
        PromptTemplate.load(Path("/dev/zero"))


def test_the_shipped_template_loads() -> None:
    assert "{readme}" in PromptTemplate.load().user


@pytest.mark.parametrize(
    "content",
    [
        "system = 1",
        'user = "{tags} {readme}"',
        'system = ""\nuser = "{tags} {readme}"\nmore = 1',
        'system = ""\nuser = "{readme}"',
        'system = ""\nuser = "{tags} {readme} {readme}"',
        'system = ""\nuser = "{readme} {tags}"',
        "system =",
        'system = ""\nuser = "{tags} {readme}"\nquestions = []',
        'system = ""\nuser = "{tags} {readme}"\n[[questions]]\nwhat = "x"',
        'system = ""\nuser = "{tags} {readme}"\n[[questions]]\nopening = "x"',
    ],
)
def test_a_template_that_cannot_work_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "prompt.toml"
    path.write_text(content)
    with refused(PromptError) as error:
        PromptTemplate.load(path)
    assert "prompt.toml" in str(error.value)


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    with refused(PromptError):
        PromptTemplate.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{{ messages[0].content }}",
        "{{ raise_exception('no system role') }}",
    ],
)
def test_a_model_without_a_usable_chat_template_is_refused(
    monkeypatch: pytest.MonkeyPatch, template: str | None
) -> None:
    monkeypatch.setattr(tiny.tokenizer(), "chat_template", template)
    with refused(LoadError):
        ChatTokenizer(tiny.tokenizer())
