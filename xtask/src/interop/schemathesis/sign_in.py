"""Prints a client's id and secret with a colon between, the access token that a person has given it, and the one that
it has in its own name."""

import base64
import hashlib
import json
import secrets
import sys
from urllib.parse import urlencode

import requests

from browser import Browser

setting = json.load(sys.stdin)
issuer, client = setting["issuer"], setting["clients"]["basic"]
verifier = secrets.token_urlsafe(32)
challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
query = {
    "response_type": "code",
    "client_id": client["id"],
    "redirect_uri": client["redirect_uri"],
    "code_challenge": challenge,
    "code_challenge_method": "S256",
    "scope": "openid profile email",
}
page = Browser(issuer).authorize(f"{issuer}/oauth/authorize?{urlencode(query)}", setting["user"])
assert page.left, f"the browser did not come back to the client: {page}"
form = {
    "grant_type": "authorization_code",
    "code": page.query["code"],
    "redirect_uri": client["redirect_uri"],
    "code_verifier": verifier,
}
answer = requests.post(f"{issuer}/oauth/token", data=form, auth=(client["id"], client["secret"]), timeout=10)
assert answer.ok, answer.text
given = answer.json()["access_token"]
form = {"grant_type": "client_credentials", "scope": "program:read program:write"}
answer = requests.post(f"{issuer}/oauth/token", data=form, auth=(client["id"], client["secret"]), timeout=10)
assert answer.ok, answer.text
print(f"{client['id']}:{client['secret']}", given, answer.json()["access_token"])
