"""Models by their ids on a hub: which files are taken, and what is said when none come."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest

from support.console import Run
from support.fake_hubs import REPOSITORY, Hub, serving
from support.messages import check_line, refused
from tagger.errors import DigestError, ModelMissingError, UnknownModelError, UsageError
from tagger.models.fetch import hubs
from tagger.models.load import load
from tagger.models.plan import config_of

NOTHING_LISTENS = "http://127.0.0.1:9"


@pytest.fixture
def hub(tiny_folder: Path) -> Iterator[Hub]:
    files = {path.name: path.read_bytes() for path in tiny_folder.iterdir()}
    with serving(files) as hub:
        yield hub


@pytest.fixture
def modelscope(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub, as ModelScope, whose client tries everything once."""
    monkeypatch.setenv("TAGGER_HUB", "modelscope")
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "modelscope-home"))
    monkeypatch.delenv("MODELSCOPE_API_TOKEN", raising=False)
    use_modelscope(monkeypatch, hub.address)
    monkeypatch.setattr("modelscope_hub._legacy_api.REPO_TREE_PAGE_MAX_ATTEMPTS", 1)
    for constant in ("DOWNLOAD_HASH_RETRY_TIMES", "DOWNLOAD_SIZE_RETRY_TIMES"):
        monkeypatch.setattr(f"modelscope_hub._download.{constant}", 1)
    return hub


def use_modelscope(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", address)


@pytest.fixture
def hugging_face(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub, as Hugging Face's."""
    constants = huggingface_hub.constants
    template = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return hub


@pytest.mark.parametrize("which", ["modelscope", "hugging_face"])
def test_a_model_is_fetched_once_and_announced_with_its_size(
    which: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    hub: Hub = request.getfixturevalue(which)
    hub.files["modeling_tiny.py"] = hub.files["pytorch_model.bin"] = b"code"
    caplog.set_level("INFO", "tagger")
    load(REPOSITORY, device="cpu")
    sent = list(hub.sent)
    assert {"config.json", "model.safetensors"} <= set(sent)
    assert not {"modeling_tiny.py", "pytorch_model.bin"} & set(sent)
    assert caplog.text.count(f"fetching {REPOSITORY}") == 1
    load(REPOSITORY, device="cpu")
    load(REPOSITORY, device="cpu", offline=True)
    assert hub.sent == sent
    assert caplog.text.count(f"fetching {REPOSITORY}") == 1


def test_only_messages_are_on_a_stderr_that_is_no_terminal(modelscope: Hub, run: Run) -> None:
    outcome = run("run", "README.md", "--tags", "tags.json", model=REPOSITORY)
    assert outcome.code == 0
    assert all(line.startswith("tagger: ") for line in outcome.err.splitlines())
    assert f"tagger: fetching {REPOSITORY}" in outcome.err


def test_dimensions_come_from_modelscope_without_the_weights(modelscope: Hub) -> None:
    assert config_of(REPOSITORY).hidden_size == 32
    assert modelscope.sent == ["config.json"]


@pytest.mark.parametrize("which", ["modelscope", "hugging_face"])
def test_a_model_that_was_planned_is_announced_when_its_weights_come(
    which: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    request.getfixturevalue(which)
    caplog.set_level("INFO", "tagger")
    config_of(REPOSITORY)
    assert not caplog.text
    hubs.snapshot(REPOSITORY)
    assert caplog.text.count(f"fetching {REPOSITORY}") == 1


def test_a_file_that_has_another_size_now_is_fetched_again(modelscope: Hub) -> None:
    folder = hubs.snapshot(REPOSITORY)
    modelscope.sent.clear()
    modelscope.files["generation_config.json"] = b'{"eos_token_id": 1  }'
    hubs.snapshot(REPOSITORY)
    assert modelscope.sent == ["generation_config.json"]
    assert (folder / "generation_config.json").read_bytes() == b'{"eos_token_id": 1  }'


@pytest.mark.parametrize(
    "name", ["../config.json", "/tmp/config.json", "..\\config.json", ".config.json", "a/b.json"]
)
def test_no_name_of_a_listing_leads_elsewhere(modelscope: Hub, tmp_path: Path, name: str) -> None:
    modelscope.files[name] = b"{}"
    before = set(tmp_path.rglob("*.json"))
    folder = hubs.snapshot(REPOSITORY)
    assert name not in modelscope.sent
    assert {path.parent for path in set(tmp_path.rglob("*.json")) - before} == {folder}


@pytest.mark.parametrize("lie", [{"Sha256": "0" * 64}, {"Size": 10**15}, {"Size": 3}])
def test_a_file_that_differs_from_its_listing_is_not_kept(
    modelscope: Hub, tmp_path: Path, lie: dict[str, object]
) -> None:
    modelscope.listed["config.json"] = lie
    with refused(DigestError):
        hubs.snapshot(REPOSITORY)
    assert not list(tmp_path.rglob("config.json"))


@pytest.mark.parametrize("size", [0, -1])
def test_a_file_that_is_listed_without_a_size_is_not_fetched(modelscope: Hub, size: int) -> None:
    modelscope.listed["config.json"] = {"Size": size}
    hubs.snapshot(REPOSITORY)
    assert "config.json" not in modelscope.sent


@pytest.mark.parametrize(
    "listing",
    [b"", b"<html>", b"[]", b"{}", b'{"Data": {"Files": [1]}}', b'{"Data": {"Files": "x"}}'],
)
def test_a_listing_that_makes_no_sense_is_one_line(modelscope: Hub, listing: bytes) -> None:
    modelscope.listing = listing or b" "
    with refused(ModelMissingError):
        hubs.snapshot(REPOSITORY)


def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    use_modelscope(monkeypatch, NOTHING_LISTENS)


def without_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)


def unknown_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGGER_HUB", "Model Scope")


@pytest.mark.parametrize(
    ("change", "code"), [(unreachable, 3), (without_client, 2), (unknown_hub, 2)]
)
def test_what_stops_a_fetch_is_one_line(
    modelscope: Hub,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch], None],
    code: int,
) -> None:
    change(monkeypatch)
    outcome = run("run", "README.md", "--tags", "tags.json", model=REPOSITORY)
    assert (outcome.code, outcome.out) == (code, "")
    check_line(outcome.err)


def test_a_model_that_modelscope_does_not_have(modelscope: Hub) -> None:
    with refused(UnknownModelError):
        load("Tiny/Unknown")


def test_nothing_is_fetched_offline(modelscope: Hub) -> None:
    with refused(ModelMissingError):
        load(REPOSITORY, offline=True)
    assert not modelscope.sent


def test_an_empty_setting_is_none(hugging_face: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGGER_HUB", "")
    assert (hubs.snapshot(REPOSITORY) / "config.json").is_file()
    monkeypatch.setenv("TAGGER_HUB", "hub")
    with refused(UsageError):
        hubs.snapshot(REPOSITORY)
