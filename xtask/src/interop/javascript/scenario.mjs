// What a client must be able to do, and what it must be refused; the same for every library.
//
// A library is a function of the issuer, a registered client and a `fetch` to use, which promises
//     begin(parameters)      -> { url, state, nonce, verifier }: where to send the browser, what to remember
//     finish(login, url)     -> the tokens for what came back; the ID token's claims, validated, under `claims`
//     refresh(token), machine(scope), userinfo(token, subject), introspect(token), revoke(token)
// A refusal is an exception with the word of RFC 6749 in `error`.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { Browser } from './browser.mjs';
import { check, end, holds, same, setting } from './check.mjs';

const REDIRECTS = JSON.parse(readFileSync(new URL('../redirects.json', import.meta.url), 'utf8'));
const SCOPE = 'openid profile email';
const { issuer, user } = setting;
const browser = new Browser(issuer);

let last; // the last answer that a library was given
async function watched(url, options = {}) {
  last = await fetch(url, { ...options, signal: AbortSignal.timeout(10_000) });
  return last;
}

async function refused(word, attempt) {
  let told;
  try {
    await attempt();
  } catch (error) {
    told = error;
  }
  holds(told, `nobody said ${word}`);
  // Where there is a challenge in the header, the libraries leave the body to us.
  const said = told.error ?? (await told.response?.json())?.error;
  holds(said === word, `refused, but with ${said}: ${told.message}`);
}

/** The address with parameters put in another's place; undefined takes one away. */
function withParameters(url, changes) {
  const changed = new URL(url);
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) changed.searchParams.delete(name);
    else changed.searchParams.set(name, value);
  }
  return changed.href;
}

export async function run(make) {
  const library = (client) => make(issuer, client, watched);
  const clients = {};
  for (const [name, client] of Object.entries(setting.clients)) clients[name] = await library(client);
  const scenario = new Scenario(library, clients);
  for (const name of Object.keys(clients)) await scenario.letsIn(name);
  for (const name of ['basic', 'post']) await scenario.letsMachinesIn(name);
  for (const name of ['public', 'basic']) {
    await scenario.refusesRequests(name);
    await scenario.refusesOtherRedirects(name);
    await scenario.refusesCodes(name);
    await scenario.refusesRefreshTokens(name);
  }
  await scenario.refusesStrangers();
  end();
}

class Scenario {
  constructor(library, clients) {
    this.library = library;
    this.clients = clients;
  }

  /** Through the pages, to the client. */
  async callback(url, by = browser) {
    const page = await by.authorize(url, user);
    holds(page.left, `the browser did not come back to the client: ${page}`);
    return page.url;
  }

  async tokens(name, parameters = {}) {
    const login = await this.clients[name].begin({ scope: SCOPE, ...parameters });
    return this.clients[name].finish(login, await this.callback(login.url));
  }

  async api(token) {
    const answer = await fetch(setting.api, { headers: { authorization: `Bearer ${token}` } });
    await answer.body?.cancel();
    return answer.status;
  }

  async dies(token) {
    const end = performance.now() + 5000;
    while ((await this.api(token)) !== 401) {
      holds(performance.now() < end, 'the API takes the access token for 5 seconds more');
      await sleep(50);
    }
  }

