// oauth4webapi: every step of the protocol by itself.

import * as oauth from 'oauth4webapi';

import { run } from '../javascript/scenario.mjs';

const METHODS = {
  none: oauth.None,
  client_secret_basic: oauth.ClientSecretBasic,
  client_secret_post: oauth.ClientSecretPost,
};

await run(async (issuer, { id, secret, method, algorithm, redirect_uri }, fetch) => {
  // The server under test is on this machine.
  const options = { [oauth.customFetch]: fetch, [oauth.allowInsecureRequests]: true };
  const found = await oauth.discoveryRequest(new URL(issuer), options);
  const server = await oauth.processDiscoveryResponse(new URL(issuer), found);
  const client = { client_id: id, id_token_signed_response_alg: algorithm };
  const as = METHODS[method](secret);
  return {
    async begin(parameters) {
      const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
      const verifier = oauth.generateRandomCodeVerifier();
      const url = new URL(server.authorization_endpoint);
      url.search = new URLSearchParams({
        client_id: id,
        redirect_uri,
        response_type: 'code',
        state,
        nonce,
        code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        ...parameters,
      });
      return { url: url.href, state, nonce, verifier };
    },

    async finish({ state, nonce, verifier }, url) {
      const back = oauth.validateAuthResponse(server, client, new URL(url), state);
      const answer = await oauth.authorizationCodeGrantRequest(
        server, client, as, back, redirect_uri, verifier, options,
      );
      const checks = { expectedNonce: nonce, requireIdToken: true };
      const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer, checks);
      await oauth.validateApplicationLevelSignature(server, answer, options);
      return { ...tokens, claims: oauth.getValidatedIdTokenClaims(tokens) };
    },

    async refresh(token) {
      const answer = await oauth.refreshTokenGrantRequest(server, client, as, token, options);
      return oauth.processRefreshTokenResponse(server, client, answer);
    },

    async machine(scope) {
      const answer = await oauth.clientCredentialsGrantRequest(server, client, as, { scope }, options);
      return oauth.processClientCredentialsResponse(server, client, answer);
    },

    async userinfo(token, subject) {
      const answer = await oauth.userInfoRequest(server, client, token, options);
      return oauth.processUserInfoResponse(server, client, subject, answer);
    },

    async introspect(token) {
      const answer = await oauth.introspectionRequest(server, client, as, token, options);
      return oauth.processIntrospectionResponse(server, client, answer);
    },

    async revoke(token) {
      await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, as, token, options));
    },
  };
});
