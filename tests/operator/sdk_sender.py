"""Sends numbered events by a real SDK until it is told to stop; the SDK alone decides when and how, and repeats nothing.

  sdk_sender.py RATE     RATE events a second, or as many as the SDK sends; the id of event n is the hash of the host, and n

The last event says how many there were, so that a gap shows wherever it is.
"""

import hashlib
import os
import signal
import sys
import time

import sentry_sdk

rate = float(sys.argv[1])
host = hashlib.sha256(os.environ["HOSTNAME"].encode()).hexdigest()[:8]
stopping = False


def stop(*_):
    global stopping
    stopping = True


# The signal of Postgres' image is SIGINT.
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
# The DSN comes from the environment.
sentry_sdk.init(transport_queue_size=1_000, default_integrations=False, send_client_reports=False)


def send(number, marker):
    sentry_sdk.capture_event(
        {
            "event_id": f"{host}{marker:08x}{number:016x}",
            "level": "error",
            "exception": {"values": [{"type": "Rotation", "value": f"by {host}"}]},
        }
    )


number, began = 0, time.monotonic()
while not stopping:
    number += 1
    send(number, 0)
    if number % 20 == 0:
        # What waits in the queue is not sent, and would not be at the end.
        sentry_sdk.flush(timeout=60)
    ahead = began + number / rate - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
send(number, 1)
sentry_sdk.flush(timeout=60)
