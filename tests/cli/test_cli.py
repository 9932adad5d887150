"""The command line: it answers at once, calls the right function, and ends a mistake with one message and status 2."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
import yaml
from tests.calling import call
from typer.testing import Result

from transfix import __version__
from transfix.cli import failures
from transfix.errors import TransfixError
from transfix.runs.specification import RunSpec
from transfix.runs.store import RunStore

SPEC = "model: tiny\ndtype: float32\nadapter: lora\ntrain: {task: mnli}\nevaluate: {task: xnli, languages: [de, sw]}\n"
COLOURS = ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "COLUMNS", "TTY_COMPATIBLE")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command runs in an empty directory, with its own cache and no colours asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSFIX_CACHE", str(tmp_path / "cache"))
    for name in COLOURS:
        monkeypatch.delenv(name, raising=False)


def said(result: Result) -> str:
    """What stands on stderr, its line breaks apart."""
    return " ".join(result.stderr.split())


def process(*arguments: str, code: str = "from transfix.cli import main; main()") -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + code
    )  # a shell's `&` ignores it
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Puts a function in the place of one that needs a model, and gives the list of its calls."""

    def install(module: str, name: str, result: object = None) -> list[Any]:
        calls: list[Any] = []

        def function(*args: Any, **kwargs: Any) -> Any:
            calls.append((*args, kwargs) if kwargs else args)
            if isinstance(result, BaseException):
                raise result
            return result(*args) if callable(result) else result

        package, _, last = module.rpartition(".")
        stand_in = types.ModuleType(module)
        setattr(stand_in, name, function)
        monkeypatch.setitem(sys.modules, module, stand_in)
        monkeypatch.setattr(importlib.import_module(package), last, stand_in, raising=False)
        return calls

    return install


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def run(spec: Path) -> Path:
    return RunStore("runs").open(RunSpec.load(spec)).path


def predicted(run: Path) -> None:
    """Gives a run predictions on the first rows of the snapshot."""
    from transfix import data
    from transfix.runs.store import Run

    rows = data.load("xnli", "snapshot", "deu_Latn", "test", 12)
    frame = pd.DataFrame({"id": [row.id for row in rows], "gold": [row.label for row in rows]})
    frame = frame.assign(language="deu_Latn", prompt_hash="x", answer="neutral", truncated=False)
    frame["score"] = (frame["gold"] == "neutral").astype(float)
    frame["option_scores"] = [[-1.0, -0.5, -2.0]] * len(frame)
    classes = ["entailment", "neutral", "contradiction"]
    meta = {"task": "xnli", "split": "test", "classes": classes, "data": "snapshot", "template": "{premise}"}
    Run(run).write_predictions("xnli", "deu_Latn", frame, meta)


# ---- at once


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom transfix.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = ('torch', 'transformers', 'pandas', 'numpy', 'datasets', 'pyarrow', 'pydantic', 'yaml')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out, err = process(code=code).communicate()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        assert out.splitlines()[-1] == "[]", err
    for name in ("train", "evaluate", "predict", "inspect", "languages", "report", "runs", "quickstart"):
        assert name in out
    assert min(seconds) < 0.5, "seconds of processor time"


def test_version() -> None:
    assert call("--version").stdout.strip() == f"transfix {__version__}"


COMMANDS = ("quickstart", "train", "evaluate", "calibrate", "predict", "trust", "report", "runs")
COMMANDS += ("reproduce", "methods", "languages", "inspect", "study", "task")


def test_help_lists_the_commands_in_the_order_in_which_they_are_needed() -> None:
    listed = call("--help").stdout.partition("Commands")[2].splitlines()
    assert tuple(line.split()[1] for line in listed if line.startswith("│ ") and line[2] != " ") == COMMANDS


@pytest.mark.parametrize("command", [*COMMANDS, "schema"])
def test_every_command_has_help(command: str) -> None:
    for option in ("--help", "-h"):
        result = call(command, option)
        assert result.exit_code == 0
        assert "Usage" in result.stdout


