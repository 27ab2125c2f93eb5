"""Authlib, put together as its integrations for frameworks do it."""

from authlib.common.security import generate_token
from authlib.integrations.base_client import BaseApp, OAuthError
from authlib.integrations.base_client.sync_app import OAuth2Mixin
from authlib.integrations.base_client.sync_openid import OpenIDMixin
from authlib.integrations.requests_client import OAuth2Session
from scenario import Login, Scenario, watch


class App(OAuth2Mixin, OpenIDMixin, BaseApp):
    client_cls = OAuth2Session


class Framework:
    """Keeps no tokens."""

    def update_token(self, *_, **__):
        pass


class Client:
    def __init__(self, issuer, client):
        self.redirect_uri = client["redirect_uri"]
        self.app = App(
            Framework(),
            client_id=client["id"],
            client_secret=client.get("secret"),
            server_metadata_url=f"{issuer}/.well-known/openid-configuration",
            client_kwargs={
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": client["method"],
                "revocation_endpoint_auth_method": client["method"],
            },
            compliance_fix=watch,
        )

    def session(self):
        metadata = self.app.load_server_metadata()
        return self.app._get_oauth_client(**metadata), metadata

    def begin(self, **parameters):
        made = self.app.create_authorization_url(self.redirect_uri, **parameters)
        return Login(made["url"], made["state"], made["nonce"], made["code_verifier"])

    def finish(self, login, url):
        # Only the session reads the whole answer; the app takes it in parts.
        tokens = self.app.fetch_access_token(
            self.redirect_uri, authorization_response=url, state=login.state, code_verifier=login.verifier
        )
        tokens["claims"] = self.app.parse_id_token(tokens, nonce=login.nonce)
        return tokens

    def refresh(self, token):
        session, metadata = self.session()
        return session.refresh_token(metadata["token_endpoint"], refresh_token=token)

    def machine(self, scope):
        return self.app.fetch_access_token(grant_type="client_credentials", scope=scope)

    def userinfo(self, token):
        return self.app.userinfo(token={"access_token": token, "token_type": "Bearer"})

    def introspect(self, token):
        session, metadata = self.session()
        return told(session.introspect_token(metadata["introspection_endpoint"], token=token)).json()

    def revoke(self, token):
        session, metadata = self.session()
        told(session.revoke_token(metadata["revocation_endpoint"], token=token))


def told(answer):
    if answer.status_code != 200:
        raise OAuthError(answer.json()["error"], str(answer.status_code))
    return answer


if __name__ == "__main__":
    Scenario(Client).run()
