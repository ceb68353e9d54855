// The console in a real browser: sign-in, triage by keys, hostile events, in two colour schemes, at three widths, and
// without JavaScript. Every page is looked at by axe; every error of the page counts, those of its policy apart.
// BASE: address of the console; TOKEN: of somebody who may edit in the namespace of the project shop/shop; SHOTS: folder for
// screenshots. The last line sums up.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { BASE, TOKEN, SHOTS, CHROMIUM = "/usr/bin/chromium" } = process.env;
const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const LIST = `${BASE}shop/shop/issues`;

let pages = 0;
let passed = 0;
const findings = [];
const violations = [];
const failures = [];

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });

// Looks at the page as it is now.
async function look(page, name) {
  pages += 1;
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
  // Through the debugger: the page's policy lets no script in.
  await page.evaluate(`${axe};0`);
  const found = await page.evaluate(() =>
    axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }).then((result) =>
      result.violations.map((violation) => `${violation.id} at ${violation.nodes.map((node) => node.target.join(" ")).slice(0, 3)}`),
    ),
  );
  findings.push(...found.map((text) => `${name}: ${text}`));
  const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check(`${name} needs no sideways scrolling`, width[0] <= width[1], width.join(" of "));
}

function check(what, holds, seen = "") {
  if (holds) passed += 1;
  else failures.push(`${what} ${seen}`);
}

