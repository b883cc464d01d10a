"""What is asked of a page so that everybody can read it: structure, names, contrast."""

from __future__ import annotations

STRUCTURE = """() => {
  const found = [];
  const one = (selector) => document.querySelectorAll(selector).length === 1;
  if (!document.documentElement.lang) found.push("no language");
  if (!one("h1")) found.push("not one heading of the first level");
  if (!one("main")) found.push("not one main part");
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    const now = Number(heading.localName[1]);
    if (now > level + 1) found.push(`a level is skipped before ${heading.textContent}`);
    level = now;
    if (!heading.textContent.trim()) found.push("an empty heading");
  }
  const ids = [...document.querySelectorAll("[id]")].map((some) => some.id);
  for (const id of new Set(ids.filter((some, at) => ids.indexOf(some) !== at))) {
    found.push(`two of id ${id}`);
  }
  for (const image of document.querySelectorAll("img")) {
    if (!image.hasAttribute("alt")) found.push("an image without a text");
  }
  const named = (some) => (some.getAttribute("aria-label") || some.textContent
    || some.querySelector("img[alt]")?.alt || "").trim();
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    const label = [...(field.labels || [])].some((some) => some.textContent.trim());
    if (!label && !field.getAttribute("aria-label")) found.push(`no label: ${field.outerHTML}`);
  }
  for (const link of document.querySelectorAll("a[href], button, summary")) {
    if (link.closest("[aria-hidden=true]")) continue;
    if (!named(link)) found.push(`no name: ${link.outerHTML}`);
  }
  for (const cell of document.querySelectorAll("th")) {
    if (!cell.scope) found.push(`a head without a scope: ${cell.outerHTML}`);
  }
  for (const table of document.querySelectorAll("table")) {
    if (!table.caption?.textContent.trim()) found.push(`no caption: ${table.className}`);
  }
  for (const figure of document.querySelectorAll("svg[role=img]")) {
    const told = document.getElementById(figure.getAttribute("aria-labelledby"))
      || figure.querySelector(":scope > title");
    if (!told?.textContent.trim()) found.push("a figure that tells nothing");
  }
  for (const name of ["aria-labelledby", "aria-describedby"]) {
    for (const some of document.querySelectorAll(`[${name}]`)) {
      if (!document.getElementById(some.getAttribute(name))) found.push(`${name} leads nowhere`);
    }
  }
  for (const region of document.querySelectorAll(".scroll")) {
    const wide = region.scrollWidth > region.clientWidth + 1;
    const inside = region.querySelector("a[href], button, input, select, summary");
    if (wide && region.tabIndex < 0 && !inside) found.push("a table that no key scrolls");
  }
  return found;
}"""
"""Findings about headings, names, labels and heads of tables."""

CONTRAST = """() => {
  const numbers = (text) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const known = new Map();
  const colour = (text) => {
    if (!known.has(text)) known.set(text, numbers(text));
    return known.get(text);
  };
  const over = (top, below) => {
    const mixed = [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
    return [...mixed, 1];
  };
  const ground = (element) => {
    const layers = [];
    for (let here = element; here; here = here.parentElement) {
      layers.push(colour(getComputedStyle(here).backgroundColor));
    }
    const paper = colour(getComputedStyle(document.body).backgroundColor);
    return layers.reverse().reduce((below, top) => over(top, below), paper);
  };
  const light = ([r, g, b]) => {
    const part = (x) => (x / 255 <= 0.04045 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const found = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!/[\\p{L}\\p{N}]/u.test(texts.currentNode.textContent)) continue;
    if (!element.checkVisibility()) continue;
    if (element.closest(".hidden, .skip, svg, [aria-hidden=true], option, script")) continue;
    const style = getComputedStyle(element);
    const below = ground(element);
    let above = colour(style.color);
    let opacity = 1;
    for (let here = element; here; here = here.parentElement) {
      opacity *= Number(getComputedStyle(here).opacity);
    }
    above = over([above[0], above[1], above[2], above[3] * opacity], below);
    const [dark, bright] = [light(above), light(below)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5) - 0.01) {
      const path = `${element.localName}.${element.className}`;
      found.add(`${ratio.toFixed(2)} ${path}: ${element.textContent.trim().slice(0, 30)}`);
    }
  }
  return [...found];
}"""
"""Texts whose contrast is below that of WCAG 2, level AA."""
