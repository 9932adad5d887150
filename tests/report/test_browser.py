"""The page in a real browser: it sorts, filters, fits a phone, loads nothing, logs no error, and axe has no complaint."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from transfix import report

TEXTS = {
    "arb_Arab": {"premise": "وقال: أمي، لقد عدت إلى البيت.", "hypothesis": "لم ينطق ببنت شفة."},
    "eng_Latn": {"premise": "And he said, Mama, I'm home.", "hypothesis": "He didn't say a word."},
}


def write(study: Path, folder: Path) -> Path:
    found = report.collect(study, lambda task, code, meta: {"00000": TEXTS[code]} if code in TEXTS else {})
    page = folder / "page.html"
    page.write_text(report.page(found), "utf-8")
    return page


@pytest.fixture(scope="module")
def file(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(study, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def rich_file(ablations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(ablations, tmp_path_factory.mktemp("page"))


@pytest.fixture
def page(file: Path, browser: Any) -> Path:
    browser.look(1280)
    browser.open(file)
    return file


@pytest.fixture
def rich(rich_file: Path, browser: Any) -> Path:
    browser.look(1280)
    browser.open(rich_file)
    return rich_file


def column(browser: Any, number: int, table: str = ".results") -> list[Any]:
    script = f"[...document.querySelectorAll('{table} tbody.body tr')].map(row => row.cells[{number}].dataset.value)"
    found: list[Any] = browser.run(script)
    return found


def examples(browser: Any) -> list[list[Any]]:
    """Of every example shown: its language, its text, the answers with who gave them."""
    found: list[list[Any]] = browser.run("""[...document.querySelectorAll('.example')].map((row) => [
        row.querySelector('.row-id').textContent.split(',')[0],
        row.querySelector('.asked').textContent,
        [...row.querySelectorAll('dt:not(.field)')].map((answer) => [
            answer.className, answer.lastElementChild.textContent,
            [...answer.nextElementSibling.querySelectorAll('.key')].map((key) => key.textContent.trim())])])""")
    return found


def count(browser: Any, section: str = "#examples") -> str:
    found: str = browser.run(f"document.querySelector('{section} .count').textContent")
    return found


def test_loads_nothing_and_logs_no_error(browser: Any, rich: Path) -> None:
    requests = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert {url.split(":")[0] for url in requests} <= {"file", "data"}
    assert sum(url.startswith("file") for url in requests) == 1
    assert browser.complaints() == []


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(browser: Any, page: Path) -> None:
    click = "document.querySelector('.results th[data-key={}] button').click()"
    state = "document.querySelector('.results th[data-key={}]').getAttribute('aria-sort')"
    browser.run(click.format('"1"'))
    values = [float(value) for value in column(browser, 2)]
    assert values == sorted(values, reverse=True)
    assert browser.run(state.format('"1"')) == "descending"
    browser.run(click.format('"1"'))
    assert [float(value) for value in column(browser, 2)] == sorted(values)
    assert browser.run(state.format('"1"')) == "ascending"
    browser.run(click.format("head"))
    names = column(browser, 0)
    assert names == sorted(names)
    assert browser.run(state.format('"1"')) is None
    assert browser.run("document.querySelectorAll('[aria-sort]').length") == 1
    # the averages stay where they are
    assert browser.run("document.querySelector('.results tbody').className") == "average"


def test_every_table_sorts_by_every_column(browser: Any, rich: Path) -> None:
    unsorted = browser.run("""[...document.querySelectorAll('.grid-table')].flatMap((table) =>
        [...table.querySelectorAll('thead button')].slice(1).filter((button, index) => {
            button.click();
            const values = [...table.querySelector('tbody.body').rows].map((row) => row.cells[index + 1].dataset.value);
            const known = values.filter((value) => value !== '').map(Number);
            return values.slice(known.length).some((value) => value !== '')
                || known.some((value, place) => place > 0 && value > known[place - 1]) })
        .map((button) => button.textContent))""")
    assert unsorted == []
    assert browser.run("document.querySelectorAll('.grid-table').length") > 6


def test_keyboard_reaches_sorting_and_the_switch(browser: Any, rich: Path) -> None:
    browser.run("document.querySelector('.results th[data-key=\"2\"] button').focus()")
    browser.press("Enter", 13, "\r")
    assert (
        browser.run("document.querySelector('.results th[data-key=\"2\"]').getAttribute('aria-sort')") == "descending"
    )
    shown = (
        "[...document.querySelectorAll('.heat')].filter((box) => box.checkVisibility()).map((box) => box.dataset.kind)"
    )
    assert browser.run(shown) == ["lora"]
    browser.run("document.querySelector('.switch input:checked').focus()")
    browser.press("ArrowUp", 38)
    assert browser.run(shown) == ["base"]


def test_filters_languages_by_name_script_and_family(browser: Any, page: Path) -> None:
    def shown(words: str, table: str = ".results") -> list[str]:
        browser.choose("[data-filter]", words)
        script = f"""[...document.querySelectorAll('{table} tbody.body tr')]
            .filter(row => row.checkVisibility()).map(row => row.querySelector('.code').textContent)"""
        found: list[str] = browser.run(script)
        return found

    assert set(shown("arabic")) == {"arb_Arab", "urd_Arab"}
    assert count(browser, ".task") == "2 of 15 languages"
    assert set(shown("arabic", ".heat:not([hidden]) .heat-map")) == {"arb_Arab", "urd_Arab"}
    assert shown("deutsch") == ["deu_Latn"]
    assert "swh_Latn" in shown("niger-congo")
    assert shown("no such language") == []
    assert len(shown("")) == 15


def test_filters_examples(browser: Any, page: Path, study: Path) -> None:
    (task,) = report.collect(study).tasks
    rows = task.examples["arb_Arab"]
    number = [language.code for language in task.languages].index("arb_Arab")
    browser.choose("[data-language]", str(number))
    assert count(browser) == "30 of 30 rows"
    assert len(examples(browser)) == 20
    browser.run("document.querySelector('[data-more]').click()")
    assert {row[0] for row in examples(browser)} == {"Modern Standard Arabic"}
    assert len(examples(browser)) == 30
    assert not browser.run("document.querySelector('[data-more]').checkVisibility()")

    def wanted(which: str, method: str = "") -> int:
        browser.choose("[data-method]", method)
        browser.choose("[data-rows]", which)
        return int(count(browser).split()[0])

    assert wanted("disagree") == sum(row.disagree for row in rows) > 0
    assert all(len({answer for _, answer, _ in row[2]}) > 1 for row in examples(browser))
    assert wanted("none") == sum(row.right == 0 for row in rows)
    for method, name in enumerate(found.label for found in task.methods):
        right = [row for row in rows if (answer := row.answers[method]) and answer[1]]
        assert wanted("right", str(method)) == len(right) > 0
        assert all(name in who for row in examples(browser) for css, _, who in row[2] if css == "right")
        assert wanted("wrong", str(method)) == len(rows) - len(right)
    assert wanted("all") == 30
    browser.choose("[data-language]", "")
    assert count(browser) == "450 of 450 rows"


def test_searches_examples(browser: Any, page: Path) -> None:
    browser.choose("[data-language]", "")
    browser.choose("[data-search]", "MAMA, I'm")
    assert count(browser) == "1 of 450 rows"
    assert TEXTS["eng_Latn"]["hypothesis"] in examples(browser)[0][1]
    browser.choose("[data-search]", "no such words")
    assert (count(browser), examples(browser)) == ("0 of 450 rows", [])


def test_right_to_left_text_runs_right_to_left(browser: Any, page: Path) -> None:
    browser.choose("[data-language]", "")
    browser.choose("[data-search]", TEXTS["arb_Arab"]["premise"][:10])
    found = browser.run("""(() => { const text = document.querySelector('.example .text');
        return [text.lang, getComputedStyle(text).direction, text.textContent] })()""")
    assert found == ["ar-Arab", "rtl", TEXTS["arb_Arab"]["premise"]]


def test_is_whole_without_a_script(browser: Any, rich_file: Path) -> None:
    browser.look(1280)
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(rich_file)
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.run("document.querySelectorAll('.results tbody.body tr').length") == 15
    assert browser.run("[...document.querySelectorAll('.heat')].every((box) => box.checkVisibility())")
    assert browser.run("[...document.querySelectorAll('.controls')].every((box) => !box.checkVisibility())")
    assert len(examples(browser)) == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_fits_every_screen_and_keeps_contrast(browser: Any, rich: Path, width: int, scheme: str) -> None:
    browser.look(width, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth") <= width
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
            if (node.closest('svg, script, noscript') || !own.length) continue;
            const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
            const ratio = (a + 0.05) / (b + 0.05);
            if (ratio < worst[0]) worst = [ratio, node.outerHTML.slice(0, 200)];
        }
        return worst })()""")
    assert contrast[0] >= 4.5, contrast