  async letsIn(name) {
    const [client, registered] = [this.clients[name], setting.clients[name]];
    const confidential = registered.method !== 'none';
    let [login, tokens] = [];
    await check(`${name}: log-in, consent and code with PKCE; state, nonce and iss hold`, async () => {
      const by = new Browser(issuer);
      login = await client.begin({ scope: SCOPE });
      const url = await this.callback(login.url, by);
      same(by.seen, ['log-in', 'consent']);
      const given = await client.finish(login, url);
      same(given.token_type.toLowerCase(), 'bearer');
      holds(given.expires_in > 0 && given.expires_in <= 3600, `expires_in is ${given.expires_in}`);
      tokens = given;
    });
    if (!tokens) return;
    const { claims } = tokens;
    await check(`${name}: the ID token is signed with ${registered.algorithm}, and the library validates it`, () => {
      const header = JSON.parse(Buffer.from(tokens.id_token.split('.')[0], 'base64url').toString());
      same(header.alg, registered.algorithm);
      same(claims.nonce, login.nonce);
      holds(Math.abs(Date.now() / 1000 - claims.auth_time) < 60, `auth_time is ${claims.auth_time}`);
    });
    await check(`${name}: a nonce, a state, an issuer that are not ours are noticed`, async () => {
      for (const foreign of ['nonce', 'state', 'iss']) {
        const login = await client.begin({ scope: SCOPE });
        const url = await this.callback(login.url);
        const attempt = foreign === 'iss'
          ? client.finish(login, withParameters(url, { iss: 'https://evil.example' }))
          : client.finish({ ...login, [foreign]: 'another' }, url);
        holds(await attempt.then(() => false, () => true), `nobody noticed another ${foreign}`);
      }
    });
    await check(`${name}: userinfo is about the same person`, async () => {
      const info = await client.userinfo(tokens.access_token, claims.sub);
      same(info.email, user.email);
    });
    await check(`${name}: the API takes the access token`, async () => {
      same(await this.api(tokens.access_token), 200);
    });
    await check(`${name}: refreshed twice, and each time with another refresh token`, async () => {
      const given = new Set([tokens.refresh_token]);
      for (const _ of [1, 2]) {
        tokens = await client.refresh(tokens.refresh_token);
        given.add(tokens.refresh_token);
        same(await this.api(tokens.access_token), 200);
      }
      same(given.size, 3);
    });
    if (confidential) {
      await check(`${name}: introspection tells what the token is good for`, async () => {
        const told = await client.introspect(tokens.access_token);
        same([told.active, told.client_id, told.sub], [true, registered.id, claims.sub]);
        same(told.scope.split(' ').sort(), SCOPE.split(' ').sort());
        same((await client.introspect(tokens.refresh_token)).active, true);
      });
    }
    await check(`${name}: what is revoked is dead within 5 seconds`, async () => {
      await client.revoke(tokens.refresh_token);
      await this.dies(tokens.access_token);
      await refused('invalid_grant', () => client.refresh(tokens.refresh_token));
      for (const token of confidential ? [tokens.access_token, tokens.refresh_token] : []) {
        same(await client.introspect(token), { active: false });
      }
    });
    await check(`${name}: an access token alone can be revoked`, async () => {
      const { access_token } = await this.tokens(name);
      await client.revoke(access_token);
      await this.dies(access_token);
    });
    if (registered.redirect_uri.startsWith('https:')) {
      await check(`${name}: who is logged in and has allowed it is asked nothing, and prompt=none works`, async () => {
        for (const parameters of [{}, { prompt: 'none' }]) {
          await this.tokens(name, parameters);
          same(browser.seen, []);
        }
      });
    }
    await check(`${name}: prompt=none with nobody logged in is told so`, () =>
      this.refusesAtClient(name, 'login_required', { prompt: 'none' }, new Browser(issuer)));
  }

  async letsMachinesIn(name) {
    const [client, scope] = [this.clients[name], setting.machine_scope];
    await check(`${name}: client_credentials`, async () => {
      const tokens = await client.machine(scope);
      holds(tokens.refresh_token === undefined, 'machines need no refresh token');
      const told = await client.introspect(tokens.access_token);
      same([told.active, told.client_id, told.scope], [true, setting.clients[name].id, scope]);
      await client.revoke(tokens.access_token);
      same(await client.introspect(tokens.access_token), { active: false });
    });
    await check(`${name}: client_credentials gives no person's scope, nor one that is not registered`, async () => {
      for (const beyond of ['profile', 'admin', `${scope} admin`]) {
        await refused('invalid_scope', () => client.machine(beyond));
      }
    });
  }

