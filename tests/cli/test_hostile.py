"""What the machine refuses, and input without end or sense: each command says it in a message, at once, with status 2."""

from __future__ import annotations

import errno
import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.calling import call

from transfix.errors import LONGEST_LINE, TransfixError
from transfix.models.registry import cache_root

SPEC = "model: tiny\ndtype: float32\nadapter: lora\ntrain: {task: mnli}\n"
BASE = "model: tiny\ndtype: float32\nadapter: base\nevaluate: {task: xnli}\n"
STUDY = "base: {model: tiny, adapter: base, evaluate: {task: xnli}}\nmatrix: {seed: [1]}\n"
TASK = """name: t
kind: choice
fields: [text]
label: l
prompt: "{{text}}"
labels: {a: " a", b: " b"}
languages: [en]
data: {test: {files: rows.csv}}
"""
LONG = "n" * 300


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command runs in a directory with one of each input, and has its own cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSFIX_CACHE", str(tmp_path / "cache"))
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, text in {"s.yaml": SPEC, "base.yaml": BASE, "st.yaml": STUDY, "t.yaml": TASK, "file": "x"}.items():
        Path(name).write_text(text)
    Path("r").mkdir()
    Path("r/spec.yaml").write_text(SPEC)
    os.mkfifo("pipe")
    os.symlink("loop", "loop")


def refused(*arguments: object) -> str:
    """What a command says that ends with status 2: a message of bounded length, and no word of a fault."""
    began = time.monotonic()
    result = call(*arguments)
    assert result.exit_code == 2, (result.exception, result.stderr[-2_000:])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "report it" not in result.stderr
    assert "Traceback" not in result.output
    assert max(map(len, result.stderr.splitlines()), default=0) <= LONGEST_LINE + 100
    assert time.monotonic() - began < 20
    return result.stderr + result.stdout


# ---- paths

COMMANDS: dict[str, tuple[str, ...]] = {
    "train": ("train", "{}"),
    "train --runs": ("train", "base.yaml", "--runs", "{}"),
    "train, rows": ("train", "s.yaml", "--set", "train.data={{files: {}}}"),
    "train, task": ("train", "s.yaml", "--set", "train.task={}/x.yaml"),
    "evaluate": ("evaluate", "{}"),
    "evaluate --runs": ("evaluate", "x", "--runs", "{}"),
    "calibrate --input": ("calibrate", "r", "-i", "{}"),
    "trust --input": ("trust", "r", "-i", "{}"),
    "predict --input": ("predict", "r", "-i", "{}", "-o", "out"),
    "predict --output": ("predict", "r", "-i", "s.yaml", "-o", "{}/out"),
    "report": ("report", "{}"),
    "report --html": ("report", "r", "--html", "{}"),
    "runs": ("runs", "{}"),
    "study": ("study", "{}"),
    "study --dir": ("study", "st.yaml", "--dir", "{}"),
    "study status": ("study", "status", "{}"),
    "task check": ("task", "check", "{}/t.yaml"),
    "inspect": ("inspect", "{}"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_too_long(command: str) -> None:
    assert "File name too long" in refused(*(part.format(LONG) for part in COMMANDS[command]))


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "train, rows"])
def test_a_file_where_a_directory_is_needed(command: str) -> None:
    said = refused(*(part.format("file/x") for part in COMMANDS[command]))
    assert "file/x" in said


@pytest.mark.parametrize("command", ["train, rows", "task check", "inspect"])
def test_the_home_of_nobody(command: str) -> None:
    assert "there is no user 'nosuchuser'" in refused(*(part.format("~nosuchuser") for part in COMMANDS[command]))


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("evaluate --runs", "predict --output")])
def test_a_link_to_itself(command: str) -> None:
    assert "loop" in refused(*(part.format("loop") for part in COMMANDS[command]))


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "study",
        "calibrate --input",
        "trust --input",
        "predict --input",
        "report --html",
        "train, rows",
        "report",
        "runs",
    ],
)
def test_a_pipe_is_not_waited_for(command: str) -> None:
    assert "no ordinary file" in refused(*(part.format("pipe") for part in COMMANDS[command]))


