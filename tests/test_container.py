"""The container's files: what is said in them runs, as far as it can without an engine."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from support import ROOT
from support.console import Run

pytestmark = pytest.mark.slow

DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]

COMMAND, HEALTH = (
    json.loads(re.findall(rf"^{start}CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[0])
    for start in ("", r"HEALTHCHECK .*\\\n\s*")
)


@pytest.mark.parametrize(
    "command",
    [COMMAND, SERVICES["review"]["command"]],
    ids=["serve", "review"],
)
def test_the_commands_exist_with_their_options(run: Run, command: list[str]) -> None:
    outcome = run(*command, "--help")
    assert outcome.code == 0
    assert all(option in outcome.out for option in command if option.startswith("--"))


def test_the_extras_exist() -> None:
    from tagger._util.extras import EXTRAS

    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", DOCKERFILE, re.MULTILINE)
    assert set(extras.split(",")) <= set(EXTRAS)


def test_the_health_check_tells_a_server_from_none(server_address: str) -> None:
    _, option, code = HEALTH
    for address, status in ((server_address, 0), ("http://127.0.0.1:9", 1)):
        asked = code.replace("http://127.0.0.1:8000", address)
        assert asked != code
        done = subprocess.run([sys.executable, option, asked], capture_output=True)
        assert done.returncode == status


def test_only_this_machine_reaches_the_services() -> None:
    assert SERVICES["serve"]["ports"] == ["127.0.0.1:8000:8000"]
    assert SERVICES["review"]["network_mode"] == "host"  # where `tagger review` is on 127.0.0.1
