"""The package installed from this checkout into an empty environment."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_installed_and_run_from_another_folder(tiny_folder: Path, tmp_path: Path) -> None:
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", ROOT], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "README.md").write_text("# Voxel\n\nA game engine.")
    (elsewhere / "tags.json").write_text('["game-engine", "cli"]')
    done = subprocess.run(
        [python.with_name("tagger"), "run", "README.md", "--model", tiny_folder],
        cwd=elsewhere,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["id"] == "README.md"
