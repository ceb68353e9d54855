// drive.js BUNDLE: serves a page with BUNDLE in it on a port of its own, opens it in Chromium (CHROMIUM or Debian's)
// with the DSN in SENTRY_DSN, and waits until the SDK has sent what it has.
const fs = require('node:fs');
const http = require('node:http');
const { chromium } = require('playwright-core');

const bundle = fs.readFileSync(process.argv[2]);
const page = `<!doctype html><meta charset="utf-8"><title>Shop</title>
<script>window.SENTRY_DSN = ${JSON.stringify(process.env.SENTRY_DSN)}</script>
<script src="/page.js"></script>`;

const server = http.createServer((request, response) => {
  const isBundle = request.url === '/page.js';
  response.setHeader('Content-Type', isBundle ? 'text/javascript' : 'text/html');
  response.end(isBundle ? bundle : page);
});

async function main() {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    // Chromium's sandbox does not work for root.
    args: process.getuid() === 0 ? ['--no-sandbox'] : [],
  });
  try {
    const tab = await browser.newPage();
    tab.on('console', (message) => console.log(message.text()));
    await tab.goto(`http://127.0.0.1:${server.address().port}/`);
    const sent = await tab.evaluate(() => window.sent);
    // The events are out; a session goes when it pleases, at the latest when the page is left.
    await tab.goto('about:blank');
    await tab.waitForTimeout(500);
    return sent ? 0 : 1;
  } finally {
    await browser.close();
    server.close();
  }
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
