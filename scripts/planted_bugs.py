"""Do the tests see wrong code? Plants known bugs one at a time, in a copy of the checkout, and runs what should fail.

    python scripts/planted_bugs.py                    # all of scripts/planted_bugs.toml; exit status 1 if one is not seen
    python scripts/planted_bugs.py --only gate,seed   # those whose description has one of the words
    python scripts/planted_bugs.py --area tests/statistics   # those that tests of this path see
    python scripts/planted_bugs.py --table            # a Markdown table of the list; nothing is run

Each bug is a text of one file of src/transfix and what stands there instead: the kind that gives plausible numbers and no
error. Before the first one the tests are run on the code as it is, where they must pass.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_suffix(".toml")
PRELOADED = (
    "torch",
    "transformers",
    "peft",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "pytest",
    "jaxtyping",
    "beartype",
)
"""Imported once: each test is run in a fork, which has them already. transfix itself must be imported afresh."""

SECONDS = 300
"""What a test may take. One that takes longer has seen the bug: the code as it is needs less."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One planted bug.

    Attributes:
        bug: what is wrong, in words.
        file: below src/transfix.
        old: a text that stands there once.
        new: what stands there instead.
        seen_by: the test that fails for it: a file of tests, or one function in it.
    """

    bug: str
    file: str
    old: str
    new: str
    seen_by: str

    def planted(self, text: str) -> str:
        """The file's text with the bug in it.

        Raises:
            ValueError: what it changes does not stand there once.
        """
        if (found := text.count(self.old)) != 1:
            raise ValueError(f"{self.file}: {self.old!r} stands there {found} times; the list must follow the code")
        return text.replace(self.old, self.new)


def bugs() -> list[Bug]:
    """All there are."""
    return [Bug(**entry) for entry in tomllib.loads(LIST.read_text(encoding="utf-8"))["bug"]]


def table(found: Sequence[Bug]) -> str:
    """The list in Markdown."""
    rows = [f"| {bug.bug} | `{bug.file}` | `{bug.seen_by.removeprefix('tests/')}` |" for bug in found]
    return "\n".join(["| planted bug | file | seen by |", "|---|---|---|", *rows])


def checkout(target: Path) -> None:
    """Copies what git knows of the checkout, and what it does not ignore."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def run(copy: Path, tests: Sequence[str], log: Path, seconds: float = SECONDS) -> int:
    """pytest's exit status in a fork of this process, which must not have imported transfix; -1 if it took too long."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy / "src")
        os.environ.setdefault("TRANSFIX_TEST_DATA", str(ROOT.parent / "shared" / "data"))
        sys.path[:0] = [str(copy / "src"), str(copy)]
        import pytest

        status = 1
        try:
            loaded = "ignore::pytest.PytestAssertRewriteWarning"  # plugins that are there already
            options = ["-x", "-q", "-p", "no:cacheprovider", "-rfE", "-W", loaded, "--rootdir", str(copy)]
            status = int(pytest.main([*options, *tests]))
        except BaseException:  # a fork must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    ends = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > ends:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return -1
        time.sleep(0.05)


def write(file: Path, text: str) -> None:
    """Changes a source file so that Python sees it, however soon after the last change."""
    file.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def failed(log: Path) -> str:
    """The test that failed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [match[1] for line in lines if (match := re.match(r"(?:FAILED|ERROR) (\S+)", line))]
    return found[0] if found else "; ".join(lines[-3:])


def main() -> int:
    """Plants them all and says which were not seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="words of the descriptions, by commas")
    parser.add_argument("--area", default="", help="the beginning of the tests' path")
    parser.add_argument("--trust", action="store_true", help="do not run the tests on the code as it is first")
    parser.add_argument("--table", action="store_true", help="print the list and end")
    arguments = parser.parse_args()
    words = [word.lower() for word in arguments.only.split(",") if word]
    chosen = [bug for bug in bugs() if not words or any(word in bug.bug.lower() for word in words)]
    chosen = [bug for bug in chosen if bug.seen_by.startswith(arguments.area)]
    if arguments.table or not chosen:
        print(table(chosen) if chosen else "There is no such bug.")
        return 0 if chosen else 2
    # before torch is imported: sums are the same every time, and a process that forks has no other threads
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    for name in PRELOADED:
        with suppress(ImportError):
            importlib.import_module(name)
    unseen = []
    with tempfile.TemporaryDirectory(prefix="planted-bugs-") as place:
        copy, log = Path(place) / "checkout", Path(place) / "log"
        checkout(copy)
        if not arguments.trust and run(
            copy, list(dict.fromkeys(path for bug in chosen for path in bug.seen_by.split())), log, math.inf
        ):
            print(f"The tests fail on the code as it is: {failed(log)}")
            return 2
        for bug in chosen:
            file = copy / "src" / "transfix" / bug.file
            text = file.read_text(encoding="utf-8")
            began = time.monotonic()
            write(file, bug.planted(text))
            status = run(copy, bug.seen_by.split(), log)
            write(file, text)
            by = (
                "it took too long" if status < 0 else failed(log) if status in (1, 2) else f"pytest ended with {status}"
            )
            seen = status == 1 or status < 0
            unseen += [] if seen else [bug]
            print(f"{'seen' if seen else 'NOT SEEN'}  {time.monotonic() - began:5.1f} s  {bug.bug}: {by}", flush=True)
    print(f"{len(chosen) - len(unseen)} of {len(chosen)} seen")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
