"""OpenAI's Decisions, asked by the official client."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from support.messages import MESSAGES
from support.serving import PATIENCE

TICKET = "I was charged twice for March. Please refund me today."
REFUND: Any = {"type": "predicate", "instructions": "The customer wants money back."}


@pytest.fixture(scope="module")
def client(server_address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{server_address}/v1", api_key="none", timeout=PATIENCE, max_retries=0
    ) as client:
        yield client


def choice_of(*values: object) -> Any:
    choices = [{"value": value} for value in values]
    return {"type": "choice", "instructions": "Which?", "choices": choices}


def refused(client: openai.OpenAI, input: Any, *questions: Any) -> None:  # noqa: A002
    with pytest.raises(openai.BadRequestError) as caught:
        client.decisions.create(model="gpt-6-luna", input=input, questions=questions)
    body: Any = caught.value.body
    assert body["type"] == "invalid_request_error"
    MESSAGES.check(body["message"])


def test_every_kind_of_question_in_its_order(client: openai.OpenAI) -> None:
    decision = client.decisions.create(
        model="gpt-6-luna",
        input=TICKET,
        questions=[
            {
                "type": "score",
                "name": "anger",
                "instructions": [{"type": "input_text", "text": "How angry?"}],
                "levels": [{"label": "calm"}, {"label": "furious", "description": "threatens"}],
            },
            REFUND,
            {
                "type": "choice",
                "name": "team",
                "instructions": "Which team?",
                "choices": [{"value": "billing", "description": "money"}, {"value": "support"}],
            },
        ],
    )
    score, predicate, choice = decision.answers
    assert score.type == "score"
    assert score.name == "anger"
    assert [(each.value, each.label) for each in score.probabilities] == [
        (0, "calm"),
        (1, "furious"),
    ]
    assert score.score == pytest.approx(score.probabilities[1].probability, abs=1e-5)
    assert predicate.type == "predicate"
    assert predicate.name is None
    assert 0 <= predicate.probability <= 1
    assert choice.type == "choice"
    best = max(choice.probabilities, key=lambda each: each.probability)
    assert choice.choice == best.value
    assert decision.model == "tiny"
    assert decision.usage.total_tokens == decision.usage.input_tokens > 0


def test_booleans_are_other_options_than_their_names(client: openai.OpenAI) -> None:
    question = choice_of(True, False, "true")
    decision = client.decisions.create(model="m", input=TICKET, questions=[question])
    (answer,) = decision.answers
    assert answer.type == "choice"
    assert [each.value for each in answer.probabilities] == [True, False, "true"]
    assert [type(each.value) for each in answer.probabilities] == [bool, bool, str]


def test_a_conversation_with_tools(client: openai.OpenAI) -> None:
    said = {"role": "user", "content": [{"type": "input_json", "data": {"plan": "pro"}}]}
    call = {"type": "function_call", "call_id": "1", "name": "orders", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "1", "output": "two charges"}
    given: Any = [said, call, output]
    decision = client.decisions.create(model="m", input=given, questions=[REFUND])
    assert decision.answers[0].type == "predicate"
    refused(client, [output, call], REFUND)


def test_one_message_is_read_like_its_text(client: openai.OpenAI) -> None:
    message: Any = [{"role": "user", "content": TICKET}]
    answers = [
        client.decisions.create(model="m", input=given, questions=[REFUND]).answers
        for given in (TICKET, message)
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "question",
    [
        choice_of("one"),
        choice_of("one", "One"),
        choice_of("a", "b", "a"),
        choice_of(True, False, True),
        choice_of("one", ""),
        choice_of("one", 5),
        {"type": "predicate", "instructions": " "},
        {"type": "predicate"},
        {"type": "score", "instructions": "x", "levels": []},
        {"type": "essay", "instructions": "x"},
    ],
    ids=lambda question: str(question)[:60],
)
def test_questions_that_cannot_be_asked(client: openai.OpenAI, question: Any) -> None:
    refused(client, TICKET, question)


def test_input_that_cannot_be_read(client: openai.OpenAI) -> None:
    image = {"type": "input_image", "image_url": "https://example.com/dog.png"}
    refused(client, [{"role": "user", "content": [image]}], REFUND)
    refused(client, "long " * 20_000, REFUND)
    refused(client, TICKET)
