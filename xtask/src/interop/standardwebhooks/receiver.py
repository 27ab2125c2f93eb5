"""A receiver by the library on PyPI: it takes what is sent to it, and nothing that was changed on the way."""

import json
import queue
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

setting = json.load(sys.stdin)
received: queue.Queue = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        received.put((body, dict(self.headers.items())))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def call(path: str, body: dict, token: str = "") -> dict:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(setting["url"] + path, json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def next_of(kind: str, *secrets: str) -> dict:
    """The next message, which each of these secrets verifies, and no other body with its signature."""
    body, headers = received.get(timeout=60)
    for secret in secrets:
        message = Webhook(secret).verify(body, headers)
        assert message["type"] == kind, message
    for changed in (body + b" ", body.replace(b"1", b"2")):
        try:
            Webhook(secrets[0]).verify(changed, headers)
        except WebhookVerificationError:
            continue
        raise AssertionError(f"it takes {changed!r}")
    return message


def register(name: str) -> str:
    person = {"username": name, "email": f"{name}@example.com", "password": setting["password"]}
    return call("/api/v1/auth/user", person)["id"]


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
endpoints, token = "/api/v1/webhook-endpoints", setting["token"]
url = f"http://127.0.0.1:{server.server_port}/hooks"
endpoint = call(endpoints, {"url": url, "types": ["participant.created"]}, token)
secret = endpoint["secret"]
assert call(f"{endpoints}/{endpoint['id']}/test", {}, token)["delivered"]
assert next_of("ping", secret)["data"] == {"endpoint_id": endpoint["id"]}
someone = register(f"{setting['name']}1")
assert next_of("participant.created", secret)["data"]["id"] == someone
# Both secrets are good for a day.
new = call(f"{endpoints}/{endpoint['id']}/secret", {}, token)["secret"]
assert new != secret
register(f"{setting['name']}2")
next_of("participant.created", secret, new)
assert received.empty()
