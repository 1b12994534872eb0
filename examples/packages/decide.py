"""Answer the first 50 READMEs of a review as decisions.csv does, in place of the page.

The order is the one in which the page shows them.
"""

import csv
from pathlib import Path

from tagger import Review, Vocabulary

HERE = Path(__file__).parent

rows = csv.DictReader((HERE / "decisions.csv").read_text().splitlines())
decisions = {row["id"]: row["tags"].split(";") for row in rows}
vocabulary = Vocabulary.load(HERE / "tags.json")
ids = {tag.name: str(tag.id) for tag in vocabulary}
with Review(Path("out.jsonl"), vocabulary) as review:
    for _ in range(50):
        item = review.next()
        review.decide(item.id, [ids[name] for name in decisions[item.id]], item.revision)
    first = review.statistics().first
    print(
        f"{first.right} of {first.of} first tags were right ({first.low:.2f} to {first.high:.2f})"
    )
