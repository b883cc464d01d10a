// Keys: j and k, arrows, / and u. Everything here is also a link.
"use strict";
(() => {
  const go = (rel) => {
    const link = document.querySelector(`link[rel="${rel}"], a[rel="${rel}"]`);
    if (link) location.assign(link.href);
    return Boolean(link);
  };

  // Rows of a list: the link of a row takes the focus.
  const rows = () => [...document.querySelectorAll("tr[data-row] th a")].filter((a) => a.pathname);
  const step = (by) => {
    const all = rows();
    const at = all.indexOf(document.activeElement);
    const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
    if (next) {
      next.focus({ preventScroll: true });
      next.closest("tr").scrollIntoView({ block: "nearest" });
    }
    return Boolean(next);
  };

  const isList = () => Boolean(document.querySelector("table.problems, table.runs, table.trees"));
  const search = () => {
    const field = document.querySelector('input[type="search"]');
    field?.focus();
    field?.select();
    return Boolean(field);
  };

  const keys = {
    j: () => (isList() ? step(1) : go("next")),
    k: () => (isList() ? step(-1) : go("prev")),
    ArrowRight: () => go("next"),
    ArrowLeft: () => go("prev"),
    u: () => go("up"),
    "/": search,
  };

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const inside = event.target.closest?.("input, select, textarea, summary, [contenteditable]");
    if (inside) {
      if (event.key === "Escape") inside.blur();
      return;
    }
    // Arrows scroll what can be scrolled sideways.
    if (event.key.startsWith("Arrow") && event.target.closest?.("[tabindex]")) return;
    if (keys[event.key]?.()) event.preventDefault();
  });

  // A click anywhere on a row follows its link; a selection does not.
  document.addEventListener("click", (event) => {
    const row = event.target.closest?.("table:is(.problems, .runs, .trees) tr[data-row]");
    if (!row || event.target.closest("a, input, label, summary")) return;
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (!document.getSelection()?.isCollapsed) return;
    row.querySelector("th a")?.click();
  });

  // What a form leaves open is not spelled in the address.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "get") return;
    for (const field of form.elements) {
      if (field.name && field.value === "") field.disabled = true;
    }
    setTimeout(() => {
      for (const field of form.elements) field.disabled = false;
    });
  });

  // A choice in a list of filters is followed at once.
  document.addEventListener("change", (event) => {
    const form = event.target.closest?.("form.filters, .overview form");
    if (form && event.target.matches("select") && event.target.name !== "by") form.requestSubmit();
  });
})();
