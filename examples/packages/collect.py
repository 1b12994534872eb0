"""Write the READMEs of packages that are installed beside tagger: packages/NAME/README.md."""

import csv
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

HERE = Path(__file__).parent

for row in csv.DictReader((HERE / "decisions.csv").read_text().splitlines()):
    try:
        package = metadata(row["id"])
    except PackageNotFoundError:
        continue  # of another version of tagger
    markdown = package.get("Description-Content-Type", "").startswith("text/markdown")
    folder = Path("packages", row["id"])
    folder.mkdir(parents=True, exist_ok=True)
    text = package.get("Description") or str(package.get_payload())
    (folder / ("README.md" if markdown else "README.rst")).write_text(text, encoding="utf-8")
