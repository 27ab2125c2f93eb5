// openid-client, with the signature of ID tokens validated although they come straight from the server.

import * as openid from 'openid-client';

import { run } from '../javascript/scenario.mjs';

const METHODS = {
  none: () => openid.None(),
  client_secret_basic: openid.ClientSecretBasic,
  client_secret_post: openid.ClientSecretPost,
};

await run(async (issuer, client, fetch) => {
  const config = await openid.discovery(
    new URL(issuer),
    client.id,
    { id_token_signed_response_alg: client.algorithm },
    METHODS[client.method](client.secret),
    { [openid.customFetch]: fetch, execute: [openid.allowInsecureRequests, openid.enableNonRepudiationChecks] },
  );
  return {
    async begin(parameters) {
      const [state, nonce, verifier] = [openid.randomState(), openid.randomNonce(), openid.randomPKCECodeVerifier()];
      const url = openid.buildAuthorizationUrl(config, {
        redirect_uri: client.redirect_uri,
        state,
        nonce,
        code_challenge: await openid.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        ...parameters,
      });
      return { url: url.href, state, nonce, verifier };
    },

    async finish(login, url) {
      const tokens = await openid.authorizationCodeGrant(config, new URL(url), {
        pkceCodeVerifier: login.verifier,
        expectedState: login.state,
        expectedNonce: login.nonce,
        idTokenExpected: true,
      });
      return { ...tokens, claims: tokens.claims() };
    },

    refresh: (token) => openid.refreshTokenGrant(config, token),
    machine: (scope) => openid.clientCredentialsGrant(config, { scope }),
    userinfo: (token, subject) => openid.fetchUserInfo(config, token, subject),
    introspect: (token) => openid.tokenIntrospection(config, token),
    revoke: (token) => openid.tokenRevocation(config, token),
  };
});
