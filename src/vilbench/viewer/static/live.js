// Follows a run: asks for this page again and takes the regions marked with data-live from it.
"use strict";
(() => {
  const EVERY = 2000, SLOWEST = 30000;
  let wait = EVERY, state = "", timer = 0, asking = false;

  const regions = () => [...document.querySelectorAll("[data-live][id]")];
  const wanted = () => regions().some((one) => one.dataset.live === "on");
  const tell = (text) => {
    for (const one of document.querySelectorAll("[data-live-state]")) {
      if (one.textContent !== text) one.textContent = text;
    }
  };

  // What the reader is doing inside a region stays: focus, open folds; a selection is waited for.
  const selected = (region) => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && region.contains(selection.anchorNode);
  };
  const handle = (element) =>
    element.id ? `#${CSS.escape(element.id)}`
      : element.hasAttribute("href") ? `[href="${CSS.escape(element.getAttribute("href"))}"]` : "";

  const swap = (region, fresh) => {
    const active = region.contains(document.activeElement) ? handle(document.activeElement) : "";
    const open = [...region.querySelectorAll("details[id]")].map((one) => [one.id, one.open]);
    const scrolled = [...region.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    region.replaceChildren(...document.importNode(fresh, true).childNodes);
    region.dataset.live = fresh.dataset.live;
    for (const [id, was] of open) {
      const fold = document.getElementById(id);
      if (fold) fold.open = was;
    }
    region.querySelectorAll(".scroll").forEach((one, i) => { one.scrollLeft = scrolled[i] || 0; });
    if (active) region.querySelector(active)?.focus({ preventScroll: true });
  };

  const take = (text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    let changed = false, held = false;
    for (const region of regions()) {
      const fresh = page.getElementById(region.id);
      if (!fresh || fresh.dataset.live === undefined) continue;
      if (fresh.innerHTML === region.innerHTML && fresh.dataset.live === region.dataset.live) continue;
      if (selected(region)) { held = true; continue; }
      swap(region, fresh);
      changed = true;
    }
    return { changed, held };
  };

  const ask = async () => {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const headers = state ? { "If-None-Match": state } : {};
      const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "error" });
      if (answer.status === 200) {
        const { changed, held } = take(await answer.text());
        state = held ? "" : answer.headers.get("etag") || "";
        wait = changed ? EVERY : Math.min(wait * 1.5, SLOWEST);
        tell("");
      } else if (answer.status === 304) {
        wait = Math.min(wait * 1.5, SLOWEST);
        tell("");
      } else {
        throw new Error(String(answer.status));
      }
    } catch {
      wait = Math.min(wait * 2, SLOWEST);
      tell("The viewer does not answer; this page shows what it was.");
    } finally {
      asking = false;
      plan();
    }
  };

  const plan = () => {
    clearTimeout(timer);
    if (wanted() && !document.hidden) timer = setTimeout(ask, wait);
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && wanted()) { wait = EVERY; ask(); }
  });
  plan();
})();