def test_a_small_table_needs_no_scrolling_on_a_tablet(browser: Any, page: Path) -> None:
    browser.look(768)
    assert browser.run("[...document.querySelectorAll('.scroll')].every((box) => box.scrollWidth <= box.clientWidth)")


def test_plot_places_points_where_the_numbers_are(browser: Any, page: Path) -> None:
    """A point lies between the ends of its whisker, at the same share of the way as its value."""
    found = browser.run("""[...document.querySelectorAll('.results tbody.body .plot g')].map((group) => {
        const line = group.querySelector('.whisker').getBoundingClientRect();
        const box = group.querySelector('.mark').getBoundingClientRect();
        return [line.left, box.left + box.width / 2, line.right, group.querySelector('title').textContent] })""")
    assert len(found) == 45
    for left, middle, right, title in found:
        value, low, high = (float(word.strip("[],")) for word in title.rsplit(" ", 3)[1:])
        expected = left + (right - left) * (value - low) / (high - low)
        assert abs(middle - expected) < 2.5, title


def test_charts_place_points_where_the_numbers_are(browser: Any, rich: Path) -> None:
    """Heights of all points of a chart lie on one line against their values."""
    charts = browser.run("""[...document.querySelectorAll('.canvas > svg')].map((svg) =>
        [...svg.querySelectorAll('.dot')].map((dot) => {
            const box = dot.querySelector('.mark').getBoundingClientRect();
            const line = dot.querySelector('.whisker').getBoundingClientRect();
            return [box.top + box.height / 2, line.top, line.bottom, dot.querySelector('title').textContent] }))""")
    assert [len(dots) for dots in charts] == [4, 3]
    for dots in charts:
        for middle, top, bottom, title in dots:
            text = title.rsplit(": ", 1)[1].replace("\N{NO-BREAK SPACE}", " ")
            value, low, high = (float(word.strip("[],")) for word in text.split(" ") if word != "%")
            expected = bottom - (bottom - top) * (value - low) / (high - low)
            assert abs(middle - expected) < 2.5, title
        ordered = [float(title.rsplit(": ", 1)[1].split("\N{NO-BREAK SPACE}")[0]) for *_, title in sorted(dots)]
        assert ordered == sorted(ordered, reverse=True)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_serious(browser: Any, rich: Path, width: int, scheme: str) -> None:
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core-python is not installed: it brings axe-core, which checks accessibility")
    browser.look(width, scheme=scheme)
    browser.run("for (const box of document.querySelectorAll('details')) box.open = true")
    browser.run((Path(found.origin).parent / "axe.min.js").read_text("utf-8") + ";0")
    violations = browser.run("""axe.run(document).then((found) => found.violations.map((rule) =>
        [rule.impact, rule.id, rule.nodes.length, rule.nodes[0].html.slice(0, 200)]))""")
    assert [rule for rule in violations if rule[0] in ("serious", "critical")] == [], json.dumps(violations)


def test_prints(browser: Any, rich: Path) -> None:
    browser.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.run("[...document.querySelectorAll('.controls, nav')].every((box) => !box.checkVisibility())")
        overflow = "[...document.querySelectorAll('.scroll')].map((box) => getComputedStyle(box).overflowX)"
        assert set(browser.run(overflow)) == {"visible"}
    finally:
        browser.send("Emulation.setEmulatedMedia", media="")
