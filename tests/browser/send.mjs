// Sends errors to the project of SENTRY_DSN, at INGEST instead of the DSN's own host: some that any shop has, and one with
// markup, bidi marks, control characters and long texts wherever a text can be.
const { INGEST } = process.env;
const dsn = new URL(process.env.SENTRY_DSN);
const hostile = [
  "<script>alert(1)</script><img src=x onerror=alert(2)>",
  '"><svg onload=alert(3)>',
  "javascript:alert(4)",
  "{{7*7}} ${alert(5)} \u202egnp.exe\u202c \u2066x\u2069 \u200b\u061c",
  "a\u0000b\u001b[31mred\u0007\r\nSet-Cookie: a=b",
  "</title></textarea><style>*{display:none}</style>",
].join(" ");
const text = (name) => `${name} ${hostile}`;
const frames = Array.from({ length: 60 }, (_, number) => ({
  function: text(`f${number}`),
  filename: "javascript:alert(1)",
  abs_path: hostile,
  module: hostile,
  lineno: number,
  context_line: hostile,
  pre_context: [hostile],
  post_context: [hostile],
  vars: { [hostile]: hostile },
  in_app: number % 2 === 0,
}));
const worst = {
  platform: "javascript",
  message: text("message") + "x".repeat(200_000),
  transaction: hostile,
  culprit: hostile,
  release: "shop@1.0<b>",
  environment: "prod<b>",
  server_name: hostile,
  logger: hostile,
  tags: { "tag<b>": hostile },
  extra: { [hostile]: hostile.repeat(100) },
  user: { id: hostile, email: hostile, username: hostile },
  request: { url: "javascript:alert(1)", method: hostile, query_string: hostile, data: hostile, headers: { [hostile]: hostile } },
  contexts: { [hostile]: { type: hostile, name: hostile, value: hostile } },
  breadcrumbs: { values: Array.from({ length: 100 }, () => ({ message: hostile, category: hostile, data: { a: hostile } })) },
  exception: { values: Array.from({ length: 5 }, (_, number) => ({ type: text(`Type${number}`), value: hostile, module: hostile, stacktrace: { frames } })) },
  sdk: { name: hostile, version: hostile },
};
const letters = "abcdefghijklmnopqrstuvwxyz";
const usual = Array.from({ length: 14 }, (_, number) => ({
  platform: "python",
  level: number % 5 === 4 ? "warning" : "error",
  environment: "production",
  exception: { values: [{ type: `Problem${letters[number].toUpperCase()}`, value: `the ${letters[number]} of an order is wrong`, stacktrace: { frames: [{ function: `step_${letters[number]}`, filename: "shop.py", lineno: 5, in_app: true, context_line: "raise" }] } }] },
}));
for (const event of [...usual, worst]) {
  const answer = await fetch(`${INGEST}api${dsn.pathname}/store/`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Sentry-Auth": `Sentry sentry_version=7, sentry_key=${dsn.username}` },
    body: JSON.stringify(event),
  });
  if (!answer.ok) throw new Error(`an event was answered with ${answer.status}`);
}
