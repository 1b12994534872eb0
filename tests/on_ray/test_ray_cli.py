"""`tagger batch --ray`: one real run, and what is refused before anything is started."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest

from support.console import Run, one_line
from support.messages import check_line

pytestmark = pytest.mark.slow


def killed_actor(driver: "subprocess.Popen[str]") -> bool:
    """Kill the actor of a batch as soon as it is there; whether one was before the batch ended."""
    while driver.poll() is None:
        for process in psutil.Process(driver.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has just ended
                if "ray::MapWorker" in " ".join(process.cmdline()):
                    process.kill()
                    return True
        time.sleep(0.02)
    return False


def test_a_batch_on_a_cluster_of_this_machine_whose_actor_is_killed(
    run: Run, workplace: Path, tiny_folder: Path
) -> None:
    texts = ["A game engine.", "", "A web server.", "A game engine."]
    lines = [json.dumps({"id": n, "readme": text}) for n, text in enumerate(texts)]
    (workplace / "dump.jsonl").write_text("\n".join(lines))
    args = ["batch", "dump.jsonl", "--tags", "tags.json", "--model", str(tiny_folder), "--scores"]
    assert run(*args, "--quiet", "-o", "one.parquet").code == 1
    command = [sys.executable, "-m", "tagger", *args, "--threads", "1", "--concurrency", "1"]
    # In a process of its own: Ray leaves handlers and threads behind.
    with subprocess.Popen(
        [*command, "--ray", "local", "-o", "many.parquet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as driver:
        assert killed_actor(driver)
        out, err = driver.communicate()
    assert driver.returncode == 1, err
    assert out == ""
    assert all(line.startswith("tagger: ") for line in err.splitlines() if "█" not in line)
    rows = [
        row
        for path in (workplace / "many.parquet").glob("part-*.parquet")
        for row in pyarrow.parquet.ParquetFile(path).read().to_pylist()
    ]
    one = pyarrow.parquet.read_table(workplace / "one.parquet").to_pylist()
    assert sorted(rows, key=lambda row: str(row["id"])) == one
    assert json.loads((workplace / "many.parquet" / "_manifest.json").read_text())["failed"] == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--ray", "auto"),
        ("--ray", "", "-o", "o.parquet"),
        ("--ray", "auto", "-o", "o.parquet", "--endpoint", "http://127.0.0.1:1/v1"),
        ("--ray", "127.0.0.1:1", "-o", "o.parquet"),
    ],
)
def test_what_is_refused(run: Run, workplace: Path, options: tuple[str, ...]) -> None:
    outcome = run("batch", "README.md", "--tags", "tags.json", "--quiet", *options)
    assert outcome.code in (2, 3)
    check_line(one_line(outcome.err))
    assert not (workplace / "o.parquet").exists()
