"""One model for many clients: who shares a pass, who waits, and who does not get in."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from support import serving
from support.messages import MESSAGES
from tagger.errors import LoadError, OutOfMemoryError
from tagger.methods.base import Capacity
from tagger.methods.rank.rank import Encoded, Rank
from tagger.models.language import LanguageModel

GAME = {"readme": "A game."}
NOUL = {"type": "noul", "instructions": "A game?"}
QUESTION = {"model": "m", "state": "x", "questions": {"q": NOUL}}


class Held:
    """Holds the model at its first pass, and notes how many READMEs each has.

    Attributes:
        reading: set when the model holds a pass.
        go_on: to be set by the test.
        passes: the READMEs of each pass.
        finished: how many passes have been let go.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reading, self.go_on = threading.Event(), threading.Event()
        self.passes: list[int] = []
        self.finished = 0
        self._read = Rank.read
        monkeypatch.setattr(Rank, "read", lambda rank, readmes: self._hold(rank, readmes))

    def _hold(self, rank: Rank, readmes: Sequence[Encoded]) -> list[bytes]:
        self.passes.append(len(readmes))
        self.reading.set()
        self.go_on.wait(serving.PATIENCE)
        self.finished += 1
        return self._read(rank, readmes)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held(monkeypatch)
    yield held
    held.go_on.set()


def post(address: str, body: object, path: str = "/v1/tag") -> httpx2.Response:
    return serving.post(address + path, json=body)


def waiting(address: str, count: int) -> None:
    line = f"tagger_waiting {float(count)}"
    serving.wait_until(lambda: line in serving.get(f"{address}/metrics").text.split("\n"))


def checked(response: httpx2.Response) -> int:
    MESSAGES.check(response.json()["detail"]["message"])
    return response.status_code


def together(server_rank: Rank, held: Held, count: int) -> list[int]:
    """The passes of a README that was alone and of others that came meanwhile."""
    with serving.serving(server_rank) as address, ThreadPoolExecutor(count) as clients:
        first = clients.submit(post, address, GAME)
        assert held.reading.wait(serving.PATIENCE)
        others = [clients.submit(post, address, GAME) for _ in range(count - 1)]
        waiting(address, count)
        # A request that is counted may still be on its way through the cleaning.
        serving.wait_until(lambda: serving.get(f"{address}/healthz").status_code == 200)
        held.go_on.set()
        replies = [each.result().json() for each in (first, *others)]
        assert replies == [replies[0]] * count
    return held.passes


def test_on_a_cpu_each_readme_has_a_pass_of_its_own(server_rank: Rank, held: Held) -> None:
    assert together(server_rank, held, 5) == [1] * 5


def test_on_a_gpu_readmes_that_wait_share_passes(
    server_rank: Rank, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = server_rank.encode(serving.readme("A game.")).length
    room = 3 * (length + 100)
    monkeypatch.setattr(Rank, "capacity", Capacity(room, overhead=100))
    passes = together(server_rank, held, 8)
    assert passes[0] == 1
    assert sum(passes) == 8
    assert max(passes) == 3


def test_a_pass_that_is_too_large_is_split(
    server_rank: Rank, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hold(self: Held, rank: Rank, readmes: Sequence[Encoded]) -> list[bytes]:
        if len(readmes) > 2:
            raise OutOfMemoryError("not enough memory")
        return read(self, rank, readmes)

    read = Held._hold
    monkeypatch.setattr(Held, "_hold", hold)
    monkeypatch.setattr(Rank, "capacity", Capacity(10_000))
    assert max(together(server_rank, held, 8)) == 2


def test_a_full_queue_says_when_to_ask_again(server_rank: Rank, held: Held) -> None:
    with serving.serving(server_rank, most=2) as address, ThreadPoolExecutor(3) as clients:
        begun = clients.submit(post, address, {"readmes": [GAME] * 3})  # alone, so it gets in
        waiting(address, 3)
        response = post(address, QUESTION, "/v1/systemone")
        assert checked(response) == 429
        assert int(response.headers["Retry-After"]) >= 1
        error = post(
            address,
            {
                **QUESTION,
                "input": "x",
                "questions": [{"type": "predicate", "instructions": "A game?"}],
            },
            "/v1/decisions",
        )
        assert error.status_code == 429
        assert error.json()["error"]["type"] == "rate_limit_error"
        held.go_on.set()
        assert len(begun.result().json()["replies"]) == 3
        assert post(address, GAME).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(server_rank: Rank, held: Held) -> None:
    with serving.serving(server_rank, seconds=0.2) as address, ThreadPoolExecutor(2) as clients:
        late = [clients.submit(post, address, GAME) for _ in range(2)]
        assert [each.result().status_code for each in late] == [504, 504]
        assert checked(late[0].result()) == 504
        held.go_on.set()
        serving.wait_until(lambda: post(address, GAME).status_code == 200)


def test_work_that_nobody_waits_for_does_not_hold_up_the_end(server_rank: Rank, held: Held) -> None:
    with (
        serving.serving(server_rank, seconds=0.2) as address,
        ThreadPoolExecutor(3) as clients,
    ):
        late = [clients.submit(post, address, {"readmes": [GAME] * 5}) for _ in range(3)]
        assert [each.result().status_code for each in late] == [504] * 3
    # The server has ended, although a pass is still held.
    assert len(held.passes) == 1
    assert held.finished == 0


def test_until_the_model_is_loaded_nothing_is_accepted(
    server_rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = threading.Event()
    monkeypatch.setattr(LanguageModel, "load", lambda _: loading.wait(serving.PATIENCE))
    with serving.starting(server_rank) as address:
        assert serving.get(f"{address}/healthz").status_code == 200
        for response in (serving.get(f"{address}/readyz"), post(address, GAME)):
            assert checked(response) == 503
            assert response.headers["Retry-After"]
        loading.set()
        serving.wait_until(lambda: post(address, GAME).status_code == 200)


def test_a_model_that_cannot_be_loaded_ends_the_server(
    server_rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: LanguageModel) -> None:
        raise LoadError("the files are damaged")

    monkeypatch.setattr(LanguageModel, "load", fail)
    with pytest.raises(LoadError, match="damaged"):
        serving.serve(server_rank)


def test_a_model_that_fails_at_a_readme_goes_on(
    server_rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OutOfMemoryError("not enough memory for the README")

    with serving.serving(server_rank) as address:
        with monkeypatch.context() as patch:
            patch.setattr(Rank, "read", fail)
            assert checked(post(address, GAME)) == 500
            assert checked(post(address, {"readmes": [GAME]})) == 500
        assert post(address, GAME).status_code == 200
