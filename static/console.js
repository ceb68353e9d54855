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

// The search field is a combobox: what may come next is asked for where the caret is, and nothing is sent by itself.
const query = document.querySelector("[data-suggest]");
if (query) complete(query);

function complete(field) {
  const list = document.createElement("ul");
  list.id = "suggestions";
  list.hidden = true;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "What may come next");
  field.after(list);
  const spoken = document.createElement("span");
  spoken.className = "hidden";
  spoken.setAttribute("role", "status");
  list.after(spoken);
  const initial = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id };
  for (const [name, value] of Object.entries(initial)) field.setAttribute(name, value);
  let waiting = 0;
  let asked = 0;
  let from = 0;

  const marked = () => list.querySelector('[aria-selected="true"]');
  function mark(option) {
    marked()?.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) field.setAttribute("aria-activedescendant", option.id);
    else field.removeAttribute("aria-activedescendant");
  }
  function close() {
    clearTimeout(waiting);
    asked += 1;
    list.hidden = true;
    spoken.textContent = "";
    field.setAttribute("aria-expanded", "false");
    mark(null);
  }
  function option({ text, label, count }, index) {
    const item = document.createElement("li");
    item.id = `suggestion-${index}`;
    item.dataset.text = text;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    item.append(label);
    if (count) {
      const number = document.createElement("span");
      number.className = "count";
      number.textContent = count;
      item.append(" ", number);
    }
    return item;
  }
  async function ask() {
    const turn = (asked += 1);
    const before = field.value.slice(0, field.selectionStart);
    const address = `${field.dataset.suggest}?${new URLSearchParams({ before })}`;
    const answer = await fetch(address).catch(() => null);
    const found = answer?.ok ? await answer.json().catch(() => null) : null;
    // Somebody has typed on, or left.
    if (turn !== asked || document.activeElement !== field) return;
    if (!found?.options.length) return close();
    from = found.from;
    list.replaceChildren(...found.options.map(option));
    list.hidden = false;
    mark(null);
    field.setAttribute("aria-expanded", "true");
    spoken.textContent = `${found.options.length} to choose from`;
  }
  function later() {
    clearTimeout(waiting);
    waiting = setTimeout(ask, 150);
  }
  function take(chosen) {
    field.setRangeText(chosen.dataset.text, from, field.selectionStart, "end");
    close();
    // A key wants a value.
    if (chosen.dataset.text.endsWith(":")) ask();
  }

  field.addEventListener("input", later);
  field.addEventListener("blur", close);
  // The field keeps the focus.
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const chosen = event.target.closest("li");
    if (chosen) take(chosen);
  });
  field.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const down = event.key === "ArrowDown";
    if (list.hidden) {
      if (down) ask();
      return;
    }
    const all = Array.from(list.children);
    const chosen = marked();
    if (down) mark(all[(all.indexOf(chosen) + 1) % all.length]);
    else if (event.key === "ArrowUp") mark(all.at(chosen ? all.indexOf(chosen) - 1 : -1));
    else if (event.key === "Escape") close();
    else if (event.key === "Tab" && !event.shiftKey) take(chosen ?? all[0]);
    else if (event.key === "Enter" && chosen) take(chosen);
    else return;
    event.preventDefault();
  });
}

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
