"use strict";
// Sorts a table by the column whose heading is pressed: numbers from the largest, words from A.
for (const heading of document.querySelectorAll("#tags th")) {
  heading.addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0];
    const key = (row) => row.cells[heading.cellIndex].dataset.key;
    const rows = [...body.rows];
    const numeric = rows.every((row) => !Number.isNaN(Number(key(row))));
    const before = heading.getAttribute("aria-sort");
    const order = before ? (before === "descending" ? "ascending" : "descending")
      : (numeric ? "descending" : "ascending");
    const sign = order === "descending" ? -1 : 1;
    rows.sort((one, other) => sign * (numeric
      ? Number(key(one)) - Number(key(other))
      : key(one).localeCompare(key(other))));
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    body.append(...rows);
  });
}
