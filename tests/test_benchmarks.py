"""Benchmarks that this machine cannot run at their real size do run at a tiny one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT

pytestmark = pytest.mark.slow

GPU = ROOT / "benchmarks" / "gpu.py"


def test_the_gpu_benchmark_measures_a_batch_and_generate(tiny_folder: Path) -> None:
    command = [sys.executable, str(GPU), "--shape", "tiny", "--device", "cpu", "--json"]
    command += ["--readmes", "3", "--generated", "1", "--tokenizer", str(tiny_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["readmes"] == 3
    assert 800 < found["tokens_per_readme"] <= 1000
    for name in ("readmes_per_second", "peak_tflops", "share_of_peak", "times_generate"):
        assert found[name] > 0
    assert found["share_of_peak"] < 1
