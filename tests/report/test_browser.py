"""The page in a real browser: it sorts, filters, fits a phone, loads nothing and logs no error."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from transfix import report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the page in")


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

    def screenshot(self, file: Path) -> None:
        data = self.send("Page.captureScreenshot", captureBeyondViewport=False)["data"]
        file.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        os.close(self.commands)
        os.close(self.answers)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


TEXTS = {
    "arb_Arab": {"premise": "وقال: أمي، لقد عدت إلى البيت.", "hypothesis": "لم ينطق ببنت شفة."},
    "eng_Latn": {"premise": "And he said, Mama, I'm home.", "hypothesis": "He didn't say a word."},
}


@pytest.fixture(scope="module")
def file(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = report.collect(study, lambda task, code, meta: {"00000": TEXTS[code]} if code in TEXTS else {})
    page = tmp_path_factory.mktemp("page") / "page.html"
    page.write_text(report.page(found), "utf-8")
    return page


@pytest.fixture
def page(file: Path, browser: Browser) -> Path:
    browser.look(1280)
    browser.open(file)
    return file


def column(browser: Browser, number: int) -> list[Any]:
    script = f"[...document.querySelectorAll('tbody.languages tr')].map(row => row.cells[{number}].dataset.value)"
    found: list[Any] = browser.run(script)
    return found


def test_loads_nothing_and_logs_no_error(browser: Browser, page: Path) -> None:
    requests = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert {url.split(":")[0] for url in requests} <= {"file", "data"}
    assert sum(url.startswith("file") for url in requests) == 1
    bad = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
    assert [event for event in browser.events if event.get("method") in bad] == []


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(browser: Browser, page: Path) -> None:
    click = "document.querySelector('th[data-key={}] button').click()"
    state = "document.querySelector('th[data-key={}]').getAttribute('aria-sort')"
    browser.run(click.format("m1"))
    values = [float(value) for value in column(browser, 2)]
    assert values == sorted(values, reverse=True)
    assert browser.run(state.format("m1")) == "descending"
    browser.run(click.format("m1"))
    assert [float(value) for value in column(browser, 2)] == sorted(values)
    assert browser.run(state.format("m1")) == "ascending"
    browser.run(click.format("language"))
    names = column(browser, 0)
    assert names == sorted(names)
    assert browser.run(state.format("m1")) is None
    assert browser.run("document.querySelectorAll('[aria-sort]').length") == 1
    # the averages stay where they are
    assert browser.run("document.querySelector('tbody').className") == "summary"


def test_keyboard_reaches_sorting(browser: Browser, page: Path) -> None:
    browser.run("document.querySelector('th[data-key=m2] button').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.send(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
        )
    assert browser.run("document.querySelector('th[data-key=m2]').getAttribute('aria-sort')") == "descending"


def test_filters_languages_by_name_script_and_family(browser: Browser, page: Path) -> None:
    fill = """(() => {{ const input = document.querySelector('[data-filter]'); input.value = {!r};
        input.dispatchEvent(new Event('input')); return [...document.querySelectorAll('tbody.languages tr')]
        .filter(row => row.checkVisibility()).map(row => row.querySelector('.code').textContent) }})()"""
    assert set(browser.run(fill.format("arabic"))) == {"arb_Arab", "urd_Arab"}
    assert browser.run("document.querySelector('.task .count').textContent") == "2 of 15 languages"
    assert browser.run(fill.format("deutsch")) == ["deu_Latn"]
    assert "swh_Latn" in browser.run(fill.format("niger-congo"))
    assert browser.run(fill.format("no such language")) == []
    assert len(browser.run(fill.format(""))) == 15


def test_filters_examples_by_language_and_disagreement(browser: Browser, page: Path) -> None:
    choose = """(() => {{ const select = document.querySelector('[data-{}]'); select.value = '{}';
        select.dispatchEvent(new Event('change')); return [...document.querySelectorAll('.examples tbody tr')]
        .filter(row => row.checkVisibility()).map(row => [row.parentNode.dataset.code, row.dataset.disagree,
        row.dataset.right, [...row.cells].slice(2).map(cell => cell.lastChild.textContent.trim())]) }})()"""
    rows = browser.run(choose.format("language", "arb_Arab"))
    assert len(rows) == 30
    assert {row[0] for row in rows} == {"arb_Arab"}
    some = browser.run(choose.format("rows", "disagree"))
    assert some == [row for row in rows if len(set(row[3])) > 1]
    assert 0 < len(some) < 30
    assert browser.run("document.querySelector('.browser .count').textContent") == f"{len(some)} of 30 rows"
    assert {row[2] for row in browser.run(choose.format("rows", "none"))} == {"0"}
    browser.run(choose.format("rows", "all"))
    assert len(browser.run(choose.format("language", ""))) == 30 * 15


def test_right_to_left_text_runs_right_to_left(browser: Browser, page: Path) -> None:
    found = browser.run("""(() => { const text = document.querySelector('tbody[data-code=arb_Arab] .text');
        return [text.lang, getComputedStyle(text).direction, text.textContent] })()""")
    assert found == ["ar-Arab", "rtl", TEXTS["arb_Arab"]["premise"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_fits_every_screen_and_keeps_contrast(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.look(width, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth") <= width
    if width >= 768:
        assert browser.run(
            "[...document.querySelectorAll('.scroll')].every((box) => box.scrollWidth <= box.clientWidth)"
        )
    contrast = browser.run("""(() => {
        const light = (colour) => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((v) => {
            const c = v / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b };
        const ground = (node) => { for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor;
            if (!colour.endsWith(', 0)')) return colour } };
        let worst = [21, ''];
        for (const node of document.querySelectorAll('body *')) {
            const own = [...node.childNodes].filter((child) => child.nodeType === 3 && child.data.trim());
            if (node.closest('svg, script') || !own.length) continue;
            const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
            const ratio = (a + 0.05) / (b + 0.05);
            if (ratio < worst[0]) worst = [ratio, node.outerHTML.slice(0, 200)];
        }
        return worst })()""")
    assert contrast[0] >= 4.5, contrast


def test_plot_places_points_where_the_numbers_are(browser: Browser, page: Path) -> None:
    """A point lies between the ends of its whisker, at the same share of the way as its value."""
    found = browser.run("""[...document.querySelectorAll('tbody.languages .plot g')].map((group) => {
        const line = group.querySelector('.whisker').getBoundingClientRect();
        const box = group.querySelector('.mark').getBoundingClientRect();
        return [line.left, box.left + box.width / 2, line.right, group.querySelector('title').textContent] })""")
    assert len(found) == 45
    for left, middle, right, title in found:
        value, low, high = (float(word.strip("[],")) for word in title.rsplit(" ", 3)[1:])
        expected = left + (right - left) * (value - low) / (high - low)
        assert abs(middle - expected) < 2.5, title