async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.on("console", (message) => {
    const text = message.text();
    // Of a page that is asked for and is not there, a token that is refused, and a query that means nothing.
    if (message.type() !== "error" || /status of 40[014]/.test(text)) return;
    (/Content Security Policy|Trusted ?Types|TrustedHTML/i.test(text) ? violations : failures).push(text);
  });
  page.on("pageerror", (error) => failures.push(`a script failed: ${error}`));
  page.on("dialog", (dialog) => {
    failures.push(`an event ran a script: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => check("every request goes to the console", request.url().startsWith(BASE), request.url()));
  return page;
}

async function signIn(page, address = LIST) {
  await page.goto(address);
  await page.fill("#token", TOKEN);
  await page.keyboard.press("Enter");
  await page.waitForURL(address);
}

for (const scheme of ["light", "dark"]) {
  const page = await open({ colorScheme: scheme });
  await page.goto(LIST);
  await look(page, `sign-in-${scheme}`);
  await page.fill("#token", "not.a.token");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#refused");
  await look(page, `refused-${scheme}`);
  await signIn(page);
  await look(page, `list-${scheme}`);
  const row = await page.locator("table.issues tbody tr").first().boundingBox();
  const fit = Math.floor((800 - row.y) / row.height);
  check("twelve rows fit on the first screen", fit >= 12, `${fit} fit: the first at ${row.y}, ${row.height} high`);
  check("a row is at most 52 px high", row.height <= 52, row.height);

  // From the link of an alert to resolved, by keys alone.
  await page.goto(`${LIST}/1`);
  await look(page, `details-${scheme}`);
  const failing = await page.locator(".failing").first().boundingBox();
  check("the failing line is on the first screen", failing && failing.y + failing.height <= 800, failing?.y);
  await page.locator("summary", { hasText: "Resolve in a release" }).click();
  await look(page, `details-menu-${scheme}`);
  await page.keyboard.press("Escape");
  check("Escape closes a menu", (await page.locator("details.menu[open]").count()) === 0);
  await page.keyboard.press("e");
  await page.waitForURL("**done=*");
  await look(page, `resolved-${scheme}`);
  check("one key resolves", (await page.locator(".status-resolved").count()) === 1);
  await page.keyboard.press("z");
  await page.waitForURL(`${LIST}/1`);
  check("one key takes it back", (await page.locator(".status-unresolved").count()) === 1);

  const began = performance.now();
  await page.goto(`${LIST}/1`);
  await page.keyboard.press("e");
  await page.waitForURL("**done=*");
  console.log(`from the link of an alert to resolved: 1 key, ${((performance.now() - began) / 1000).toFixed(2)} s`);
  await page.keyboard.press("z");
  await page.waitForURL(`${LIST}/1`);

  // Several of a list.
  await page.goto(LIST);
  const before = await page.locator("table.issues tbody tr").count();
  for (const key of ["j", "x", "j", "x", "i"]) await page.keyboard.press(key);
  await page.waitForURL("**done=*");
  check("two are ignored", (await page.locator("table.issues tbody tr").count()) === before - 2 || before > 50);
  await look(page, `ignored-${scheme}`);
  await page.keyboard.press("z");
  await page.waitForURL(LIST);
  check("both are back", (await page.locator("table.issues tbody tr").count()) === before);

  // The keys, and the switch that turns them off.
  await page.goto(`${LIST}/1`);
  await page.keyboard.press("g");
  await page.keyboard.press("l");
  await page.waitForURL(`${LIST}?*`);
  await page.keyboard.press("?");
  await page.waitForURL("**/-/help");
  await look(page, `help-${scheme}`);
  await page.locator("button", { hasText: "Switch them off" }).click();
  await page.waitForSelector("text=switched off");
  await page.goto(`${LIST}/1`);
  await page.keyboard.press("e");
  await page.keyboard.press("?");
  check("no key does anything once they are off", page.url() === `${LIST}/1`, page.url());
  await page.goto(`${BASE}-/help`);
  await page.locator("button", { hasText: "Switch them on" }).click();
  await page.waitForSelector("text=Switch them off");

  await page.goto(`${LIST}?status=resolved`);
  await look(page, `empty-${scheme}`);
  await page.goto(`${LIST}?query=a+OR+b`);
  await look(page, `mistake-${scheme}`);
  check("the query is kept", (await page.inputValue("#query")) === "a OR b");
  // The last term of a query is completed.
  await page.goto(LIST);
  await page.locator("#query").press("End");
  await page.locator("#query").pressSequentially(" lev");
  const options = page.locator("#suggestions [role=option]");
  await page.waitForSelector("#suggestions [role=option]");
  check("keys are proposed behind what is typed", (await options.allInnerTexts()).join() === "level:", await options.allInnerTexts());
  await page.keyboard.press("Tab");
  await page.waitForSelector("#suggestions:has-text('fatal')");
  check("Tab takes the key, and its values come", (await page.inputValue("#query")) === "is:unresolved level:");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await look(page, `completion-${scheme}`);
  const active = await page.locator("#query").getAttribute("aria-activedescendant");
  check("the marked option is the field's", (await page.locator(`#${active}`).getAttribute("aria-selected")) === "true");
  await page.keyboard.press("Enter");
  check("Enter takes a value and sends nothing", (await page.inputValue("#query")) === "is:unresolved level:error ", page.url());
  check("the page is the same", page.url() === LIST, page.url());
  await page.keyboard.press("ArrowDown");
  await page.waitForSelector("#suggestions [role=option]");
  await page.keyboard.press("Escape");
  check("Escape closes", await page.locator("#suggestions").isHidden());
  check("the field keeps the focus", await page.evaluate(() => document.activeElement.id === "query"));
  await page.goto(LIST);
  const moment = page.locator("time[title]").first();
  await page.keyboard.press("t");
  check("t shows exact times", (await moment.innerText()).endsWith("UTC"), await moment.innerText());
  await page.keyboard.press("t");
  check("and back", !(await moment.innerText()).endsWith("UTC"), await moment.innerText());
  await page.goto(`${LIST}?query=&narrow=yes`);
  await look(page, `narrow-${scheme}`);
  await page.keyboard.press("/");
  await page.keyboard.type("zzzz");
  await page.keyboard.press("Enter");
  await page.waitForURL("**query=*zzzz*");
  await look(page, `no-match-${scheme}`);
  await page.goto(`${BASE}web/none/issues`);
  await look(page, `not-found-${scheme}`);
  for (const part of ["keys", "health", "setup", "releases", "issues/1/events"]) {
    await page.goto(`${BASE}shop/shop/${part}`);
    await look(page, `${part.replaceAll("/", "-")}-${scheme}`);
  }
  await page.goto(`${BASE}shop/shop/releases`);
  await page.locator("table.releases th a").first().click();
  await page.waitForURL("**/releases/*");
  await look(page, `release-${scheme}`);
  await page.goto(`${BASE}-/go?q=SHOP-999999`);
  await look(page, `go-${scheme}`);
  await page.goto(BASE);
  await look(page, `projects-${scheme}`);
  for (const [width, height] of [[320, 640], [640, 400]]) {
    await page.setViewportSize({ width, height });
    await page.goto(LIST);
    await look(page, `list-${width}-${scheme}`);
    await page.goto(`${LIST}/1`);
    await look(page, `details-${width}-${scheme}`);
  }
  await page.context().close();
}

// Every error of the project, hostile ones among them.
{
  const page = await open();
  await signIn(page);
  const numbers = await page.locator("table.issues tbody tr").evaluateAll((rows) => rows.map((row) => row.id.slice(2)));
  for (const number of numbers.slice(0, 20)) {
    await page.goto(`${LIST}/${number}`);
    const markup = await page.evaluate(() => document.querySelectorAll("[style], iframe, object, embed, img, base").length);
    check(`error ${number} brings no markup of its own`, markup === 0, markup);
    await look(page, `error-${number}`);
  }
  // Signing out ends the session, and Back shows nothing.
  await page.locator("button", { hasText: "Sign out" }).click();
  await page.waitForURL("**/-/login");
  await page.goBack();
  check("Back shows nothing after signing out", page.url().includes("-/login"), page.url());
  await page.context().close();
}

// What one may not see is refused as what there is not: by the same words, in the same time, which is printed.
{
  const page = await open();
  await signIn(page);
  const took = { ledger: [], lodger: [] };
  const words = new Set();
  for (let turn = 0; turn < 200; turn += 1) {
    for (const name of turn % 2 ? ["ledger", "lodger"] : ["lodger", "ledger"]) {
      const began = performance.now();
      const answer = await page.request.get(`${BASE}other/${name}/issues/1`);
      const text = await answer.text();
      took[name].push(performance.now() - began);
      words.add(`${answer.status()} ${text.replaceAll(name, "NAME")}`);
    }
  }
  check("refusals of what is hidden and what is absent read the same", words.size === 1, words.size);
  for (const [name, times] of Object.entries(took)) {
    const at = (share) => times.toSorted((one, other) => one - other)[Math.floor(times.length * share)].toFixed(2);
    console.log(`refusals of ${name === "ledger" ? "what is hidden" : "what is absent"}: ${times.length}, p25 ${at(0.25)} ms, p50 ${at(0.5)} ms, p95 ${at(0.95)} ms`);
  }
  await page.context().close();
}

// The same without JavaScript.
{
  const page = await open({ javaScriptEnabled: false });
  await signIn(page, `${LIST}/1`);
  await page.locator("button", { hasText: /^Resolve$/ }).first().click();
  await page.waitForURL("**done=*");
  check("resolved without JavaScript", (await page.locator(".status-resolved").count()) === 1);
  await page.locator(".done button", { hasText: "Undo" }).click();
  await page.waitForURL(`${LIST}/1`);
  check("undone without JavaScript", (await page.locator(".status-unresolved").count()) === 1);
  await page.context().close();
}

await browser.close();
for (const text of [...findings, ...violations, ...failures]) console.log(`- ${text}`);
console.log(
  `pages: ${pages}, axe findings: ${findings.length}, CSP violations: ${violations.length}, ${passed} passed, ${failures.length} failed`,
);
process.exit(findings.length + violations.length + failures.length ? 1 : 0);
