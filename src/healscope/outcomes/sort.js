// Sort a table by the column whose heading is pressed; again for the other way round.
for (const head of document.querySelectorAll("th")) {
  head.firstChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const place = head.cellIndex;
    const body = head.closest("table").tBodies[0];
    const key = (row) => row.cells[place].dataset.key ?? row.cells[place].textContent;
    const by = (a, b) => {
      const [x, y] = [key(a), key(b)];
      const numbers = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
      return numbers ? x - y : x.localeCompare(y, "en", { numeric: true });
    };
    for (const row of [...body.rows].sort((a, b) => (down ? by(b, a) : by(a, b)))) body.append(row);
  });
}