@pytest.mark.parametrize("arguments", [["languages"], ["languages", "--json"], ["--help"], ["train", "no.yaml"]])
def test_a_pipe_gets_no_colours(arguments: list[str]) -> None:
    out, err = process(*arguments).communicate()
    assert "\x1b" not in out + err
    assert max(map(len, out.splitlines()), default=0) <= 160


def test_a_closed_pipe_is_no_fault() -> None:
    command = f"{sys.executable} -m transfix languages --json | head -1"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[\n"
    assert "Traceback" not in done.stderr


# ---- what goes wrong


def test_a_mistake_is_one_message_and_status_2(fake: Callable[..., list[Any]], spec: Path) -> None:
    fake("transfix.runs.run", "train", TransfixError("the rows [bold] are wrong\nin line 3"))
    result = call("train", spec)
    assert result.exit_code == 2
    assert result.stderr == "Error: the rows [bold] are wrong\nin line 3\n"
    assert result.stdout == ""


def test_all_problems_of_a_specification() -> None:
    Path("bad.yaml").write_text("model: m\nadapter: lama_adapter\ntrain: {task: mnli, rows: 0}\n")
    result = call("train", "bad.yaml", "--set", "seed=x")
    assert result.exit_code == 2
    for text in ("3 problems", "adapter[0].method", "llama_adapter", "train.rows: 0", "seed: 'x'"):
        assert text in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["train"], ["evaluate", "x", "--limit", "0"], ["languages", "--jsn"], ["predict", "x"], ["inspect"]],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr


def test_control_c(fake: Callable[..., list[Any]], spec: Path) -> None:
    fake("transfix.runs.run", "train", KeyboardInterrupt())
    result = call("train", spec)
    assert result.exit_code == 130
    assert "again to continue" in said(result)


def test_control_c_in_a_process(spec: Path) -> None:
    code = (
        "import sys, time, types\nrun = types.ModuleType('transfix.runs.run')\n"
        "run.train = lambda *_: (print('training', flush=True), time.sleep(60))\n"
        "sys.modules[run.__name__] = run\nfrom transfix.cli import main; main()"
    )
    started = process("train", str(spec), code=code)
    assert started.stdout is not None
    assert started.stdout.readline() == "training\n"
    started.send_signal(signal.SIGINT)
    _, err = started.communicate()
    assert started.returncode == 130, err
    assert "again to continue" in err
    assert "Traceback" not in err


def test_a_fault_is_one_line_and_a_file(fake: Callable[..., list[Any]], spec: Path, tmp_path: Path) -> None:
    fake("transfix.runs.run", "train", RuntimeError("tensor of [wrong] shape\nmany\nlines"))
    result = call("train", spec)
    assert result.exit_code == 1
    assert "RuntimeError: tensor of [wrong] shape" in said(result)
    assert "Traceback" not in result.output + result.stderr
    (log,) = (tmp_path / "cache" / "logs").iterdir()
    assert str(log) in said(result)
    assert "Traceback" in log.read_text()
    assert __version__ in log.read_text()


def test_a_traceback_finds_a_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the cache should be")
    written = failures.write_traceback(RuntimeError("x"))
    assert written is not None
    assert written.parent == tmp_path


def test_leaving_is_not_a_mistake() -> None:
    @failures.reported
    def leave() -> None:
        raise typer.Exit(7)

    with pytest.raises(typer.Exit) as caught:
        leave()
    assert caught.value.exit_code == 7


# ---- commands


def test_train(fake: Callable[..., list[Any]], spec: Path) -> None:
    def train(spec: RunSpec, store: RunStore) -> Any:
        return store.open(spec)

    calls = fake("transfix.runs.run", "train", train)
    result = call("train", spec, "--set", "adapter.rank=2", "--set", "seed=3", "--runs", "elsewhere")
    assert result.exit_code == 0, result.stderr
    wanted = RunSpec.load(spec, ["adapter.rank=2", "seed=3"])
    assert calls[0][0] == wanted
    assert calls[0][1].root == Path("elsewhere")
    assert f"elsewhere/{wanted.name}/adapter" in result.stdout
    assert f"transfix evaluate elsewhere/{wanted.name}" in result.stdout