def test_a_device_without_end() -> None:
    assert "no ordinary file" in refused("train", "/dev/zero")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_may_not_be_looked_at_is_not_called_missing(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to look into a directory, every look into it fails (but not for root, who runs some tests)."""

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def look(path: Any, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(path, int) and "secret" in os.fsdecode(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fsdecode(path))
            return real(path, *args, **kwargs)

        return look

    for name in ("open", "stat", "scandir", "mkdir", "listdir"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    monkeypatch.setattr("io.open", guarded(open))
    said = refused(*(part.format("secret") for part in COMMANDS[command]))
    assert "Permission denied" in said
    assert "does not exist" not in said
    assert "no such" not in said


# ---- what is raised inside a command


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes the training raise an error."""

    def install(error: BaseException) -> None:
        def train(*args: Any) -> Any:
            raise error

        import transfix.runs

        module = types.ModuleType("transfix.runs.run")
        module.train = train  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(transfix.runs, "run", module, raising=False)

    return install


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), "runs/x: No space left on device: make room"),
        (PermissionError(errno.EACCES, "Permission denied", "runs/x"), "runs/x: Permission denied"),
        (OSError(errno.EROFS, "Read-only file system", "runs/x"), "runs/x: Read-only file system"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000 bytes."), "8.0 GB"),
        (MemoryError(), "not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deep"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "not utf-8 text"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "current directory"),
    ],
    ids=str,
)
def test_what_the_machine_refuses_is_no_fault(
    error: Exception, says: str, raising: Callable[[BaseException], None]
) -> None:
    raising(error)
    assert says in refused("train", "s.yaml")
    assert not Path("cache").exists(), "no traceback is needed"


