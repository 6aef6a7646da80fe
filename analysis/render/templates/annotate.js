// Keeps the ratings in the page alone and gives them as CSV; nothing is sent anywhere.
const form = document.getElementById("sheet");
const items = [...form.querySelectorAll("fieldset")];
const done = document.getElementById("done");
const rated = () => items.filter((item) => item.querySelector("input:checked")).length;
const say = () => { done.textContent = `${rated()} of ${items.length} rated.`; };
const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
form.addEventListener("change", say);
document.getElementById("save").addEventListener("click", () => {
  const rows = [["sheet", "item", "choice", "comment"]];
  for (const item of items) {
    const choice = item.querySelector("input:checked")?.value ?? "";
    rows.push([form.dataset.sheet, item.dataset.item, choice, item.querySelector("textarea").value]);
  }
  const text = rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = `ratings-${form.dataset.sheet}.csv`;
  link.click();
});
say();
