"""requests-oauthlib over oauthlib; PyJWT for ID tokens, which the two leave to others."""

import os

import jwt
import requests
from oauthlib.oauth2 import BackendApplicationClient
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session
from scenario import Login, Scenario, watch

# The server under test is on this machine.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"


class Client:
    def __init__(self, issuer, client):
        self.issuer, self.client = issuer, client
        self.metadata = requests.get(f"{issuer}/.well-known/openid-configuration").json()
        self.keys = jwt.PyJWKClient(self.metadata["jwks_uri"])
        id_, secret, method = client["id"], client.get("secret"), client["method"]
        basic = method == "client_secret_basic"
        self.authentication = {"auth": HTTPBasicAuth(id_, secret)} if basic else {"include_client_id": True}
        if method == "client_secret_post":
            self.authentication["client_secret"] = secret
        # For requests of which the library makes the body only.
        self.auth = self.authentication.get("auth")
        self.body = {} if basic else {"client_id": id_, **({"client_secret": secret} if secret else {})}

    def session(self, **more):
        return watch(OAuth2Session(self.client["id"], redirect_uri=self.client["redirect_uri"], **more))

    def begin(self, scope, **parameters):
        nonce = os.urandom(16).hex()
        session = self.session(scope=scope.split(), pkce="S256")
        endpoint = self.metadata["authorization_endpoint"]
        url, state = session.authorization_url(endpoint, nonce=nonce, **parameters)
        return Login(url, state, nonce, session._code_verifier)

    def finish(self, login, url):
        session = self.session(state=login.state)
        tokens = session.fetch_token(
            self.metadata["token_endpoint"],
            authorization_response=url,
            code_verifier=login.verifier,
            **self.authentication,
        )
        tokens["claims"] = claims = jwt.decode(
            tokens["id_token"],
            self.keys.get_signing_key_from_jwt(tokens["id_token"]),
            algorithms=[self.client["algorithm"]],
            audience=self.client["id"],
            issuer=self.issuer,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
        assert claims["nonce"] == login.nonce, "another nonce"
        return tokens

    def refresh(self, token):
        return self.session().refresh_token(
            self.metadata["token_endpoint"], refresh_token=token, auth=self.auth, **self.body
        )

    def machine(self, scope):
        client = BackendApplicationClient(self.client["id"], scope=scope.split())
        session = watch(OAuth2Session(client=client, scope=scope.split()))
        return session.fetch_token(self.metadata["token_endpoint"], **self.authentication)

    def userinfo(self, token):
        session = self.session(token={"access_token": token, "token_type": "Bearer"})
        answer = session.get(self.metadata["userinfo_endpoint"])
        answer.raise_for_status()
        return answer.json()

    def introspect(self, token):
        # The library has no introspection.
        endpoint = self.metadata["introspection_endpoint"]
        return told(requests.post(endpoint, data={"token": token, **self.body}, auth=self.auth)).json()

    def revoke(self, token):
        client = self.session()._client
        endpoint = self.metadata["revocation_endpoint"]
        url, headers, body = client.prepare_token_revocation_request(endpoint, token, None, **self.body)
        told(requests.post(url, data=body, headers=headers, auth=self.auth))


def told(answer):
    if answer.status_code != 200:
        raise CustomOAuth2Error(answer.json()["error"], status_code=answer.status_code)
    return answer


if __name__ == "__main__":
    Scenario(Client).run()