def test_a_fault_is_told_where_nothing_can_be_written(
    raising: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container: no home, no name for the user, a directory that is gone, none for temporary files."""

    def nobody(number: int) -> Any:
        raise KeyError(number)

    def nothing(*_: Any) -> Any:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    for name in ("HOME", "TRANSFIX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(tempfile, "gettempdir", nothing)
    monkeypatch.setattr(Path, "cwd", nothing)
    raising(KeyError("x"))
    result = call("train", "s.yaml")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "KeyError: 'x'" in result.stderr
    assert "could not be written" in result.stderr


def test_without_a_home_the_cache_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> Any:
        raise KeyError(number)

    for name in ("HOME", "TRANSFIX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(TransfixError, match="set TRANSFIX_CACHE"):
        cache_root()


def test_a_directory_that_was_deleted_and_a_full_standard_output(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = f"{sys.executable} -m transfix"
    script = f"mkdir gone && cd gone && rmdir ../gone && {command} languages; echo $?; cd {tmp_path}; "
    script += f"{command} languages --benchmark xnli > /dev/full; echo $?"
    done = subprocess.run(script, shell=True, capture_output=True, text=True, env=environment, check=True)
    assert "Traceback" not in done.stderr
    assert "report it" not in done.stderr
    assert "current directory is not there any more" in done.stderr
    assert "No space left on device" in done.stderr
    assert done.stdout.split() == ["2", "2"]


# ---- settings and conditions


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("adapter.².rank=2", "unknown key"),
        ("adapter.٣.rank=2", "unknown key"),
        ("adapter." + "1" * 5_000 + ".rank=2", "has no entry 111"),
        ("train.rows=" + "1" * 5_000, "4300 digits"),
        ("train." + ".".join("a" * 600) + "=2", "has 601 keys; no setting has more than 40"),
        ("x" * 100_000, "is not of the form path=value"),
        ("train.rows=" + "x" * 100_000, "is not allowed"),
        ("model=" + "x" * 100_000 + "/y/z", "File name too long"),
        ("train.epochs=1e7", "at most 1000000"),
        ("adapter=[" + "lora," * 60 + "]", "has 60 parts (allowed: at most 50)"),
        ("train.task=" + "x" * 100_000, "unknown task"),
        ("train.languages=[" + "en," * 30_000 + "]", "more than once"),
    ],
    ids=lambda text: text[:20],
)
def test_settings(setting: str, says: str) -> None:
    command = (
        ["inspect", setting.removeprefix("model=")]
        if setting.startswith("model=")
        else ["train", "s.yaml", "--set", setting]
    )
    assert says in refused(*command)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (".".join("a" * 2_000) + " == 1", "there is no column"),
        ("not " * 2_000 + "score", "nested too deep"),
        ("score < " + "+".join("1" * 2_000), "is not allowed"),
        ("(" * 2_000 + "score" + ")" * 2_000, "cannot be read"),
        ("x" * 100_000, "there is no column"),
        ("score > " + "1" * 6_000, "cannot be read"),
    ],
    ids=lambda text: text[:20],
)
def test_conditions(condition: str, says: str) -> None:
    said = refused("runs", ".", "--where", condition)
    assert says in said
    assert len(said) < 2_000


@pytest.mark.parametrize("joined", [" and ", " or ", " < "])
def test_a_condition_of_2000_parts(joined: str) -> None:
    part = "score" if joined == " < " else "score > 0"
    began = time.monotonic()
    assert call("runs", ".", "--where", joined.join([part] * 2_000)).exit_code == 0
    assert time.monotonic() - began < 10


# ---- files


def test_a_specification_of_20_megabytes() -> None:
    Path("s.yaml").write_text(SPEC + "x: " + "y" * 20_000_000)
    assert "larger than 1,000,000 bytes" in refused("train", "s.yaml")


def test_unknown_keys_are_counted() -> None:
    Path("s.yaml").write_text(SPEC + "".join(f"key{index}: 1\n" for index in range(2_000)))
    said = refused("train", "s.yaml")
    assert "key19: unknown key" in said
    assert "key20" not in said
    assert "has 1,980 more unknown keys" in said


def test_more_evaluations_than_can_be_meant() -> None:
    Path("s.yaml").write_text(SPEC + "evaluate:\n" + "".join(f"- {{task: xnli, name: a{i}}}\n" for i in range(301)))
    assert "has 301 entries (allowed: at most 300)" in refused("train", "s.yaml")


def test_a_study_is_refused_before_anything_is_made() -> None:
    numbers = ("rows", "epochs", "batch_rows", "batch_tokens", "checkpoint_every", "early_stopping", "learning_rate")
    axes = ["seed", *(f"train.{name}" for name in numbers)]
    values = list(range(1, 11))
    base = {"model": "tiny", "adapter": "lora", "train": {"task": "mnli"}}
    Path("st.yaml").write_text(json.dumps({"base": base, "matrix": dict.fromkeys(axes, values)}))
    said = refused("study", "st.yaml", "--dry-run")
    assert "100,000,000 combinations (10 × 10 × 10 × 10 × 10 × 10 × 10 × 10)" in said
    assert not Path("studies").exists()


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)
)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("spec.yaml", SPEC + BOMB, "would write out more than 10,000 values"),
        ("spec.yaml", SPEC + "x: " + "[" * 5_000, "nested too deep"),
        ("training.json", '{"a":' + "[" * 100_000, "nested too deep"),
        ("environment.json", '{"a":' + "[" * 100_000, "nested too deep"),
        ("environment.json", None, "no ordinary file"),
    ],
)
def test_run_folders_are_read_by_the_same_readers(name: str, content: str | None, says: str) -> None:
    Path("r", name).unlink(missing_ok=True)
    if content is None:
        os.mkfifo(Path("r", name))
    else:
        Path("r", name).write_text(content)
    for command in (["runs", "r"], ["report", "r"]):
        result = call(*command)
        assert result.exit_code == 2, result.stderr
        assert "report it" not in result.stderr
        assert says in (result.stderr + result.stdout).replace("\n", " ")


def test_a_folder_that_may_not_be_looked_into_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("secret").mkdir()
    real = os.stat

    def look(path: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(path, int) and os.fsdecode(path).endswith("secret/spec.yaml"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fsdecode(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", look)
    result = call("runs", ".")
    assert result.exit_code == 0
    assert "secret is left out: it cannot be looked into (Permission denied)" in result.stderr


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: Path(path).write_text("[" * 100_000)], ids=["pipe", "deep"])
@pytest.mark.parametrize("name", [".transfix-runs.json", "plan.json"])
def test_what_is_remembered_may_be_anything(name: str, make: Callable[[str], object]) -> None:
    make(name)
    assert call("runs", ".").exit_code == 0
    if name == "plan.json":
        assert "plan.json is damaged" in refused("report", ".")
    else:
        assert call("report", ".").exit_code == 0


def test_a_configuration_without_end() -> None:
    Path("m").mkdir()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
    for content, says in (
        ({"model_type": "llama", **sizes, "num_labels": 10**9}, "num_labels is 1,000,000,000"),
        ({"model_type": "gemma3", "text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers is 1,000,000,000"),
        ({"model_type": "gpt2", "n_layer": 10**7}, "n_layer is 10,000,000"),
        ({"model_type": "mixtral", **sizes, "num_local_experts": 10**8}, "num_local_experts is 100,000,000"),
    ):
        Path("m/config.json").write_text(json.dumps(content))
        assert says in refused("inspect", "m")
    Path("m/config.json").write_text('{"model_type": "llama", "a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert "nested too deep" in refused("inspect", "m")


@pytest.mark.parametrize("number", [1, 10**9])
def test_more_jobs_than_runs(number: int) -> None:
    assert call("study", "st.yaml", "--dry-run", "--no-calibration", "--jobs", number).exit_code == 0
