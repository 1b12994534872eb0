"""The command line on a tiny model: what it prints, where, and with which exit code."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import tagger.cli
from support.console import TAGS, Run, one_line
from support.messages import check_line
from tagger.models.fetch import catalogue
from tagger.types import DEFAULT_MODEL

pytestmark = pytest.mark.slow


def test_one_json_line_per_readme_in_order(run: Run, workplace: Path) -> None:
    (workplace / "OTHER.md").write_text("Another one.")
    outcome = run("run", "README.md", "OTHER.md", "--tags", "tags.json")
    assert outcome.code == 0
    replies = [json.loads(line) for line in outcome.out.splitlines()]
    assert [reply["id"] for reply in replies] == ["README.md", "OTHER.md"]
    for reply in replies:
        assert 1 <= len(reply["tags"]) <= 3
        assert all(tag in json.loads(TAGS) for tag in reply["tags"])


def test_the_same_input_gives_the_same_bytes(run: Run) -> None:
    args = ("run", "README.md", "--tags", "tags.json", "--scores", "--quiet")
    assert run(*args) == run(*args)


@pytest.mark.parametrize(
    ("args", "check"),
    [
        (("--id", "1375"), lambda reply: reply["id"] == "1375"),
        (("--min-tags", "2", "--max-tags", "2"), lambda reply: len(reply["tags"]) == 2),
        (("--max-tags", "10", "--threshold", "0"), lambda reply: len(reply["tags"]) == 3),
        (("--min-tags", "0", "--threshold", "1"), lambda reply: reply["tags"] == []),
        (("--tags-as", "ids"), lambda reply: reply["tags"][0] in (77, 81, 4)),
        (("--tags-as", "names"), lambda reply: reply["tags"][0] in ("3d", "game-engine ", "cli")),
        (("--scores",), lambda reply: 0 <= reply["tags"][0]["confidence"] <= 1),
        (("--dtype", "float32", "--device", "cpu", "--threads", "1"), lambda reply: reply["tags"]),
        (("--readme-tokens", "64", "--offline"), lambda reply: reply["tags"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_of_run(run: Run, args: tuple[str, ...], check: Callable[[dict], bool]) -> None:  # type: ignore[type-arg]
    outcome = run("run", "README.md", "--tags", "tags.json", *args)
    assert outcome.code == 0, outcome.err
    assert check(json.loads(outcome.out))


def test_standard_input_is_a_readme(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"# Title")))
    assert json.loads(run("run", "-", "--tags", "tags.json").out)["id"] == "-"


def test_the_vocabulary_of_the_folder_is_used_and_said_so(run: Run) -> None:
    outcome = run("run", "README.md")
    assert json.loads(outcome.out)["tags"]
    assert "using the vocabulary tags.json" in outcome.err


def test_quiet_says_nothing(run: Run) -> None:
    assert run("run", "README.md", "--quiet").err == ""


def test_options_come_from_the_environment_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGGER_TAGS_AS", "names")
    monkeypatch.setenv("TAGGER_MAX_TAGS", "1")
    assert len(json.loads(run("run", "README.md").out)["tags"]) == 1


def test_a_prompt_of_ones_own(run: Run, workplace: Path) -> None:
    (workplace / "p.toml").write_text('system = "Tag."\nuser = "{tags}\\n{readme}\\nWhich?"')
    assert run("run", "README.md", "--prompt", "p.toml").code == 0


def test_version(run: Run) -> None:
    from tagger import __version__

    assert run("--version").out == f"{__version__}\n"


def files(workplace: Path) -> None:
    (workplace / "empty.md").write_text(" \n")
    (workplace / "binary.md").write_bytes(b"\0\1\2")
    (workplace / "latin.md").write_bytes(bytes(range(128, 160)) * 9)
    (workplace / "none.json").write_text("[]")
    (workplace / "broken.json").write_text("{")
    (workplace / "twice.json").write_text('["cli", "CLI "]')
    (workplace / "long.json").write_text(json.dumps([f"tag number {n}" for n in range(900)]))
    (workplace / "bad.toml").write_text('system = ""\nuser = ""')
    (workplace / "nothing").mkdir()
    (workplace / "no-weights").mkdir()
    (workplace / "no-weights" / "config.json").write_text('{"model_type": "qwen2"}')
    (workplace / "no-weights" / "tokenizer.json").write_text("{}")
    (workplace / "no-tokenizer").mkdir()
    (workplace / "no-tokenizer" / "config.json").write_text('{"model_type": "qwen2"}')
    (workplace / "no-tokenizer" / "model.safetensors").write_text("")
    (workplace / "pickle").mkdir()
    (workplace / "pickle" / "config.json").write_text('{"model_type": "qwen2"}')
    (workplace / "pickle" / "tokenizer.json").write_text("{}")
    (workplace / "pickle" / "pytorch_model.bin").write_bytes(b"")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("nowhere.md",), 2),
        (("README.md", "nowhere.md"), 2),
        (("nothing",), 2),
        (("empty.md",), 2),
        (("binary.md",), 2),
        (("latin.md",), 2),
        (("README.md", "--tags", "nowhere.json"), 2),
        (("README.md", "--tags", "nothing"), 2),
        (("README.md", "--tags", "none.json"), 2),
        (("README.md", "--tags", "broken.json"), 2),
        (("README.md", "--tags", "twice.json"), 2),
        (("README.md", "--tags", "long.json"), 2),
        (("README.md", "--max-tags", "0"), 2),
        (("README.md", "--max-tags", "11"), 2),
        (("README.md", "--min-tags", "3", "--max-tags", "2"), 2),
        (("README.md", "--threshold", "1.5"), 2),
        (("README.md", "--tags-as", "xml"), 2),
        (("README.md", "README.md", "--id", "1"), 2),
        (("README.md", "--id", ""), 2),
        (("README.md", "--prompt", "documets"), 2),
        (("-", "-"), 2),
        ((), 2),
        (("README.md", "--no-such-option"), 2),
        (("README.md", "--prompt", "bad.toml"), 2),
        (("README.md", "--device", "tpu"), 2),
        (("README.md", "--device", "cuda:97"), 3),
        (("README.md", "--model", "qwen2.5-coder-0.6b"), 3),
        (("README.md", "--model", "./nowhere"), 3),
        (("README.md", "--model", "nothing"), 3),
        (("README.md", "--model", "no-weights"), 3),
        (("README.md", "--model", "pickle"), 3),
        (("README.md", "--model", "no-tokenizer"), 3),
        (("README.md", "--model", ""), 3),
        (("",), 2),
        (("README.md", "--model", "Nobody/Nothing", "--offline"), 3),
        (("README.md", "--model", "qwen2.5-coder-0.5b", "--offline"), 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_line_and_a_code(
    run: Run, workplace: Path, args: tuple[str, ...], code: int
) -> None:
    files(workplace)
    if "--tags" not in args:
        args = (*args, "--tags", "tags.json")
    outcome = run("run", *args, "--quiet")
    assert (outcome.code, outcome.out) == (code, "")
    check_line(outcome.err)


def test_without_a_vocabulary_the_remedy_is_said(run: Run, workplace: Path) -> None:
    (workplace / "tags.json").unlink()
    outcome = run("run", "README.md")
    assert outcome.code == 2
    check_line(outcome.err)


def test_a_model_without_a_chat_template(run: Run, workplace: Path, tiny_folder: Path) -> None:
    bare = workplace / "bare"
    bare.mkdir()
    for path in tiny_folder.iterdir():
        if path.name != "chat_template.jinja":
            (bare / path.name).write_bytes(path.read_bytes())
    outcome = run("run", "README.md", "--tags", "tags.json", model="bare")
    assert outcome.code == 3
    check_line(outcome.err)


def test_weights_that_cannot_be_read(run: Run, workplace: Path, tiny_folder: Path) -> None:
    torn = workplace / "torn"
    torn.mkdir()
    for path in tiny_folder.iterdir():
        (torn / path.name).write_bytes(path.read_bytes()[:1000])
    outcome = run("run", "README.md", "--tags", "tags.json", model="torn")
    assert outcome.code == 3
    check_line(outcome.err)


def test_names_of_files_cannot_steer_the_terminal(run: Run) -> None:
    outcome = run("run", "\x1b[31m\u202e.md", "--tags", "tags.json")
    check_line(outcome.err)


def test_a_traceback_cannot_steer_a_terminal(run: Run) -> None:
    outcome = run("run", "README.md", "--tags", "\x1b]0;x\a\u202e.json", "--debug")
    assert "Traceback" in outcome.err
    assert not {"\x1b", "\a", "\u202e"} & set(outcome.err)
    assert r"\x1b]0;x\x07\u202e.json" in outcome.err


def test_debug_shows_where_an_error_came_from(run: Run) -> None:
    outcome = run("run", "nowhere.md", "--tags", "tags.json", "--debug")
    assert "Traceback" in outcome.err
    assert outcome.err.endswith("nowhere.md: no such file: check the path\n")


def test_a_fault_of_the_program_is_one_line_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tagger.readme.readme.Readme.plain_text", property(lambda readme: 1 / 0))
    outcome = run("run", "README.md", "--tags", "tags.json", "--quiet")
    assert outcome.code == tagger.cli.INTERNAL_ERROR
    check_line(outcome.err)


# From here on in a process of its own, because pipes and signals are a process's.


@pytest.fixture
def command(tiny_folder: Path, workplace: Path) -> list[str]:
    assert workplace.is_dir()
    executable = str(Path(sys.executable).with_name("tagger"))
    return [executable, "run", "README.md", "--tags", "tags.json", "--model", str(tiny_folder)]


def test_a_reader_that_leaves_ends_the_run_in_silence(command: list[str]) -> None:
    many = command[:2] + ["README.md"] * 200 + command[3:] + ["--quiet"]
    with subprocess.Popen(many, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == tagger.cli.READER_GONE


@pytest.mark.parametrize("loaded", ["pydantic_core", "libtorch_cpu", "tokenizers", "safetensors"])
def test_an_interrupt_at_any_time_is_one_line(command: list[str], loaded: str) -> None:
    """The moment is known by which library the process has just loaded."""
    many = command[:2] + ["README.md"] * 20_000 + command[3:] + ["--quiet"]
    with subprocess.Popen(many, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while loaded not in Path(f"/proc/{process.pid}/maps").read_text():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        err = process.stderr.read().decode()
        assert (process.wait(), err) == (tagger.cli.INTERRUPTED, "tagger: interrupted\n")


def test_an_interrupt_between_readmes_is_one_line(command: list[str]) -> None:
    many = command[:2] + ["README.md"] * 20_000 + command[3:] + ["--quiet"]
    with subprocess.Popen(many, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert (process.returncode, err) == (tagger.cli.INTERRUPTED, b"tagger: interrupted\n")
        assert (first + out).endswith(b"\n"), "no reply is torn"


@pytest.mark.parametrize(
    ("redirection", "code", "says"),
    [
        (">&-", tagger.cli.OUTPUT_ERROR, "standard output is closed"),
        (">/dev/full", tagger.cli.OUTPUT_ERROR, "cannot write standard output"),
        ("<&-", 0, ""),
        ("2>&-", 0, ""),
    ],
)
def test_closed_and_full_streams(
    command: list[str], redirection: str, code: int, says: str
) -> None:
    line = f"{shlex.join([*command, '--quiet'])} {redirection}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert says in (one_line(done.stderr) if says else done.stderr)


def test_messages_that_cannot_be_written_cost_nothing(command: list[str]) -> None:
    for words, code in ((command, 0), ([command[0], "run", "nowhere.md"], 2)):
        done = subprocess.run(
            ["bash", "-c", f"{shlex.join(words)} 2>/dev/full"], capture_output=True, text=True
        )
        assert done.returncode == code
        assert (done.stdout == "") == (code != 0)


def test_an_error_without_stderr_does_not_go_to_stdout(command: list[str]) -> None:
    line = f"{command[0]} run nowhere.md --tags tags.json 2>&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_closed_standard_input_is_no_readme(command: list[str]) -> None:
    line = f"{command[0]} run - --tags tags.json <&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == 2
    check_line(done.stderr)


def test_a_termination_lets_it_tidy_up(command: list[str]) -> None:
    many = command[:2] + ["README.md"] * 20_000 + command[3:] + ["--quiet"]
    with subprocess.Popen(many, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
        assert (process.returncode, err) == (tagger.cli.TERMINATED, b"")


def test_without_a_command_three_are_shown_and_what_the_first_downloads(run: Run) -> None:
    outcome = run()
    assert (outcome.code, outcome.out) == (2, "")
    first, *commands, download, last = outcome.err.splitlines()
    assert first.startswith("tagger: no command")
    assert [command.split()[:2] for command in commands] == [
        ["tagger", "run"],
        ["tagger", "batch"],
        ["tagger", "review"],
    ]
    assert f"{catalogue.entry(DEFAULT_MODEL).bytes / 1e9:.1f} GB, once" in download
    assert "--help" in last


def test_without_a_command_a_model_that_is_here_is_not_announced(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tagger.models.fetch.store.is_complete", lambda entry: True)
    assert "download" not in run().err


def test_help_is_quick_and_loads_no_model_library() -> None:
    script = (
        "import sys, tagger.cli.app\n"
        "heavy = {'torch', 'transformers', 'pydantic', 'markdown_it'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mod", {"models"}),
        ("models ver", {"verify"}),
        ("models pull qwen2.5-coder-0", {"qwen2.5-coder-0.5b"}),
        ("run --max-t", {"--max-tags"}),
        ("run --tags-as ", {"objects", "ids", "names"}),
        ("run --model qwen2.5-coder-1", {"qwen2.5-coder-1.5b"}),
    ],
)
def test_the_shell_completes(
    monkeypatch: pytest.MonkeyPatch, typed: str, offered: set[str]
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    words = ["tagger", *typed.split(" ")]
    script = f"""
        eval "$(tagger --show-completion bash)"
        COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}
        _tagger_completion tagger
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert set(done.stdout.split()) == offered, done.stderr


def test_the_command_asks_for_huge_pages_and_the_library_leaves_the_environment_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "")
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    code = "import os, tagger; tagger.Rank; print(os.environ.get('THP_MEM_ALLOC_ENABLE'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
    assert run("--version").code == 0
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
