"""Run directories as a study leaves them, with answers drawn so that they look like real ones."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

_LANGUAGES = """
eng_Latn deu_Latn fra_Latn spa_Latn bul_Cyrl rus_Cyrl ell_Grek tur_Latn
arb_Arab vie_Latn tha_Thai zho_Hans hin_Deva urd_Arab swh_Latn
"""
XNLI = _LANGUAGES.split()
CLASSES = ["entailment", "neutral", "contradiction"]
BASE = [{"method": "base"}]
ADAPTER = [{"method": "llama_adapter", "tokens": 10, "layers": "all", "gate": "per_head"}]
LORA = [{"method": "lora", "rank": 8, "alpha": 16.0}]
META = {
    "task": "xnli",
    "split": "test",
    "template": "{premise}\n{hypothesis}\nAnswer:",
    "verbaliser": {"entailment": " yes", "neutral": " maybe", "contradiction": " no"},
    "classes": CLASSES,
    "data": "snapshot",
    "prompt_language": "eng_Latn",
    "few_shot": 0,
    "model": "gemma-3-270m",
}
TRAINING = {
    "trainable_parameters": 115_272,
    "rows": 3000,
    "rows_seen": 9000,
    "class_balance": {"entailment": 1063, "neutral": 954, "contradiction": 983},
    "truncated": 0,
    "steps": 564,
    "seconds": 214.6,
    "examples_per_second": 41.9,
    "final_loss": 0.8712,
    "development": [
        {"step": 188, "accuracy": 0.505, "loss": 0.99},
        {"step": 564, "accuracy": 0.585, "loss": 0.871200025},
    ],
}
ENVIRONMENT = {
    "started": "2026-01-05T09:12:44+00:00",
    "python": "3.12.1",
    "versions": {"transfix": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
    "git": {"commit": "0123456789abcdef", "changed": False},
    "device": "cpu",
    "dtype": "float32",
}


def specification(parts: Sequence[Mapping[str, Any]], languages: Any = "all", **changes: Any) -> dict[str, Any]:
    trains = any(part["method"] != "base" for part in parts)
    train = {"task": "mnli", "data": "snapshot", "languages": ["eng_Latn"], "rows": 3000, "epochs": 3}
    return {
        "model": "gemma-3-270m",
        "dtype": "float32",
        "adapter": [dict(part) for part in parts],
        "train": train if trains else None,
        "evaluate": [{"task": "xnli", "data": "snapshot", "languages": languages, "split": "test", "limit": 100}],
        "seed": 0,
    } | changes


def write_predictions(file: Path, columns: Mapping[str, Any], meta: Mapping[str, Any] | None = META) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(dict(columns))
    if meta is not None:
        table = table.replace_schema_metadata({b"transfix": json.dumps(meta, ensure_ascii=False).encode()})
    pq.write_table(table, file, compression="zstd")


def answers(skill: float, seed: int, rows: int = 100, first: int = 0) -> dict[str, list[Any]]:
    """Predictions of a method that is right on a share `skill`, on rows that are as easy in every language."""
    ease = np.random.default_rng(7).random(first + rows)[first:]
    generator = np.random.default_rng(seed)
    right = ease + generator.normal(0, 0.6, rows) > 0.5 + 0.66 * NormalDist().inv_cdf(1 - skill)
    gold = [CLASSES[(first + row) % 3] for row in range(rows)]
    answer = [
        g if ok else CLASSES[(CLASSES.index(g) + int(generator.integers(1, 3))) % 3]
        for g, ok in zip(gold, right, strict=True)
    ]
    return {
        "id": [f"{first + row:05d}" for row in range(rows)],
        "language": ["-"] * rows,
        "prompt_hash": ["0" * 16] * rows,
        "answer": answer,
        "gold": gold,
        "score": [float(a == g) for a, g in zip(answer, gold, strict=True)],
        "truncated": [False] * rows,
        "option_scores": [[-1.0, -1.1, -1.2]] * rows,
    }


class Store:
    """Writes run directories into `root`. Parts are a list, or the name of one of `PARTS`."""

    xnli = XNLI
    meta = META
    parts: ClassVar[dict[str, list[dict[str, Any]]]] = {"base": BASE, "llama_adapter": ADAPTER, "lora": LORA}

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(
        self,
        name: str,
        parts: str | Sequence[Mapping[str, Any]],
        english: float = 0.58,
        others: float = 0.45,
        *,
        languages: Sequence[str] = XNLI,
        rows: int = 100,
        first: int = 0,
        seed: int = 1,
        training: Mapping[str, Any] | None = TRAINING,
        meta: Mapping[str, Any] = META,
        trained_with: int = 0,
        result: str | None = None,
        **spec: Any,
    ) -> Path:
        """A run whose share of right answers falls from `others` + 5 to `others` - 5 points along the languages.

        `seed` draws the answers, `trained_with` is the seed of the specification, `result` the name of the results.
        """
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=result is not None)
        resolved = specification(self.parts[parts] if isinstance(parts, str) else parts, seed=trained_with, **spec)
        (folder / "spec.yaml").write_text(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), "utf-8")
        (folder / "environment.json").write_text(json.dumps(ENVIRONMENT), "utf-8")
        if training is not None and resolved["train"] is not None:
            (folder / "training.json").write_text(json.dumps(training), "utf-8")
        for number, code in enumerate(languages):
            skill = english if code == "eng_Latn" else others + 0.05 - 0.1 * number / len(XNLI)
            columns = answers(skill, 100 * seed + number, rows, first)
            self.predictions(folder / "predictions" / (result or str(meta["task"])) / f"{code}.parquet", columns, meta)
        return folder

    def predictions(self, file: Path, columns: Mapping[str, Any], meta: Mapping[str, Any] | None = META) -> None:
        write_predictions(file, columns, meta)

    def answers(self, skill: float, seed: int, rows: int = 100) -> dict[str, list[Any]]:
        return answers(skill, seed, rows)

    def three_methods(self) -> Path:
        """A base model, a LLaMA-Adapter and a LoRA run, on 100 parallel rows in the 15 languages of XNLI."""
        self.run("base-gemma-3-270m-aaaaaaaaaaaa", "base", 0.35, 0.34, seed=3)
        self.run("llama_adapter-gemma-3-270m-bbbbbbbbbbbb", "llama_adapter", 0.58, 0.45, seed=4)
        self.run("lora-gemma-3-270m-cccccccccccc", "lora", 0.68, 0.56, seed=5)
        return self.root


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `Store.three_methods`, to be read only."""
    return Store(tmp_path_factory.mktemp("study") / "runs").three_methods()


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