  async refusesAtClient(name, word, changes, by = browser) {
    const login = await this.clients[name].begin({ scope: SCOPE });
    const page = await by.authorize(withParameters(login.url, changes), user);
    holds(page.left, `the browser was not sent back to the client: ${page}`);
    same(page.url.split(/[?#]/)[0], setting.clients[name].redirect_uri);
    const { error, state, iss, code } = page.query;
    same([error, state, iss, code], [word, login.state, issuer, undefined]);
  }

  async refusesRequests(name) {
    const told = (word, changes) => this.refusesAtClient(name, word, changes);
    await check(`${name}: no authorization without PKCE`, () =>
      told('invalid_request', { code_challenge: undefined, code_challenge_method: undefined }));
    await check(`${name}: no authorization with the PKCE method \`plain\`, told or implied`, async () => {
      await told('invalid_request', { code_challenge_method: 'plain' });
      await told('invalid_request', { code_challenge_method: undefined });
    });
    await check(`${name}: no scope beyond the registered`, () => told('invalid_scope', { scope: `${SCOPE} admin` }));
    await check(`${name}: no other response type, no request object`, async () => {
      await told('unsupported_response_type', { response_type: 'token' });
      await told('request_not_supported', { request: 'eyJhbGciOiJub25lIn0.e30.' });
    });
    await check(`${name}: the person may say no`, async () => {
      const login = await this.clients[name].begin({ scope: SCOPE, prompt: 'consent' });
      const page = await browser.authorize(login.url, user, { press: 'deny' });
      same([page.left, page.left && page.query.error], [true, 'access_denied']);
    });
  }

  async refusesOtherRedirects(name) {
    const { redirect_uri } = setting.clients[name];
    const { registered, ports, others } = REDIRECTS[name];
    const login = await this.clients[name].begin({ scope: SCOPE });
    await check(`${name}: the registered redirect URI, opened the same way, leads on`, async () => {
      same(registered, redirect_uri);
      // As somebody who is logged in and would be led on at once.
      const { status } = await browser.open(withParameters(login.url, { redirect_uri }));
      holds(status < 400, `answered ${status}`);
    });
    for (const uri of ports) {
      await check(`${name}: so does ${uri}, for a client on the person's machine takes any free port`, async () => {
        const { status } = await browser.open(withParameters(login.url, { redirect_uri: uri }));
        holds(status < 400, `answered ${status}`);
      });
    }
    const alike = `${others.length} redirect URIs like the registered`;
    await check(`${name}: each of ${alike} ends on a page of ours`, async () => {
      const urls = others.map((redirect_uri) => withParameters(login.url, { redirect_uri }));
      const [redirect_uri] = others;
      urls.push(
        `${login.url}&${new URLSearchParams({ redirect_uri })}`,
        withParameters(login.url, { redirect_uri, prompt: 'none' }),
        withParameters(login.url, { redirect_uri, response_type: 'token' }),
        withParameters(login.url, { client_id: 'nobody' }),
      );
      const led = [];
      for (const url of urls) {
        const answer = await browser.open(url);
        await answer.body?.cancel();
        const [location, type] = [answer.headers.get('location'), answer.headers.get('content-type')];
        if (answer.status !== 400 || location !== null || !type?.startsWith('text/html')) {
          led.push(`${new URL(url).searchParams.getAll('redirect_uri')}: ${answer.status} ${location}`);
        }
      }
      same(led, []);
    });
  }

  async refusesCodes(name) {
    const [client, registered] = [this.clients[name], setting.clients[name]];
    /** Somebody comes back from the pages; `finish` has the code and what else is wanted to try. */
    const withCode = async (finish) => {
      const login = await client.begin({ scope: SCOPE });
      return finish(login, await this.callback(login.url));
    };
    await check(`${name}: no tokens for another verifier`, () => withCode((login, url) =>
      refused('invalid_grant', () => client.finish({ ...login, verifier: 'a'.repeat(43) }, url))));
    await check(`${name}: no tokens when the redirect URI is another than before`, () =>
      withCode(async (login, url) => {
        const other = await this.library({ ...registered, redirect_uri: `${registered.redirect_uri}/` });
        const moved = url.replace(registered.redirect_uri, `${registered.redirect_uri}/`);
        await refused('invalid_grant', () => other.finish(login, moved));
      }));
    await check(`${name}: a code is good once, and a second use ends what the first gave`, () =>
      withCode(async (login, url) => {
        const tokens = await client.finish(login, url);
        same(await this.api(tokens.access_token), 200);
        await refused('invalid_grant', () => client.finish(login, url));
        await this.dies(tokens.access_token);
        await refused('invalid_grant', () => client.refresh(tokens.refresh_token));
      }));
    await check(`${name}: a code is nobody else's`, () => withCode(async (login, url) => {
      const thief = await this.library({ ...setting.clients.post, redirect_uri: registered.redirect_uri });
      await refused('invalid_grant', () => thief.finish(login, url));
    }));
  }

  async refusesRefreshTokens(name) {
    const [client, other] = [this.clients[name], this.clients.post];
    await check(`${name}: an old refresh token ends the whole family`, async () => {
      const first = await this.tokens(name);
      const second = await client.refresh(first.refresh_token);
      const third = await client.refresh(second.refresh_token);
      await refused('invalid_grant', () => client.refresh(first.refresh_token));
      await this.dies(third.access_token);
      await refused('invalid_grant', () => client.refresh(third.refresh_token));
    });
    await check(`${name}: another client can do nothing with a refresh token, and does no harm`, async () => {
      const tokens = await this.tokens(name);
      await refused('invalid_grant', () => other.refresh(tokens.refresh_token));
      await client.refresh(tokens.refresh_token);
    });
    await check(`${name}: another client is told nothing about tokens, and cannot revoke them`, async () => {
      const tokens = await this.tokens(name);
      for (const token of [tokens.access_token, tokens.refresh_token]) {
        same(await other.introspect(token), { active: false });
        // Refused in words or ignored: what counts is that the token lives.
        await other.revoke(token).catch(() => undefined);
      }
      same(await this.api(tokens.access_token), 200);
      await client.refresh(tokens.refresh_token);
    });
  }

  async refusesStrangers() {
    for (const name of ['basic', 'post']) {
      const client = this.clients[name];
      const wrong = await this.library({ ...setting.clients[name], secret: 'not-the-secret' });
      let tokens;
      await check(`${name}: a wrong secret gets nothing from the token endpoint`, async () => {
        const login = await client.begin({ scope: SCOPE });
        const url = await this.callback(login.url);
        await refused('invalid_client', () => wrong.finish(login, url));
        same(last.status, 401);
        if (name === 'basic') same(last.headers.get('www-authenticate')?.split(' ')[0], 'Basic');
        await refused('invalid_client', () => wrong.machine(setting.machine_scope));
        // The code was not touched.
        tokens = await client.finish(login, url);
        await refused('invalid_client', () => wrong.refresh(tokens.refresh_token));
        tokens = await client.refresh(tokens.refresh_token);
      });
      await check(`${name}: a wrong secret cannot introspect or revoke`, async () => {
        await refused('invalid_client', () => wrong.introspect(tokens.access_token));
        await refused('invalid_client', () => wrong.revoke(tokens.access_token));
        same(await this.api(tokens.access_token), 200);
      });
    }
    await check('a confidential client does not pass for a public one', async () => {
      const login = await this.clients.basic.begin({ scope: SCOPE });
      const url = await this.callback(login.url);
      const open = await this.library({ ...setting.clients.basic, method: 'none', secret: null });
      await refused('invalid_client', () => open.finish(login, url));
    });
  }
}
