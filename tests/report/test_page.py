"""The page as a document: whole, self-contained, escaped, and told to assistive technology."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from transfix import report
from transfix.report import charts, examples, grids

EVIL = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>"
VOID = {"meta", "link", "input", "br", "path", "line"}


class Document(HTMLParser):
    """Elements with their attributes and text; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html(study: Path) -> str:
    return report.page(report.collect(study))


def test_loads_nothing(html: str) -> None:
    document = Document(html)
    for _, attributes in document.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:,"))
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import", html)


def test_headline_numbers_and_statements(html: str, study: Path) -> None:
    (task,) = report.collect(study).tasks
    text = "".join(Document(html).texts)
    assert task.headline in text
    for sentence in task.claims:
        assert sentence in text
    for method in task.methods:
        for language in task.languages:
            entry = method.language(language.code)
            assert entry is not None
            assert f"[{100 * entry['interval'][0]:.1f}, {100 * entry['interval'][1]:.1f}]" in text
    for words in (
        "Prompts cut to fit",
        "percentile bootstrap",
        "Trained parameters",
        "115,272",
        "0123456789abcdef",
        "step 564, accuracy 0.585, loss 0.8712",
    ):
        assert words in text


def test_tables_are_tables_to_a_screen_reader(html: str, study: Path) -> None:
    document = Document(html)
    headings = document.all("th")
    assert {heading["scope"] for heading in headings} == {"col", "row"}
    # scores; differences to base and LoRA; macro-F1, and by language; scripts, families and resources; order of languages
    assert len(document.all("caption")) == len(document.all("table")) == 9
    assert sum(heading["scope"] == "row" for heading in headings) == 2 + 15 + 3 + 2 * (2 + 15 + 1) + 3 + 15 + 3 + sum(
        len(found) for found in report.collect(study).tasks[0].groups.values()
    )
    assert html.count('<html lang="en">') == 1
    natives = [a for name, a in document.elements if name == "span" and a.get("dir")]
    directions = {(native.get("lang"), native["dir"]) for native in natives}
    assert directions >= {("ar-Arab", "rtl"), ("zh-Hans", "ltr")}
    for region in document.all("div"):
        if (region.get("class") or "").startswith("scroll"):
            assert region["tabindex"] == "0"
            assert region["aria-label"]


def test_same_runs_same_page(html: str, study: Path) -> None:
    assert report.page(report.collect(study)) == html


def test_everything_a_user_wrote_is_escaped(store: Any) -> None:
    meta = store.meta | {"template": EVIL, "verbaliser": {EVIL: EVIL}, "data": EVIL, EVIL: EVIL, "classes": [EVIL, "b"]}
    folder = store.run(
        "lora",
        [{"method": EVIL}],
        meta=meta,
        languages=["deu_Latn", "arb_Arab"],
        model=EVIL,
        seed_note=EVIL,
        training={"trainable_parameters": EVIL, "seconds": EVIL, EVIL: EVIL},
    )
    columns = store.answers(0.5, 1)
    columns["answer"][0] = columns["gold"][1] = columns["id"][2] = EVIL
    store.predictions(folder / "predictions" / "xnli" / "deu_Latn.parquet", columns, meta)
    store.predictions(folder / "predictions" / "xnli" / "<b>x.parquet", columns, meta)
    (folder / "environment.json").write_text('{"<script>": "<script>"}')
    found = report.collect(store.root, lambda task, code, meta: {"00000": {EVIL: EVIL}})
    html = report.page(found)
    document = Document(html)
    assert [attributes.get("type") for attributes in document.all("script")] == ["application/json", None]
    assert document.all("img") == []
    assert document.all("b") == [{}] * len(document.all("b"))
    assert "".join(document.texts).count(EVIL) > 10
    for _, attributes in document.elements:
        assert "onerror" not in attributes


