// Tree pages: branches that are left out come in place, and the map leads to the steps shown.
"use strict";
(() => {
  const fetched = async (address) => {
    const answer = await fetch(address, { redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  const fill = async (link) => {
    const place = link.closest("li");
    place.setAttribute("aria-busy", "true");
    try {
      const page = await fetched(link.href);
      const list = page.querySelector("#grove > .grove");
      if (!list) throw new Error("nothing came");
      const items = [...document.importNode(list, true).children];
      place.replaceWith(...items);
      const first = items[0]?.querySelector("summary, a") || items[0];
      if (first && !first.matches("summary, a")) first.tabIndex = -1;
      first?.focus({ preventScroll: true });
    } catch {
      place.removeAttribute("aria-busy");
      location.assign(link.href);
    }
  };

  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const more = event.target.closest("a.more");
    if (more) {
      event.preventDefault();
      fill(more);
      return;
    }
    const box = event.target.closest("a[data-node]");
    const step = box && document.getElementById(`n${box.dataset.node}`);
    if (step) {
      event.preventDefault();
      show(step);
    }
  });

  const show = (step) => {
    for (let fold = step.closest("details"); fold; fold = fold.parentElement.closest("details")) {
      fold.open = true;
    }
    step.scrollIntoView({ block: "center" });
    document.querySelectorAll(".step.here").forEach((one) => one.classList.remove("here"));
    step.classList.add("here");
    if (step.matches("summary")) step.focus({ preventScroll: true });
  };

  // All folds at once: the buttons are made here, since without a script they could do nothing.
  const bar = document.querySelector("[data-folds]");
  if (bar) {
    for (const [text, open] of [["Open all", true], ["Close all", false]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.addEventListener("click", () => {
        document.querySelectorAll("#grove details").forEach((fold) => { fold.open = open; });
      });
      bar.append(button);
    }
  }

  // The select acts at once; its button stays for readers without a script.
  const chooser = document.querySelector("form.reading select");
  chooser?.addEventListener("change", () => chooser.form.requestSubmit());
})();
