"""How many of the example READMEs have their noted tag among the three best.

    python benchmarks/examples.py --model qwen2.5-coder-1.5b

The tags were noted when the READMEs were written, before any model had read them.
"""

import json

from common import ROOT, SAMPLE, parser, reported
from tagger import Readme, Selection, Tagger
from tagger.types import DEFAULT_MODEL

READMES = ROOT / "examples" / "readmes"


def main() -> None:
    """Tag the examples and print a Markdown table."""
    made = parser(__doc__)
    made.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or folder")
    options = made.parse_args()

    expected = json.loads((READMES / "expected.json").read_text(encoding="utf-8"))
    tagger = Tagger.load(options.model, SAMPLE, Selection(min_tags=3))
    readmes = [Readme.read(READMES / name, name) for name in expected]
    hits = 0
    print("| README | noted | three best, with confidence | |\n|---|---|---|---|")
    for tagging in tagger.tag(readmes):
        names = [tag.name.strip() for tag in tagging.tags]
        hit = expected[tagging.id] in names
        hits += hit
        best = ", ".join(f"{tag.name.strip()} {tag.confidence:.2f}" for tag in tagging.tags)
        print(f"| {tagging.id} | {expected[tagging.id]} | {best} | {'yes' if hit else 'no'} |")
    print(f"\n{hits} of {len(expected)} with {options.model}")


if __name__ == "__main__":
    reported(main)
