"""Calls the command `transfix` as often as it is asked to, in one interpreter: libraries are loaded once.

Reads one JSON list of arguments a line and answers each with one line of JSON: `status`, `out`, `err`. The first line it
writes is where `transfix` is imported from.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys


def main() -> None:
    """Goes on until its input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    import transfix

    print(json.dumps(transfix.__file__), file=answers, flush=True)
    for line in sys.stdin:
        out, err, status = io.StringIO(), io.StringIO(), 0
        sys.argv = ["transfix", *json.loads(line)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_module("transfix", run_name="__main__")
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        answer = {"status": status, "out": out.getvalue(), "err": err.getvalue()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
