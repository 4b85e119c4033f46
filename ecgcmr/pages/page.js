// What makes a page handier where scripts run: tables that sort and filter, a switch between dark and light.
"use strict";
(() => {
  const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const start = /^\s*[<>]?\s*([+\-\u2212]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[+\-]?\d+)?)/i;

  // The first number of a cell, such as 0.412 of "0.412 (0.380 to 0.444)"; null where it begins with none.
  const number = (text) => {
    const found = start.exec(text);
    return found ? Number(found[1].replaceAll(",", "").replace("\u2212", "-")) : null;
  };

  const order = (rows, column, falling) => {
    const keyed = rows.map((row) => {
      const text = row.cells[column].textContent.trim();
      return { row, text, value: number(text), empty: text === "" || text === "-" };
    });
    const isNumeric = keyed.every((item) => item.empty || item.value !== null);
    const sign = falling ? -1 : 1;
    keyed.sort((one, two) => {
      if (one.empty || two.empty) return one.empty - two.empty; // what is unknown stays at the end
      return sign * (isNumeric ? one.value - two.value : words.compare(one.text, two.text));
    });
    return keyed.map((item) => item.row);
  };

  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        // Numbers are looked at from the best or largest first, names from A.
        const falling = now ? now === "ascending" : head.classList.contains("n");
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        body.append(...order([...body.rows], column, falling));
      });
    });
  };

  const filtered = (table) => {
    const tools = document.createElement("div");
    tools.className = "tools";
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "search";
    label.append("Rows that hold ", input);
    const count = document.createElement("span");
    count.setAttribute("role", "status");
    tools.append(label, count);
    table.parentElement.before(tools);
    let waiting = 0;
    input.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        let shown = 0;
        for (const row of table.tBodies[0].rows) {
          const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
          row.hidden = !wanted.every((word) => text.includes(word));
          shown += !row.hidden;
        }
        count.textContent = wanted.length ? `${shown.toLocaleString("en")} rows` : "";
      }, 150);
    });
  };

  const themes = () => {
    const label = document.createElement("label");
    label.className = "theme";
    const select = document.createElement("select");
    for (const [value, title] of [["", "as the device"], ["light", "light"], ["dark", "dark"]]) {
      select.append(new Option(title, value));
    }
    select.addEventListener("change", () => {
      if (select.value) document.documentElement.dataset.theme = select.value;
      else delete document.documentElement.dataset.theme;
    });
    label.append("Colours: ", select);
    document.querySelector("nav").append(label);
  };

  // A link into something folded, and paper, where nothing can be unfolded.
  const unfold = (item) => {
    for (let up = item; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
  };
  const follow = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target) unfold(target);
  };
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details:not([open])")) {
      if (!folded.querySelector("pre") && folded.querySelectorAll("tr").length < 120) folded.open = true;
    }
  });

  themes();
  for (const table of document.querySelectorAll("table.sortable")) {
    sortable(table);
    if (table.hasAttribute("data-long")) filtered(table);
  }
  follow();
})();
