"""A batch on a cluster but for the cluster: its actors are called in this process."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from support.messages import refused
from tagger.batch.batch import Batch
from tagger.errors import ClusterError, InputError, UsageError
from tagger.methods.rank.rank import Encoded, Rank
from tagger.models.language import LanguageModel
from tagger.ray import cluster, run
from tagger.ray.blocks import KeyedRow, unpacked
from tagger.ray.cluster import Actors
from tagger.ray.parts import MANIFEST
from tagger.ray.run import ClusterBatch
from tagger.ray.worker import Recipe, Worker
from tagger.readme.sources import Sources
from tagger.selection import Selection
from tagger.tagger import Tagger
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["http", "http-client", "game", "cli"])
ACTORS = Actors(1, 1, 0)


class Counting(Rank):
    """Notes what it reads."""

    texts: list[str]

    def read(self, readmes: Any) -> Any:
        self.texts += [readme.text for readme in readmes]
        return super().read(readmes)


@pytest.fixture
def rank(tiny_model: LanguageModel) -> Counting:
    made = Counting(tiny_model, VOCABULARY)
    made.texts = []
    return made


@pytest.fixture
def recipe(rank: Counting) -> Recipe:
    return Recipe(lambda: rank, Selection(), rank.identity)


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(
        batch: ClusterBatch, blocks: list[Any], recipe: Recipe, actors: Actors
    ) -> Iterator[KeyedRow]:
        worker = Worker(recipe)
        for block in blocks:
            for texts in run._texts(batch._sources_of, block):
                yield from unpacked(worker(texts))

    monkeypatch.setattr(ClusterBatch, "_read", read)
    monkeypatch.setattr(cluster, "check", lambda recipe: None)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """A folder and a dump, with equal READMEs in both, and some that cannot be read."""
    for number in range(3):
        folder = tmp_path / "in" / f"repo-{number}"
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(f"# Game {number}\n\nAn engine.")
    texts = ["# Game 1\n\nAn engine.", "A web server.", "", "A web server.", "A parser."]
    lines = [json.dumps({"id": n, "readme": text}) for n, text in enumerate(texts)]
    (tmp_path / "dump.jsonl").write_text("\n".join([*lines, "not JSON"]) + "\n")
    return Sources((str(tmp_path / "in"), str(tmp_path / "dump.jsonl")))


def batch(sources: Sources, tmp_path: Path, **more: Any) -> ClusterBatch:
    return ClusterBatch(sources, VOCABULARY, output=tmp_path / "o.parquet", scores=True, **more)


def table(path: Path) -> list[Any]:
    """The rows of a table, or of a folder of them, by id."""
    paths = [path] if path.is_file() else path.glob("part-*.parquet")
    rows = [row for each in paths for row in pyarrow.parquet.ParquetFile(each).read().to_pylist()]
    return sorted(rows, key=lambda row: str(row["id"]))


def test_the_rows_are_those_of_one_machine(
    sources: Sources, recipe: Recipe, rank: Counting, tmp_path: Path
) -> None:
    with Batch(sources, VOCABULARY, output=tmp_path / "one.parquet", scores=True) as one:
        list(one.run(Tagger[Encoded](rank)))
    rank.texts.clear()
    with batch(sources, tmp_path) as many:
        assert many.total == 9
        rows = list(many.run(recipe, ACTORS))
    assert table(tmp_path / "o.parquet") == table(tmp_path / "one.parquet")
    assert len(rows) == 9
    assert (tmp_path / "o.parquet" / MANIFEST).exists()
    assert len(rank.texts) == len(set(rank.texts)) == 5, "equal READMEs are read once"


def test_another_run_does_what_is_missing(
    sources: Sources, recipe: Recipe, rank: Counting, tmp_path: Path
) -> None:
    with batch(sources, tmp_path) as first:
        rows = first.run(recipe, ACTORS)
        for _ in range(4):  # two that fail and two that do not
            next(rows)
    assert not (tmp_path / "o.parquet" / MANIFEST).exists()
    before = set(rank.texts)
    rank.texts.clear()
    with batch(sources, tmp_path) as second:
        assert len(list(second.run(recipe, ACTORS))) == 7, "those that failed are tried again"
    assert before - set(rank.texts), "not all were read again"
    ids = [row["id"] for row in table(tmp_path / "o.parquet")]
    assert len(ids) == len(set(ids)) == 9
    rank.texts.clear()
    with batch(sources, tmp_path) as third:
        list(third.run(recipe, ACTORS))
    assert rank.texts == []
    assert len(table(tmp_path / "o.parquet")) == 9


def test_a_readme_that_has_changed_gets_another_row(
    sources: Sources, recipe: Recipe, rank: Counting, tmp_path: Path
) -> None:
    with batch(sources, tmp_path) as work:
        list(work.run(recipe, ACTORS))
    (tmp_path / "in" / "repo-0" / "README.md").write_text("A parser of JSON.")
    (tmp_path / "in" / "repo-1" / "README.md").unlink()
    rank.texts.clear()
    with batch(sources, tmp_path) as work:
        list(work.run(recipe, ACTORS))
    assert rank.texts == ["A parser of JSON."]
    ids = [row["id"] for row in table(tmp_path / "o.parquet")]
    assert len(ids) == 8
    assert "repo-1/README.md" not in ids


def test_stopping_keeps_the_rows_in_hand(sources: Sources, recipe: Recipe, tmp_path: Path) -> None:
    with batch(sources, tmp_path) as work:
        for row in work.run(recipe, ACTORS):
            if not row.to_json().count("error"):
                work.stop()
                break
    assert any(row["tags"] for row in table(tmp_path / "o.parquet"))
    assert not (tmp_path / "o.parquet" / MANIFEST).exists()


def test_another_selection_is_refused(sources: Sources, recipe: Recipe, tmp_path: Path) -> None:
    with batch(sources, tmp_path) as work:
        list(work.run(recipe, ACTORS))
    other = replace(recipe, selection=Selection(max_tags=1))
    with batch(sources, tmp_path) as work, refused(UsageError):
        work.run(other, ACTORS)
    with batch(sources, tmp_path, restart=True) as work:
        assert len(list(work.run(other, ACTORS))) == 9


def test_a_source_that_changes_in_the_meantime_ends_the_batch(
    sources: Sources, recipe: Recipe, tmp_path: Path
) -> None:
    with batch(sources, tmp_path) as work:
        (tmp_path / "in" / "repo-0" / "README.md").write_text("Another one.")
        with refused(InputError):
            list(work.run(recipe, ACTORS))


@pytest.mark.parametrize(("paths", "output"), [(("-",), "o.parquet"), (("in",), "o.jsonl")])
def test_what_a_cluster_cannot_do_is_refused(
    sources: Sources,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    paths: tuple[str, ...],
    output: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    work = ClusterBatch(Sources(paths), VOCABULARY, output=Path(output))
    with refused(UsageError):
        work.__enter__()


def test_a_duplicate_id_is_found_before_a_model_is_loaded(sources: Sources, tmp_path: Path) -> None:
    twice = replace(sources, paths=(*sources.paths, sources.paths[0]))
    with refused(InputError):
        batch(twice, tmp_path).__enter__()
    with batch(twice, tmp_path, on_duplicate="suffix") as work:
        assert work.total == 12


def test_a_machine_with_another_version_or_model_is_refused(recipe: Recipe, rank: Counting) -> None:
    assert recipe.tagger().method is rank
    with refused(ClusterError):
        replace(recipe, version="0.0.1").tagger()
    other = replace(rank.identity, features=replace(rank.identity.features, weights="other"))
    with refused(ClusterError):
        replace(recipe, identity=other).tagger()


def test_a_machine_of_another_kind_is_not(recipe: Recipe, rank: Counting) -> None:
    assert replace(recipe, identity=replace(rank.identity, machine="other")).tagger()


def test_what_a_machine_raises_is_told_without_its_traceback() -> None:
    from ray.exceptions import RayTaskError

    ours = ClusterError("it has another model")
    error = RayTaskError("_look", "Traceback of many lines", ours, pid=1, ip="")
    assert cluster.reason(error.as_instanceof_cause()) == "it has another model"
    assert cluster.reason(ConnectionError("lost\nin several lines")) == "lost"


@pytest.mark.parametrize("address", ["ray://host:10001", "nonsense", "127.0.0.1:1"])
def test_an_address_without_a_cluster_is_refused(address: str) -> None:
    with refused(ClusterError if "1:1" in address else UsageError), cluster.connected(address):
        pass


def test_an_address_from_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://host:10001")
    with refused(UsageError), cluster.connected("auto"):
        pass


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
@pytest.mark.parametrize("from_environment", [False, True])
def test_an_address_where_something_else_listens_is_refused(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, from_environment: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def serve() -> None:
            with server.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setenv("RAY_ADDRESS", address)
        with (
            pytest.raises(ClusterError, match="what listens there is not Ray"),
            cluster.connected("auto" if from_environment else address),
        ):
            pass
        thread.join()