def test_only_its_own_script_may_run(html: str) -> None:
    document = Document(html)
    policy = next(a["content"] for a in document.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "script-src 'sha256-" in policy


def test_few_methods_many_methods_and_none(store: Any) -> None:
    store.run("new", "lora", languages=[], training=None)
    html = report.page(report.collect(store.root))
    assert "No predictions yet" in html
    assert "training, not finished" in html
    for number in range(7):
        part = store.parts["llama_adapter"][0] | {"tokens": number + 1}
        store.run(f"run{number}", [part], languages=["eng_Latn", "deu_Latn"], rows=30 + number)
    found = report.collect(store.root)
    document = Document(report.page(found))
    swatches = [(a["class"], a["d"]) for name, a in document.elements if name == "path"][:7]
    assert len(set(swatches)) == 7
    assert len(found.tasks[0].methods) == 7


def test_long_texts_are_clipped_and_right_to_left_only_where_letters_are(store: Any) -> None:
    store.run("base", "base", languages=["urd_Arab"], rows=3)
    texts = {"00000": {"premise": "x" * 5000}, "00001": {"premise": "میری جنس 2002"}, "00002": {"premise": "Mai akela"}}
    html = report.page(report.collect(store.root, lambda *_: texts))
    assert "x" * 1200 + " …" in html
    assert "x" * 1201 not in html
    found = re.findall(r'class="text" lang="ur-Arab" dir="(\w+)"', html)
    assert found == ["ltr", "rtl", "ltr"]


def test_many_methods_run_down_and_those_of_a_kind_share_a_mark(store: Any) -> None:
    for number in range(10):
        store.run(f"run{number}", [store.parts["lora"][0] | {"rank": number + 1}], languages=["deu_Latn", "swh_Latn"])
    (task,) = report.collect(store.root).tasks
    table = grids.results(task)
    assert (table.corner, table.plots) == ("Method", ())
    assert [head.text for head in table.rows] == [method.label for method in task.methods]
    assert [head.text for head in table.columns if head.kind == "body"] == [lang.name for lang in task.languages]
    assert len(set(charts.marks(task.methods))) == 1
    assert charts.legend(task.methods)[0][1] == "LoRA"


def test_examples_are_data_that_stays_small(study: Path) -> None:
    texts = {f"{row:05d}": {"premise": "Ein Satz. " * 50} for row in range(30)}
    found = report.collect(study, lambda *_: texts)
    (task,), packed = examples.data(found.tasks)
    assert "<" not in packed
    assert json.loads(packed) == [task]
    assert len(packed) < 60_000  # 450 rows of 500 characters, each text once
    for language in task["languages"]:
        for row, given in zip(language["rows"], found.tasks[0].examples[language["code"]], strict=True):
            name, gold, fields, answers, picks = row
            assert [task["pool"][name], task["pool"][gold]] == [given.id, given.gold]
            assert task["pool"][fields[1]] == given.texts["premise"]
            read = [(task["pool"][answers[2 * pick]], answers[2 * pick + 1] == 1) for pick in picks]
            assert tuple(read) == given.answers
    (short,), packed = examples.data(found.tasks, largest=6_000)
    assert len(packed.encode()) <= 6_000
    assert {len(language["rows"]) for language in short["languages"]} == {7}


def test_a_heat_map_shades_by_size_and_marks_what_is_significant(study: Path) -> None:
    (task,) = report.collect(study).tasks
    table = grids.differences(task, "base")
    assert table is not None
    found = {method.label: task.against(method, "base") for method in task.methods}
    for row, cells in zip(table.rows, table.cells, strict=True):
        for column, cell in zip(table.columns, cells, strict=True):
            if row.language is None:
                continue
            entry = (found[column.text] or {})["languages"][row.language.code]
            assert cell.sign == ("*" if entry["holm"] < 0.05 else "")
            assert cell.shade.startswith("up" if entry["difference"] > 0 else "down") or not cell.shade
    values = [(abs(c.value or 0), int(c.shade[-1])) for cells in table.cells[:-1] for c in cells if c.shade]
    assert max(values)[1] == 4
    assert all(a[1] <= b[1] for a, b in zip(sorted(values), sorted(values)[1:], strict=False))


def test_curves_and_parameters_are_drawn_with_their_words(ablations: Path) -> None:
    found = report.collect(ablations)
    html = report.page(found)
    (curve,) = found.curves
    assert curve.setting == "tokens"
    drawn = charts.curve(curve)
    assert drawn is not None
    assert [dot.words.split(":")[0] for dot in drawn.lines[0].dots] == [
        f"{curve.series[0].label}, tokens {tokens}" for tokens in (5, 10, 20)
    ]
    assert [dot.x for dot in drawn.lines[0].dots] == ["0.00%", "33.33%", "100.00%"]
    document = Document(html)
    names = [a["id"] for tag in ("title", "desc") for a in document.all(tag) if "id" in a]
    for svg in document.all("svg"):
        assert svg.get("aria-hidden") == "true" or svg.get("role") == "img" or "x" in svg
        assert all(name in names for name in (svg.get("aria-labelledby") or "").split())
    assert drawn.description in "".join(document.texts)


def test_scales() -> None:
    assert [text for _, text in charts.Scale.shares([0.33, 0.61]).ticks] == [
        "30",
        "35",
        "40",
        "45",
        "50",
        "55",
        "60",
        "65",
    ]
    assert charts.Scale.shares([0.0, 1.0]).ticks[-1] == (1.0, "100")
    log = charts.Scale.powers([12_800, 268_000_000])
    assert [text for _, text in log.ticks] == ["10K", "100K", "1M", "10M", "100M", "1B"]
    assert log.at(1e5) == "20.00%"
    assert charts.Scale.values([4, 8, 16, 32, 64, 128]).at(8) == "20.00%"
    assert charts.Scale.values([0.7]).at(0.7) == "33.33%"


def test_no_character_of_a_user_turns_the_page(store: Any) -> None:
    """What changes the direction of writing is shown as it would be written, and so are other control characters."""
    turned = "model \u202egnp.exe\u2066 \x1b[31m"
    meta = store.meta | {"template": turned, "verbaliser": {turned: turned}, "data": turned, "classes": [turned, "b"]}
    columns = store.answers(0.5, 1)
    columns["answer"][0] = columns["gold"][1] = turned
    folder = store.run("run", [{"method": turned}], meta=meta, model=turned, note=turned)
    store.predictions(folder / "predictions" / "xnli" / "deu_Latn.parquet", columns, meta)
    html = report.page(
        report.collect(store.root, lambda task, code, meta: {"00000": {turned: turned + "می\u200cخواهم"}})
    )
    assert not re.findall("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f-\x9f]", html)
    assert html.count("\\u202egnp.exe") > 10
    assert "می\u200cخواهم" in html, "what scripts need stays"
