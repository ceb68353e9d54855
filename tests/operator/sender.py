"""Sends events with SENTRY_DSN, byte for byte as an SDK does, and tells what was answered.

  sender.py once          sends one event; prints the status
  sender.py deprecated    sends one with SENTRY_DSN_DEPRECATED, as raven did; prints the status
  sender.py report        sends a report about a policy to SENTRY_SECURITY_ENDPOINT, as a browser does; prints the status
  sender.py stream N      sends N events from 4 threads, each once and, if it was not acknowledged, again with the
                          same event id until it is or 60 s are over; writes the acknowledged ids to /results/acknowledged
"""

import http.client
import json
import os
import sys
import threading
import time
import urllib.parse
import uuid

DSN = urllib.parse.urlsplit(os.environ["SENTRY_DSN"])
PATH = f"/api{DSN.path}/envelope/"
AUTH = f"Sentry sentry_version=7, sentry_client=test/1, sentry_key={DSN.username}"


def envelope(event_id, number):
    event = json.dumps(
        {
            "event_id": event_id,
            "platform": "python",
            "user": {"id": str(number % 10)},
            "exception": {
                "values": [
                    {
                        "type": "ValueError",
                        "value": f"number {number}",
                        "stacktrace": {"frames": [{"function": "work", "module": "sender", "lineno": number}]},
                    }
                ]
            },
        }
    )
    return f'{{"event_id":"{event_id}"}}\n{{"type":"event","length":{len(event)}}}\n{event}\n'.encode()


def post(event_id, number):
    """The status, or 0 when there was no answer."""
    connection = http.client.HTTPConnection(DSN.hostname, DSN.port or 80, timeout=15)
    try:
        connection.request("POST", PATH, envelope(event_id, number), {"X-Sentry-Auth": AUTH})
        response = connection.getresponse()
        body = response.read()
        return response.status if response.status != 200 or event_id in body.decode() else 0
    except OSError:
        return 0
    except http.client.HTTPException:
        return 0
    finally:
        connection.close()


def deprecated():
    dsn = urllib.parse.urlsplit(os.environ["SENTRY_DSN_DEPRECATED"])
    auth = f"Sentry sentry_version=4, sentry_client=raven/5, sentry_key={dsn.username}, sentry_secret={dsn.password}"
    body = json.dumps({"event_id": uuid.uuid4().hex, "message": "deprecated", "level": "error"})
    return send(dsn, f"/api{dsn.path}/store/", body, {"X-Sentry-Auth": auth, "Content-Type": "application/json"})


def report():
    url = urllib.parse.urlsplit(os.environ["SENTRY_SECURITY_ENDPOINT"])
    report = {"document-uri": "https://shop.example/", "violated-directive": "img-src", "blocked-uri": "https://a.example"}
    body = json.dumps({"csp-report": report})
    return send(url, f"{url.path}?{url.query}", body, {"Content-Type": "application/csp-report"})


def send(url, target, body, headers):
    connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=15)
    connection.request("POST", target, body, headers)
    return connection.getresponse().status


def stream(count):
    acknowledged, lock, numbers = [], threading.Lock(), iter(range(count))

    def work():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            event_id, deadline = uuid.uuid4().hex, time.monotonic() + 60
            while time.monotonic() < deadline:
                if post(event_id, number) == 200:
                    with lock:
                        acknowledged.append(event_id)
                    break
                time.sleep(0.2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open("/results/acknowledged", "w") as file:
        file.write("\n".join(acknowledged))
    print(len(acknowledged))


if sys.argv[1] == "once":
    print(post(uuid.uuid4().hex, 0))
elif sys.argv[1] == "deprecated":
    print(deprecated())
elif sys.argv[1] == "report":
    print(report())
else:
    stream(int(sys.argv[2]))
