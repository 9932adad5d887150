"use strict";

document.documentElement.classList.add("js");
const count = (shown, all, noun) => `${shown.toLocaleString("en")} of ${all.toLocaleString("en")} ${noun}`;

// Tables: a click on a heading sorts, another one turns the order round.
for (const table of document.querySelectorAll(".grid-table")) {
  const body = table.querySelector("tbody.body");
  const headings = [...table.querySelectorAll("thead th[data-key]")];
  for (const [column, heading] of headings.entries()) {
    heading.querySelector("button").addEventListener("click", () => {
      const text = column === 0;
      const [first, second] = text ? ["ascending", "descending"] : ["descending", "ascending"];
      const order = heading.getAttribute("aria-sort") === first ? second : first;
      const sign = order === "ascending" ? 1 : -1;
      const keyed = [...body.rows].map((row) => {
        const value = row.cells[column].dataset.value;
        return [text ? value : value === "" ? NaN : Number(value), row];
      });
      keyed.sort(([a], [b]) => {
        if (text) return sign * a.localeCompare(b, "en", { numeric: true });
        if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b); // what is missing comes last either way
        return sign * (a - b);
      });
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      body.append(...keyed.map(([, row]) => row));
    });
  }
}

// A task: filter its languages (or methods), and choose what differences are to.
for (const section of document.querySelectorAll(".task")) {
  const input = section.querySelector("[data-filter]");
  const status = section.querySelector(".count");
  const tables = [...section.querySelectorAll(".results, .heat-map")];
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const table of tables) {
      for (const row of table.querySelector("tbody.body").rows) {
        row.hidden = !words.every((word) => row.dataset.words.includes(word));
      }
    }
    const rows = [...tables[0].querySelector("tbody.body").rows];
    status.textContent = words.length
      ? count(rows.filter((row) => !row.hidden).length, rows.length, input.dataset.noun)
      : "";
  });
  const choose = () => {
    const chosen = section.querySelector(".switch input:checked");
    if (!chosen) return;
    for (const heat of section.querySelectorAll(".heat")) heat.hidden = heat.dataset.kind !== chosen.value;
  };
  section.querySelector(".switch")?.addEventListener("change", choose);
  choose();
}

// Examples: the rows lie in the page as data, and only those that are looked at become elements.
const PAGE = 20;
const make = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const swatch = (css, path) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ class: "swatch", width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" })) {
    svg.setAttribute(name, value);
  }
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("class", `mark ${css}`);
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
};

const examples = document.querySelector("#examples");
if (examples) {
  const tasks = JSON.parse(document.querySelector("#data").textContent);
  const find = (name) => examples.querySelector(`[data-${name}]`);
  const [taskBox, languageBox, methodBox, rowsBox, search, more] =
    ["task", "language", "method", "rows", "search", "more"].map(find);
  const list = examples.querySelector("#example-list");
  let task, found, shown;

  const option = (text, value) => new Option(text, value);
  const byMethod = (name) => option(name[0], task.methods.indexOf(name));
  const chooseTask = () => {
    task = tasks[taskBox ? Number(taskBox.value) : 0];
    languageBox.replaceChildren(option("All languages", ""), ...task.languages.map((l, n) => option(l.name, n)));
    languageBox.value = task.shown;
    methodBox.replaceChildren(option("Any method", ""), ...task.methods.map(byMethod));
  };

  // a row is [id, gold, fields, answers, picks], see examples.py
  const isRight = (row, method) => row[4][method] >= 0 && row[3][2 * row[4][method] + 1] === 1;
  const isWrong = (row, method) => row[4][method] >= 0 && !isRight(row, method);
  const some = (row, check) => row[4].some((_, method) => check(row, method));
  const wanted = {
    all: () => true,
    disagree: (row) => new Set(row[3].filter((_, n) => n % 2 === 0)).size > 1,
    right: (row, method) => (method === "" ? some(row, isRight) : isRight(row, method)),
    wrong: (row, method) => (method === "" ? some(row, isWrong) : isWrong(row, method)),
    none: (row) => !some(row, isRight),
  };
  const words = (row) => {
    const texts = [row[0], row[1], ...row[2].filter((_, n) => n % 3 === 1), ...row[3].filter((_, n) => n % 2 === 0)];
    return texts.map((number) => task.pool[number]).join("\n").toLowerCase();
  };

  const key = ([label, css, path]) => make("span", { class: "key" }, swatch(css, path), ` ${label}`);
  const write = ([language, row]) => {
    const [id, gold, fields, answers, picks] = row;
    const asked = make("div", { class: "asked" }, make("p", { class: "row-id" }, `${language.name}, ${task.pool[id]}`));
    for (let n = 0; n < fields.length; n += 3) {
      const direction = fields[n + 2] ? "rtl" : "ltr";
      asked.append(
        make("p", { class: "field" }, task.pool[fields[n]]),
        make("p", { class: "text", lang: language.tag, dir: direction }, task.pool[fields[n + 1]]),
      );
    }
    const answered = make(
      "dl", { class: "answered" },
      make("dt", { class: "field" }, "Gold"), make("dd", { class: "gold", dir: "auto" }, task.pool[gold]),
    );
    const who = (number) => task.methods.filter((_, method) => picks[method] === number).flatMap((m) => [key(m), " "]);
    for (let n = 0; n < answers.length / 2; n += 1) {
      const right = answers[2 * n + 1] === 1;
      answered.append(
        make(
          "dt", { class: right ? "right" : "wrong" },
          make("span", { "aria-hidden": "true" }, right ? "✓" : "✗"),
          make("span", { class: "hidden" }, right ? "Right:" : "Wrong:"), " ",
          make("span", { dir: "auto" }, task.pool[answers[2 * n]] || "(empty)"),
        ),
        make("dd", {}, ...who(n)),
      );
    }
    if (picks.includes(-1)) answered.append(make("dt", { class: "none" }, "– no answer"), make("dd", {}, ...who(-1)));
    return make("li", { class: "example" }, asked, answered);
  };

  const extend = () => {
    const next = found.slice(shown, shown + PAGE);
    list.firstChild.append(...next.map(write));
    shown += next.length;
    more.hidden = shown >= found.length;
  };
  const show = () => {
    const chosen = languageBox.value === "" ? task.languages : [task.languages[Number(languageBox.value)]];
    const all = chosen.flatMap((language) => language.rows.map((row) => [language, row]));
    const text = search.value.trim().toLowerCase();
    found = all.filter(([, row]) => wanted[rowsBox.value](row, methodBox.value) && (!text || words(row).includes(text)));
    list.replaceChildren(make("ol", { class: "examples" }));
    shown = 0;
    extend();
    examples.querySelector(".count").textContent = count(found.length, all.length, "rows");
  };
  taskBox?.addEventListener("change", () => { chooseTask(); show(); });
  for (const box of [languageBox, methodBox, rowsBox]) box.addEventListener("change", show);
  search.addEventListener("input", show);
  more.addEventListener("click", extend);
  examples.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  chooseTask();
  show();
}

// On paper everything is unfolded.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")].filter((box) => !box.closest("#runs"));
  for (const box of folded) box.open = true;
});
addEventListener("afterprint", () => { for (const box of folded) box.open = false; });
