"use strict";

const plural = (shown, all, noun) => `${shown} of ${all} ${noun}`;

// Results: sort by any column, filter by language.
for (const section of document.querySelectorAll(".task")) {
  const body = section.querySelector("tbody.languages");
  const rows = [...body.rows];
  const headings = [...section.querySelectorAll("thead th[data-key]")];
  const value = (row, column) => row.cells[column].dataset.value ?? "";
  for (const [column, heading] of headings.entries()) {
    heading.querySelector("button").addEventListener("click", () => {
      const text = heading.dataset.key === "language";
      const first = text ? "ascending" : "descending";
      const order = heading.getAttribute("aria-sort") === first ? (text ? "descending" : "ascending") : first;
      const sign = order === "ascending" ? 1 : -1;
      const compare = text
        ? (a, b) => a.localeCompare(b, "en")
        : (a, b) => parseFloat(a) - parseFloat(b);
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      rows.sort((a, b) => sign * compare(value(a, column), value(b, column)));
      body.append(...rows);
    });
  }
  const input = section.querySelector("[data-filter]");
  const count = section.querySelector(".count");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => row.dataset.words.includes(word));
    count.textContent = words.length ? plural(rows.filter((row) => !row.hidden).length, rows.length, "languages") : "";
  });
}

// Examples: one language at a time, and only the rows that are asked for.
const wanted = {
  all: () => true,
  disagree: (row) => row.dataset.disagree === "1",
  wrong: (row) => Number(row.dataset.right) < Number(row.dataset.answered),
  none: (row) => row.dataset.right === "0",
};
for (const section of document.querySelectorAll(".browser")) {
  const language = section.querySelector("[data-language]");
  const which = section.querySelector("[data-rows]");
  const show = () => {
    let shown = 0, all = 0;
    for (const body of section.querySelectorAll("tbody")) {
      body.hidden = language.value !== "" && body.dataset.code !== language.value;
      if (body.hidden) continue;
      for (const row of body.rows) {
        row.hidden = !wanted[which.value](row);
        shown += row.hidden ? 0 : 1;
        all += 1;
      }
    }
    section.querySelector(".count").textContent = plural(shown, all, "rows");
  };
  language.addEventListener("change", show);
  which.addEventListener("change", show);
  show();
}