LAUNCH = """
import os, sys
high = [os.dup2(int(number), 60 + place) for place, number in enumerate(sys.argv[1:3])]
for place, number in enumerate(high):  # Chromium reads commands from descriptor 3 and writes answers to 4
    os.dup2(number, 3 + place, inheritable=True)
flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
os.execv(sys.argv[3], [*sys.argv[3:], *flags])
"""


class Browser:
    """Headless Chromium, spoken to over a pipe in the DevTools protocol (no driver, no port)."""

    def __init__(self, profile: Path) -> None:
        command_out, self.commands = os.pipe()
        self.answers, answer_in = os.pipe()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                LAUNCH,
                str(command_out),
                str(answer_in),
                str(CHROMIUM),
                f"--user-data-dir={profile}",
            ],
            pass_fds=(command_out, answer_in),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_out)
        os.close(answer_in)
        self.numbers = itertools.count(1)
        self.buffer = b""
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            block = os.read(self.answers, 1 << 16)
            assert block, "the browser has gone"
            self.buffer += block
        line, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._message()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, file: Path) -> None:
        self.events.clear()
        self.send("Page.navigate", url=file.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())

    def run(self, script: str) -> Any:
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def look(self, width: int, height: int = 900, scheme: str = "light") -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def choose(self, selector: str, value: str) -> None:
        """Set a box and say so, as a person's hand does."""
        script = """(([selector, value]) => {{ const box = document.querySelector(selector); box.value = value;
            for (const kind of ['input', 'change']) box.dispatchEvent(new Event(kind, {{bubbles: true}})) }})({})"""
        self.run(script.format(json.dumps([selector, value])))

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text, windowsVirtualKeyCode=code)

    def complaints(self) -> list[dict[str, Any]]:
        """What the console said since the page was opened."""
        bad = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [event for event in self.events if event.get("method") in bad]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        os.close(self.commands)
        os.close(self.answers)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine to open the page in")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def ablations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, LLaMA-Adapters of three lengths and LoRA with two seeds, to be read only."""
    store = Store(tmp_path_factory.mktemp("ablations") / "runs")
    store.run("base", "base", 0.35, 0.34, seed=3)
    for tokens, others in ((5, 0.45), (10, 0.56), (20, 0.6)):
        training = TRAINING | {"trainable_parameters": 11_000 * tokens}
        parts = [ADAPTER[0] | {"tokens": tokens}]
        store.run(f"adapter{tokens}", parts, 0.66, others, seed=tokens, training=training)
    for seed in (0, 1):
        store.run(f"lora{seed}", "lora", 0.68, 0.5, seed=40 + seed, trained_with=seed)
    return store.root