def test_train_checks_the_data_first(fake: Callable[..., list[Any]], spec: Path) -> None:
    calls = fake("transfix.runs.run", "train")
    result = call("train", spec, "--set", "evaluate.data={files: nothing.tsv}")
    assert (result.exit_code, calls) == (2, [])
    assert "nothing.tsv" in said(result)


def test_evaluate(fake: Callable[..., list[Any]], run: Path) -> None:
    calls = fake("transfix.runs.run", "evaluate", lambda run, *_: predicted(run.path))
    result = call(
        "evaluate", run.name[:6], "--languages", "de,zh-CN", "--languages", "de", "--task", "xnli", "--limit", 5,
        "--calibration-rows", 64,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert calls[0][0].path == run
    assert calls[0][1:] == (["xnli"], ["deu_Latn", "zho_Hans"], 5, 64)
    assert "German" in result.stdout
    call("evaluate", run)
    assert calls[1][1:] == (None, None, None, None)
    call("evaluate", run, "--languages", "all")
    assert calls[2][2] == ["all"]


def test_evaluate_takes_no_region_for_another(fake: Callable[..., list[Any]], spec: Path) -> None:
    labels = {"entailment": " yes", "neutral": " maybe", "contradiction": " no"}
    task = {"name": "own", "kind": "choice", "fields": ["premise"], "label": "label", "prompt": "{{premise}}"}
    task |= {"labels": labels, "languages": ["pt-BR"], "data": {"test": {"files": "test-{lang}.csv"}}}
    Path("task.yaml").write_text(yaml.safe_dump(task))
    calls = fake("transfix.runs.run", "evaluate", lambda run, *_: predicted(run.path))
    own = RunStore("runs").open(RunSpec.load(spec, ["evaluate=[{task: task.yaml}]"])).path
    result = call("evaluate", own, "--languages", "pt-PT")
    assert (result.exit_code, calls) == (2, [])
    assert "--languages: pt-PT is another region than that of the rows of own, pt-BR" in said(result)
    result = call("task", "check", "task.yaml", "--languages", "pt-PT")
    assert result.exit_code == 2
    assert "--languages: pt-PT is another region than that of the rows of own, pt-BR" in said(result)
    assert call("evaluate", own, "--languages", "pt-BR").exit_code == 0
    assert calls[0][2] == ["por_Latn"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no run 'nothing'"),
        (["RUN", "--languages", "klingon"], "unknown language 'klingon'"),
        (["RUN", "--task", "xnl"], "unknown task 'xnl'"),
        (["."], "no spec.yaml"),
    ],
)
def test_evaluate_what_is_not(
    fake: Callable[..., list[Any]], run: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    calls = fake("transfix.runs.run", "evaluate")
    (tmp_path / "spec.yaml").unlink()
    result = call("evaluate", *(str(run) if argument == "RUN" else argument for argument in arguments))
    assert (result.exit_code, calls) == (2, [])
    assert message in said(result)


def test_predict(fake: Callable[..., list[Any]], run: Path) -> None:
    calls = fake("transfix.runs.run", "predict")
    Path("rows.jsonl").write_text("{}\n")
    result = call("predict", run, "--input", "rows.jsonl", "--output", "out.jsonl")
    assert result.exit_code == 0, result.stderr
    assert calls[0][0].path == run
    assert calls[0][1:] == (Path("rows.jsonl"), Path("out.jsonl"))
    for given, wrong in (("no.jsonl", "out.jsonl"), ("rows.jsonl", "no/out.jsonl")):
        result = call("predict", run, "--input", given, "--output", wrong)
        assert result.exit_code == 2
        assert "no.jsonl" in said(result) or "no/out.jsonl" in said(result)
    assert len(calls) == 1


def test_predict_that_is_stopped_promises_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("transfix.runs.run.predict", stop)
    Path("rows.jsonl").write_text("{}\n")
    result = call("predict", run, "--input", "rows.jsonl", "--output", "out.jsonl")
    assert result.exit_code == 130
    assert "out.jsonl was not written" in said(result)
    assert "is kept" not in said(result)


def test_inspect(fake: Callable[..., list[Any]]) -> None:
    class Inspection:
        def to_dict(self) -> dict[str, object]:
            return {"layers": 32}

    calls = fake("transfix.models.inspect", "inspect", lambda *_: Inspection())
    fake("transfix.models.inspect_table", "table", lambda _: "32 layers")
    assert json.loads(call("inspect", "org/model", "--json").stdout) == {"layers": 32}
    assert call("inspect", "org/model", "--rows", "4", "--targets", "9").stdout == "32 layers\n"
    assert calls == [("org/model", 16, 128, 0), ("org/model", 4, 128, 9)]
    assert "--targets 9" in said(call("inspect", "org/model", "--tokens", "8", "--targets", "9"))


def test_languages() -> None:
    from transfix import languages

    result = call("languages")
    assert all(language.code in result.stdout for language in languages.all())
    found = json.loads(call("languages", "--json").stdout)
    assert len(found) == len(languages.all())
    xnli = json.loads(call("languages", "--json", "--benchmark", "xnli").stdout)
    assert len(xnli) == 15
    (german,) = (entry for entry in xnli if entry["code"] == "deu_Latn")
    assert german["benchmarks"]["xnli"] == "de"
    assert (german["native_name"], german["direction"], german["resource_class"]) == ("Deutsch", "ltr", 5)
    assert "15 languages" in call("languages", "--benchmark", "xnli").stdout
    result = call("languages", "--benchmark", "xnlii")
    assert result.exit_code == 2
    assert "xquad" in said(result)


def test_report(run: Path) -> None:
    predicted(run)
    result = call("report")
    assert result.exit_code == 0, result.stderr
    assert "German" in result.stdout
    assert "<html" in Path("runs/report.html").read_text()
    result = call("report", run, "--html", "page.html", "--markdown")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("|") > 5
    assert "page.html" in result.stderr
    assert "</html>" in Path("page.html").read_text()


def test_report_as_latex_or_csv_on_stdout(run: Path) -> None:
    predicted(run)
    result = call("report", "--latex")
    assert result.exit_code == 0, result.stderr
    assert r"\bottomrule" in result.stdout
    result = call("report", "--csv", "--by", "family")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("task,method,")
    assert any(",family,Indo-European," in line for line in lines)
    assert "Page: runs/report.html" in result.stderr
    result = call("report", "--by", "script")
    assert "Latin (1)" in result.stdout
    result = call("report", "--markdown", "--csv")
    assert result.exit_code == 2
    assert "--markdown and --csv cannot be printed at once" in said(result)
    result = call("report", "--by", "size")
    assert result.exit_code == 2
    assert "script, family, resources" in said(result)


def test_report_shows_the_rows_of_the_snapshot(run: Path) -> None:
    from transfix import data

    predicted(run)
    call("report")
    text = data.load("xnli", "snapshot", "deu_Latn", "test", 1)[0].fields["premise"].split()[0]
    assert text in Path("runs/report.html").read_text()


def test_report_of_nothing() -> None:
    result = call("report", "nowhere")
    assert result.exit_code == 2
    result = call("report", ".")
    assert result.exit_code == 2
    assert "no runs" in said(result)


def test_quickstart(fake: Callable[..., list[Any]]) -> None:
    calls = fake("transfix.studies.quickstart", "main")
    assert call("quickstart").exit_code == 0
    assert calls[0] == (Path("quickstart"),)
    result = call("quickstart", "--dir", "here", "--rows", 10, "--limit", 5, "--languages", "de,sw")
    assert result.exit_code == 0, result.stderr
    assert calls[1] == (Path("here"), {"rows": 10, "limit": 5, "languages": ["deu_Latn", "swh_Latn"]})
    assert call("quickstart", "--languages", "klingon").exit_code == 2


def test_schema() -> None:
    assert "adapter" in json.loads(call("schema").stdout)["properties"]


def test_languages_that_are_one_here_and_two_in_the_world() -> None:
    from transfix.cli.options import codes

    assert codes(["de,German", "pt-BR"]) == ["deu_Latn", "por_Latn"]
    with pytest.raises(TransfixError, match="--languages: 'pt-BR' and 'pt-PT' are one language here, por_Latn"):
        codes(["pt-BR", "de,pt-PT"])
