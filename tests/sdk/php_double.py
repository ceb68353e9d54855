"""Stands for the PHP SDK, which is in no registry that the tests can reach: sends what it sends, byte for byte.

  php_double.py 3.18    POST /store/, one JSON object, gzip (enable_compression is on)
  php_double.py 4.29    POST /envelope/, gzip, headers in curl's order

Learnt from the SDK's public sources: the order of the members, escaped slashes, Unicode as it is, floats as timestamps,
members of the user that are null in version 4 alone, no length in the item header. Each request has a connection of
its own and is answered before the next one is sent, as in a PHP request.
"""

import gzip
import json
import os
import socket
import sys
import time
import urllib.parse
import uuid

DSN = urllib.parse.urlsplit(os.environ["SENTRY_DSN"])
PROJECT = DSN.path.strip("/")
FILE = "/var/www/shop/main.php"
FRAMES = [
    {
        "filename": "/main.php",
        "lineno": 38,
        "in_app": True,
        "abs_path": FILE,
        "pre_context": ["// The SDK sends each event before it goes on.", "\\Sentry\\captureMessage('Hello from PHP');", "try {"],
        "context_line": "    averagePrice([]);",
        "post_context": ["} catch (InvalidArgumentException $exception) {", "    \\Sentry\\captureException($exception);", "}"],
    },
    {
        "filename": "/main.php",
        "lineno": 25,
        "in_app": True,
        "abs_path": FILE,
        "function": "averagePrice",
        "raw_function": "averagePrice",
        "pre_context": ["function averagePrice(array $cart): int", "{", "    if ($cart === []) {"],
        "context_line": "        throw new InvalidArgumentException('the cart is empty');",
        "post_context": ["    }", "", "    return intdiv(array_sum($cart), count($cart));"],
        "vars": {"cart": []},
    },
]


def encode(value):
    """As the SDK's json_encode: no spaces, escaped slashes, Unicode unescaped."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("/", "\\/")


def event(version, what):
    """The members that both versions have, in the serializer's order."""
    runtime = {"name": "php", "version": "8.2.0"}
    if version >= (4,):
        runtime = {"name": "php", "sapi": "fpm-fcgi", "version": "8.2.0"}
    system = {"name": "Linux", "version": "6.1.0", "build": "#1 SMP PREEMPT_DYNAMIC", "kernel_version": "Linux web 6.1.0 x86_64"}
    user = {"id": "42", "username": "ada"}
    if version >= (4,):
        user = {"id": "42", "username": "ada", "email": None, "ip_address": None, "segment": None}
    return {
        "timestamp": round(time.time(), 6),
        "platform": "php",
        "sdk": sdk(version),
        "level": "info" if "message" in what else "error",
        **({} if version >= (4,) else {"logger": "php"}),
        "server_name": "web-1",
        "release": "shop@1.0.0",
        "environment": "production",
        "modules": {"sentry/sentry": ".".join(map(str, version))},
        "user": user,
        "contexts": {"os": system, "runtime": runtime},
        **what,
    }


def sdk(version):
    return {"name": "sentry.php", "version": ".".join(map(str, version))}


def request(version, event_id, what):
    """Path, content type and body before it is compressed."""
    if version < (4,):
        return "store", "application/json", encode({"event_id": event_id} | event(version, what))
    header = {
        "event_id": event_id,
        "sent_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "dsn": os.environ["SENTRY_DSN"],
        "sdk": sdk(version),
    }
    item = {"type": "event", "content_type": "application/json"}
    return "envelope", "application/x-sentry-envelope", "\n".join(map(encode, (header, item, event(version, what))))


def post(version, what):
    event_id = uuid.uuid4().hex
    endpoint, content_type, text = request(version, event_id, what)
    body = gzip.compress(text.encode())
    client = "sentry.php/" + ".".join(map(str, version))
    head = [
        f"POST {DSN.path.rsplit('/', 1)[0]}/api/{PROJECT}/{endpoint}/ HTTP/1.1",
        f"Host: {DSN.hostname}:{DSN.port}",
        f"User-Agent: {client}",
        "Accept: */*",
        "Accept-Encoding: deflate, gzip, br, zstd",
        f"Content-Type: {content_type}",
        f"X-Sentry-Auth: Sentry sentry_version=7, sentry_client={client}, sentry_key={DSN.username}",
        "Content-Encoding: gzip",
        f"Content-Length: {len(body)}",
    ]
    with socket.create_connection((DSN.hostname, DSN.port), timeout=5) as connection:
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        answer = connection.recv(65536).decode()
    if not answer.startswith("HTTP/1.1 200 ") or event_id not in answer:
        sys.exit(f"not accepted: {answer}")


def main():
    version = {"3.18": (3, 18, 2), "4.29": (4, 29, 0)}[sys.argv[1]]
    post(version, {"message": "Hello from PHP"})
    exception = {
        "type": "InvalidArgumentException",
        "value": "the cart is empty",
        "stacktrace": {"frames": FRAMES},
        "mechanism": {"type": "generic", "handled": True, "data": {"code": 0}},
    }
    post(version, {"exception": {"values": [exception]}})


main()
