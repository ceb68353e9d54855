// Keys for triage. Every one presses a button or follows a link of the page: without this file nothing is missing.
"use strict";

const rows = () => Array.from(document.querySelectorAll("table.issues tbody tr"));
const here = () => document.querySelector("tr.here");

// Marks a row and brings its link into view and focus.
function move(step) {
  const all = rows();
  const next = all[Math.min(all.length - 1, Math.max(0, all.indexOf(here()) + step))];
  if (!next) return;
  here()?.classList.remove("here");
  next.classList.add("here");
  next.querySelector("a.row-link")?.focus();
}

// What is ticked is meant; with nothing ticked the marked row is.
function press(key) {
  const button = document.querySelector(`[data-key="${key}"]`);
  if (!button) return;
  const ticks = Array.from(document.querySelectorAll('input[name="issue"]'));
  if (button.closest("form.bulk") && !ticks.some((tick) => tick.checked)) {
    const tick = here()?.querySelector('input[name="issue"]');
    if (!tick) return;
    tick.checked = true;
  }
  button.click();
}

const keys = {
  j: () => move(1),
  k: () => move(-1),
  o: () => here()?.querySelector("a.row-link")?.click(),
  x: () => here()?.querySelector('input[name="issue"]')?.click(),
  e: () => press("e"),
  i: () => press("i"),
  u: () => press("u"),
  a: () => press("a"),
  z: () => press("z"),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]")) return;
  const act = keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// A menu closes when one leaves it.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && event.target.closest("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
