"""Outputs of a batch to review, written by hand, and the page of a review, served."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tagger.methods.rank.rank import Rank
from tagger.readme.sources import Sources
from tagger.review.review import Review
from tagger.review.server import Server, bound
from tagger.vocabulary import Tag, Vocabulary

VOCABULARY = Vocabulary(
    (
        Tag(id=1, name="cli", description="run in a terminal"),
        Tag(id=2, name="game"),
        Tag(id=3, name="game-engine "),
        Tag(id=4, name="web", aliases=("website",)),
        Tag(id="db", name="database"),
    )
)

README = """# {name}

[![Build](https://a.example/build.svg)](https://a.example) <script>document.title = "evil"</script>

A thing that does **{name}** things.

| option | |
|---|---|
| `--fast` | takes less time |

#### Usage

```sh
{name} --help
```
"""


def write(folder: Path, readmes: int = 12) -> Path:
    """Write an output, and its READMEs beside it. Every fourth has two tags, every sixth fails."""
    tags = list(VOCABULARY)
    output, sources = folder / "out.jsonl", folder / "readmes.jsonl"
    with output.open("w") as rows, sources.open("w") as texts:
        for number in range(readmes):
            id_ = f"readme-{number}"
            texts.write(json.dumps({"id": id_, "readme": README.format(name=id_)}) + "\n")
            if number % 6 == 5:
                error = {"type": "ReadmeError", "message": "takes too long to clean"}
                rows.write(json.dumps({"id": id_, "error": error}) + "\n")
                continue
            given = [tags[number % 5], tags[(number + 1) % 5]][: 1 + (number % 4 == 0)]
            confidence = round(0.5 + 0.49 * number / readmes, 3)
            found = [
                {"id": tag.id, "name": tag.name, "confidence": confidence - 0.1 * place}
                for place, tag in enumerate(given)
            ]
            rows.write(json.dumps({"id": id_, "tags": found}) + "\n")
    return output


def opened(folder: Path, readmes: int = 12, rank: "Callable[[], Rank] | None" = None) -> Review:
    """Return a review of such an output; without a model, unless something ranks."""
    output, sources = write(folder, readmes), Sources((str(folder / "readmes.jsonl"),))
    return Review(output, VOCABULARY, sources=sources, rank=rank)


def again(folder: Path, vocabulary: Vocabulary = VOCABULARY) -> Review:
    """Open the review of such an output once more."""
    return Review(folder / "out.jsonl", vocabulary)


@contextmanager
def serving(review: Review) -> Iterator[str]:
    """Serve the page of a review from a thread; gives its address, token included."""
    address: list[str] = []
    ready = threading.Event()

    def hear(said: str, _: str) -> None:
        address.append(said)
        ready.set()

    with bound(0) as at:
        server = Server(review, at)
        thread = threading.Thread(target=server.serve, args=(hear,))
        thread.start()
        assert ready.wait(10)
        try:
            yield address[0]
        finally:
            server.stop()
            thread.join()
