// Sorts a table by a click on the head of a column: descending, ascending, as it was. Without it the page is whole too.
const status = document.getElementById("sorted");
const number = /[-+−]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?/i;
const value = (cell) => {
  const text = cell.dataset.v ?? cell.textContent.trim();
  if (text === "" || text === "–") return null;
  const found = cell.classList.contains("number") && text.replaceAll(",", "").replace("−", "-").match(number);
  return found ? parseFloat(found[0]) : text.toLowerCase();
};
const order = (one, other, sign) => {
  if (one === null || other === null) return (one === null) - (other === null);
  if (typeof one === "number" && typeof other === "number") return sign * (one - other);
  return sign * String(one).localeCompare(String(other), undefined, { numeric: true });
};
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = { none: "descending", descending: "ascending", ascending: "none" }[head.ariaSort ?? "none"];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next !== "none") head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const keys = new Map(rows.map((row) => [row, value(row.cells[place])]));
      body.append(...(next === "none" ? rows : [...rows].sort((a, b) => order(keys.get(a), keys.get(b), sign))));
      status.textContent = next === "none" ? "As it was." : `Sorted by ${button.textContent.trim()}, ${next}.`;
    });
  });
}
