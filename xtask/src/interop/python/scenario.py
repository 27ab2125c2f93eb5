"""What a client must be able to do, and what it must be refused; the same for every library.

A library is a class made of the issuer and a registered client, with
    begin(**parameters)        -> Login: where to send the browser, and what to remember for the way back
    finish(login, url)         -> the tokens for what came back; the ID token's claims, validated, under "claims"
    refresh(token), machine(scope), userinfo(token), introspect(token), revoke(token)
A refusal is an exception with the word of RFC 6749 in `error`.
"""

import base64
import json
import socket
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import requests

from browser import Browser
from check import check, end, same

socket.setdefaulttimeout(10)
REDIRECTS = json.loads((Path(__file__).parent.parent / "redirects.json").read_text())
SCOPE = "openid profile email"
# What the token endpoint answered, as the libraries do not tell all of it.
answers = []


@dataclass
class Login:
    url: str
    state: str
    nonce: str
    verifier: str


def watch(session):
    """Lets us see what a library's own session is answered."""
    session.hooks["response"].append(lambda answer, **_: answers.append(answer))
    return session


@contextmanager
def refused(word):
    try:
        yield
    except Exception as error:
        told = getattr(error, "error", None)
        assert told == word, f"refused, but with {told}: {type(error).__name__}: {error}"
        return
    raise AssertionError(f"nobody said {word}")


def with_parameters(url, **changes):
    """The address with parameters put in another's place; None takes one away."""
    parts = urlsplit(url)
    pairs = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **changes}
    pairs = {name: value for name, value in pairs.items() if value is not None}
    return urlunsplit(parts._replace(query=urlencode(pairs)))


