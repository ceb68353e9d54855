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

// Ticks every row between the last one that was ticked and the marked one.
function range() {
  const all = rows().map((row) => row.querySelector('input[name="issue"]'));
  const end = all.indexOf(here()?.querySelector('input[name="issue"]'));
  const start = all.findLastIndex((tick, index) => tick?.checked && index !== end);
  if (end < 0 || start < 0) return;
  for (const tick of all.slice(Math.min(start, end), Math.max(start, end) + 1)) if (tick) tick.checked = true;
}

// Opens a menu to its field, or goes to a field that is there.
function reach(key) {
  const field = document.querySelector(`[data-field="${key}"]`);
  if (!field) return;
  const menu = field.closest("details");
  if (menu) menu.open = true;
  field.focus();
}

function frames() {
  const all = Array.from(document.querySelectorAll("summary.frame-head"), (head) => head.parentElement);
  const open = all.some((frame) => !frame.open);
  for (const frame of all) frame.open = open;
}

// What is ticked is meant; with nothing ticked the marked row is.
function press(key) {
  const button = document.querySelector(`[data-key="${key}"]`);
  if (!button) return;
  const ticks = Array.from(document.querySelectorAll('input[name="issue"], input[name="all"]'));
  if (button.closest("form.bulk") && !ticks.some((tick) => tick.checked)) {
    const tick = here()?.querySelector('input[name="issue"]');
    if (!tick) return;
    tick.checked = true;
  }
  button.click();
}

// Shows moments as they are, or how long ago they were.
function times() {
  for (const time of document.querySelectorAll("time[title]")) {
    [time.textContent, time.title] = [time.title, time.textContent];
  }
}

// g p goes to the projects, g l to the list: the second key comes within a second and a half.
let began = 0;
const after = { p: "p", l: "l" };

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
  X: range,
  m: () => reach("m"),
  "/": () => reach("/"),
  "[": () => press("["),
  "]": () => press("]"),
  f: frames,
  t: times,
  y: () => navigator.clipboard?.writeText(location.href),
  g: () => (began = performance.now()),
  "?": () => press("?"),
};

const off = () => document.cookie.split("; ").includes("errortracking-keys=off");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]")) return;
  const follows = performance.now() - began < 1500 && after[event.key];
  began = 0;
  const act = follows ? () => press(`g ${follows}`) : keys[event.key];
  if (!act || off()) return;
  event.preventDefault();
  act();
});

// A query is completed at its last word: what stands before it goes along.
const query = document.getElementById("query");
const terms = Array.from(query?.list?.options ?? [], (option) => option.value);
query?.addEventListener("input", () => {
  const before = query.value.slice(0, query.value.lastIndexOf(" ") + 1);
  terms.forEach((term, index) => (query.list.options[index].value = before + term));
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
