// Two identity providers, as unlike as they may be: how the client authenticates, what signs, where claims are found.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const { server, providers } = JSON.parse(readFileSync(0, 'utf8'));
// Advice to whoever runs a provider for good.
console.info = console.warn = () => undefined;

const WAYS = {
  one: { method: 'client_secret_basic', alg: 'RS256', key: ['rsa', { modulusLength: 2048 }], inIdToken: true },
  two: { method: 'client_secret_post', alg: 'ES256', key: ['ec', { namedCurve: 'P-256' }], inIdToken: false },
};

for (const [name, { issuer, id, secret }] of Object.entries(providers)) {
  const { method, alg, key, inIdToken } = WAYS[name];
  const jwk = generateKeyPairSync(...key).privateKey.export({ format: 'jwk' });
  const provider = new Provider(issuer, {
    clients: [{
      client_id: id,
      client_secret: secret,
      token_endpoint_auth_method: method,
      id_token_signed_response_alg: alg,
      redirect_uris: [`${server}/oauth/callback/${name}`],
      response_types: ['code'],
      grant_types: ['authorization_code'],
    }],
    jwks: { keys: [{ ...jwk, alg, use: 'sig', kid: name }] },
    enabledJWA: { idTokenSigningAlgValues: [alg] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'] },
    conformIdTokenClaims: !inIdToken,
    // Whoever logs in as NAME is NAME, at both of them: the same subject and address, but another person.
    findAccount: (_, subject) => ({
      accountId: subject,
      claims: () => ({
        sub: subject,
        email: `${subject}@example.com`,
        email_verified: true,
        name: subject,
        preferred_username: subject,
      }),
    }),
  });
  const { port, hostname } = new URL(issuer);
  const answer = provider.callback();
  let asked = 0;
  createServer((request, response) => {
    // How often it was asked for tokens: a code that reaches the wrong provider is lost, whatever comes of it.
    if (request.url === '/asked') return response.end(String(asked));
    if (request.url === '/token') asked += 1;
    return answer(request, response);
  }).listen(Number(port), hostname);
}