class Scenario:
    def __init__(self, library):
        # On the standard input, for it holds secrets.
        self.setting = json.load(sys.stdin)
        self.library = library
        self.issuer = self.setting["issuer"]
        self.user = self.setting["user"]
        self.clients = {name: library(self.issuer, client) for name, client in self.setting["clients"].items()}
        self.browser = Browser(self.issuer)
        self.metadata = {}

    def registered(self, name):
        return self.setting["clients"][name]

    def callback(self, url, browser=None):
        """Through the pages, to the client; the address holds what the libraries do not look at."""
        page = (browser or self.browser).authorize(url, self.user)
        assert page.left, f"the browser did not come back to the client: {page}"
        same(page.query.get("iss"), self.issuer)
        return page.url

    def tokens(self, name, **parameters):
        login = self.clients[name].begin(scope=SCOPE, **parameters)
        return self.clients[name].finish(login, self.callback(login.url))

    def api(self, token):
        return requests.get(self.setting["api"], headers={"Authorization": f"Bearer {token}"}).status_code

    def dies(self, token):
        end = time.monotonic() + 5
        while self.api(token) != 401:
            assert time.monotonic() < end, "the API takes the access token for 5 seconds more"
            time.sleep(0.05)

    def run(self):
        self.discovery()
        for name in self.clients:
            self.lets_in(name)
        for name in ("basic", "post"):
            self.lets_machines_in(name)
        for name in ("public", "basic"):
            self.refuses_requests(name)
            self.refuses_other_redirects(name)
            self.refuses_codes(name)
            self.refuses_refresh_tokens(name)
        self.refuses_strangers()
        end()

    def discovery(self):
        with check("discovery tells what this run goes through"):
            for path in ("openid-configuration", "oauth-authorization-server"):
                answer = requests.get(f"{self.issuer}/.well-known/{path}")
                same(answer.status_code, 200)
                told = answer.json()
                same(told["issuer"], self.issuer)
                same(told["code_challenge_methods_supported"], ["S256"])
                same(told["authorization_response_iss_parameter_supported"], True)
                assert set(told["grant_types_supported"]) >= {
                    "authorization_code", "refresh_token", "client_credentials"}, told
                assert set(told["token_endpoint_auth_methods_supported"]) >= {
                    "client_secret_basic", "client_secret_post", "none"}, told
                self.metadata = self.metadata or told
            assert set(self.metadata["id_token_signing_alg_values_supported"]) >= {"RS256", "EdDSA"}, self.metadata

    def lets_in(self, name):
        client, registered, tokens = self.clients[name], self.registered(name), None
        with check(f"{name}: log-in, consent and code with PKCE; state, nonce and iss hold"):
            browser = Browser(self.issuer)
            login = client.begin(scope=SCOPE)
            url = self.callback(login.url, browser)
            same(browser.seen, ["log-in", "consent"])
            tokens = client.finish(login, url)
            same(tokens["token_type"].lower(), "bearer")
            assert 0 < tokens["expires_in"] <= 3600, tokens["expires_in"]
            answer = answers[-1]
            assert "no-store" in answer.headers["Cache-Control"], answer.headers
        if not tokens:
            return
        claims = tokens["claims"]
        with check(f"{name}: the ID token is signed with {registered['algorithm']}, and the library validates it"):
            header = tokens["id_token"].split(".")[0]
            header = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
            same(header["alg"], registered["algorithm"])
            same(claims["nonce"], login.nonce)
            assert abs(time.time() - claims["auth_time"]) < 60, claims["auth_time"]
        with check(f"{name}: a nonce, a state that are not ours are noticed"):
            for foreign in ({"nonce": "another"}, {"state": "another"}):
                login = client.begin(scope=SCOPE)
                url = self.callback(login.url)
                try:
                    client.finish(replace(login, **foreign), url)
                except Exception:
                    continue
                raise AssertionError(f"nobody noticed {foreign}")
        with check(f"{name}: userinfo is about the same person"):
            info = client.userinfo(tokens["access_token"])
            same(info["sub"], claims["sub"])
            same(info["email"], self.user["email"])
        with check(f"{name}: the API takes the access token"):
            same(self.api(tokens["access_token"]), 200)
        with check(f"{name}: refreshed twice, and each time with another refresh token"):
            given = [tokens["refresh_token"]]
            for _ in range(2):
                tokens = client.refresh(tokens["refresh_token"])
                given.append(tokens["refresh_token"])
                same(self.api(tokens["access_token"]), 200)
            same(len(set(given)), 3)
        if registered["method"] != "none":
            with check(f"{name}: introspection tells what the token is good for"):
                told = client.introspect(tokens["access_token"])
                same((told["active"], told["client_id"], told["sub"]), (True, registered["id"], claims["sub"]))
                same(set(told["scope"].split()), set(SCOPE.split()))
                same(client.introspect(tokens["refresh_token"])["active"], True)
        with check(f"{name}: what is revoked is dead within 5 seconds"):
            client.revoke(tokens["refresh_token"])
            self.dies(tokens["access_token"])
            with refused("invalid_grant"):
                client.refresh(tokens["refresh_token"])
            if registered["method"] != "none":
                same(client.introspect(tokens["access_token"]), {"active": False})
                same(client.introspect(tokens["refresh_token"]), {"active": False})
        with check(f"{name}: an access token alone can be revoked"):
            tokens = self.tokens(name)
            client.revoke(tokens["access_token"])
            self.dies(tokens["access_token"])
        if registered["redirect_uri"].startswith("https:"):
            with check(f"{name}: who is logged in and has allowed it is asked nothing, and prompt=none works"):
                for parameters in ({}, {"prompt": "none"}):
                    self.tokens(name, **parameters)
                    same(self.browser.seen, [])
        with check(f"{name}: prompt=none with nobody logged in is told so"):
            self.refuses_at_client(name, "login_required", browser=Browser(self.issuer), prompt="none")

    def lets_machines_in(self, name):
        client, scope = self.clients[name], self.setting["machine_scope"]
        with check(f"{name}: client_credentials"):
            tokens = client.machine(scope)
            assert "refresh_token" not in tokens, "machines need no refresh token"
            told = client.introspect(tokens["access_token"])
            same((told["active"], told["client_id"], told["scope"]), (True, self.registered(name)["id"], scope))
            client.revoke(tokens["access_token"])
            same(client.introspect(tokens["access_token"]), {"active": False})
        with check(f"{name}: client_credentials gives no person's scope, nor one that is not registered"):
            for beyond in ("profile", "admin", f"{scope} admin"):
                with refused("invalid_scope"):
                    client.machine(beyond)

    def refuses_at_client(self, name, word, browser=None, **changes):
        login = self.clients[name].begin(scope=SCOPE)
        page = (browser or self.browser).authorize(with_parameters(login.url, **changes), self.user)
        assert page.left, f"the browser was not sent back to the client: {page}"
        same(page.url.split("#")[0].split("?")[0], self.registered(name)["redirect_uri"])
        told = page.query
        same((told.get("error"), told.get("state"), told.get("iss")), (word, login.state, self.issuer))
        assert "code" not in told, told

    def refuses_requests(self, name):
        with check(f"{name}: no authorization without PKCE"):
            self.refuses_at_client(name, "invalid_request", code_challenge=None, code_challenge_method=None)
        with check(f"{name}: no authorization with the PKCE method `plain`, told or implied"):
            self.refuses_at_client(name, "invalid_request", code_challenge_method="plain")
            self.refuses_at_client(name, "invalid_request", code_challenge_method=None)
        with check(f"{name}: no scope beyond the registered"):
            self.refuses_at_client(name, "invalid_scope", scope=f"{SCOPE} admin")
        with check(f"{name}: no other response type, no request object"):
            self.refuses_at_client(name, "unsupported_response_type", response_type="token")
            self.refuses_at_client(name, "request_not_supported", request="eyJhbGciOiJub25lIn0.e30.")
        with check(f"{name}: the person may say no"):
            login = self.clients[name].begin(scope=SCOPE, prompt="consent")
            page = self.browser.authorize(login.url, self.user, press="deny")
            same((page.left, page.query.get("error")), (True, "access_denied"))

    def refuses_other_redirects(self, name):
        registered, others = self.registered(name)["redirect_uri"], REDIRECTS[name]["others"]
        same(REDIRECTS[name]["registered"], registered)
        login = self.clients[name].begin(scope=SCOPE)
        with check(f"{name}: the registered redirect URI, opened the same way, leads on"):
            same(self.open(with_parameters(login.url, redirect_uri=registered)).status_code // 100 in (2, 3), True)
        for uri in REDIRECTS[name]["ports"]:
            with check(f"{name}: so does {uri}, for a client on the person's machine takes any free port"):
                same(self.open(with_parameters(login.url, redirect_uri=uri)).status_code // 100 in (2, 3), True)
        with check(f"{name}: each of {len(others)} redirect URIs like the registered ends on a page of ours"):
            led = []
            for other in others:
                assert other != registered
                urls = [with_parameters(login.url, redirect_uri=other)]
                if other == others[0]:
                    urls += [f"{login.url}&{urlencode({'redirect_uri': other})}",
                             with_parameters(login.url, redirect_uri=other, prompt="none"),
                             with_parameters(login.url, redirect_uri=other, response_type="token"),
                             with_parameters(login.url, client_id="nobody")]
                for url in urls:
                    answer = self.open(url)
                    page = answer.headers.get("Content-Type", "").startswith("text/html")
                    if answer.status_code != 400 or "Location" in answer.headers or not page:
                        led.append(f"{other!r} ({answer.status_code} {answer.headers.get('Location')})")
            same(led, [])

    def open(self, url):
        """As somebody who is logged in and would be led on at once."""
        return self.browser.session.get(url, allow_redirects=False)

    def refuses_codes(self, name):
        client, registered = self.clients[name], self.registered(name)
        login = client.begin(scope=SCOPE)
        with check(f"{name}: no tokens for another verifier, or none"):
            for verifier in ("a" * 43, login.verifier.swapcase()):
                with refused("invalid_grant"):
                    login = client.begin(scope=SCOPE)
                    client.finish(replace(login, verifier=verifier), self.callback(login.url))
        with check(f"{name}: no tokens when the redirect URI is another than before"):
            with refused("invalid_grant"):
                login = client.begin(scope=SCOPE)
                other = self.library(self.issuer, {**registered, "redirect_uri": registered["redirect_uri"] + "/"})
                other.finish(login, self.callback(login.url))
        with check(f"{name}: a code is good once, and a second use ends what the first gave"):
            login = client.begin(scope=SCOPE)
            url = self.callback(login.url)
            tokens = client.finish(login, url)
            same(self.api(tokens["access_token"]), 200)
            with refused("invalid_grant"):
                client.finish(login, url)
            self.dies(tokens["access_token"])
            with refused("invalid_grant"):
                client.refresh(tokens["refresh_token"])
        with check(f"{name}: a code is nobody else's"):
            login = client.begin(scope=SCOPE)
            url = self.callback(login.url)
            thief = {**self.registered("post"), "redirect_uri": registered["redirect_uri"]}
            with refused("invalid_grant"):
                self.library(self.issuer, thief).finish(login, url)

    def refuses_refresh_tokens(self, name):
        client, other = self.clients[name], self.clients["post"]
        with check(f"{name}: an old refresh token ends the whole family"):
            first = self.tokens(name)
            second = client.refresh(first["refresh_token"])
            third = client.refresh(second["refresh_token"])
            with refused("invalid_grant"):
                client.refresh(first["refresh_token"])
            self.dies(third["access_token"])
            with refused("invalid_grant"):
                client.refresh(third["refresh_token"])
        tokens = self.tokens(name)
        with check(f"{name}: another client can do nothing with a refresh token, and does no harm"):
            with refused("invalid_grant"):
                other.refresh(tokens["refresh_token"])
            tokens = client.refresh(tokens["refresh_token"])
        with check(f"{name}: another client is told nothing about tokens, and cannot revoke them"):
            for token in (tokens["access_token"], tokens["refresh_token"]):
                same(other.introspect(token), {"active": False})
                try:
                    other.revoke(token)
                except Exception:
                    pass  # refused in words or ignored: what counts is that the token lives
            same(self.api(tokens["access_token"]), 200)
            client.refresh(tokens["refresh_token"])

    def refuses_strangers(self):
        for name in ("basic", "post"):
            wrong = self.library(self.issuer, {**self.registered(name), "secret": "not-the-secret"})
            with check(f"{name}: a wrong secret gets nothing from the token endpoint"):
                login = self.clients[name].begin(scope=SCOPE)
                url = self.callback(login.url)
                with refused("invalid_client"):
                    wrong.finish(login, url)
                same(answers[-1].status_code, 401)
                if name == "basic":
                    assert answers[-1].headers["WWW-Authenticate"].startswith("Basic"), answers[-1].headers
                with refused("invalid_client"):
                    wrong.machine(self.setting["machine_scope"])
                # The code was not touched.
                tokens = self.clients[name].finish(login, url)
                with refused("invalid_client"):
                    wrong.refresh(tokens["refresh_token"])
                tokens = self.clients[name].refresh(tokens["refresh_token"])
            with check(f"{name}: a wrong secret cannot introspect or revoke"):
                for attempt in (wrong.introspect, wrong.revoke):
                    with refused("invalid_client"):
                        attempt(tokens["access_token"])
                same(self.api(tokens["access_token"]), 200)
        with check("a confidential client does not pass for a public one"):
            public = {**self.registered("basic"), "method": "none", "secret": None}
            login = self.clients["basic"].begin(scope=SCOPE)
            with refused("invalid_client"):
                self.library(self.issuer, public).finish(login, self.callback(login.url))
        with check("grants that OAuth has left behind are unknown"):
            for grant in ("password", "implicit", "urn:example:new"):
                registered = self.registered("post")
                answer = requests.post(self.metadata["token_endpoint"], data={
                    "grant_type": grant, "client_id": registered["id"], "client_secret": registered["secret"],
                    "username": self.user["username"], "password": self.user["password"]})
                same((answer.status_code, answer.json()["error"]), (400, "unsupported_grant_type"))
