// People sign in with other identity providers; then somebody tries to mix them up.

import { createHash, randomBytes } from 'node:crypto';

import { Browser } from '../javascript/browser.mjs';
import { check, end, holds, same, setting } from '../javascript/check.mjs';

const { issuer: server, user, clients, providers } = setting;
const NAMES = Object.keys(providers);
const CALLBACK = `${server}/oauth/callback/`;

const browser = () => new Browser(server, ...Object.values(providers).map(({ issuer }) => issuer));
/** Providers take any password. */
const person = (username) => ({ username, password: 'any' });
const random = () => randomBytes(32).toString('base64url');

async function api(method, path, token, body) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(server + path, { method, headers, body: body && JSON.stringify(body) });
  holds(answer.ok, `${method} ${path} was answered ${answer.status}`);
  return answer.json();
}

/** A browser on its way through a provider; it stops before what the provider sends it back with is opened. */
async function atProvider(by, name, subject, parameters = {}) {
  const url = `${server}/oauth/login/${name}?${new URLSearchParams({ next: '/share', ...parameters })}`;
  const page = await by.authorize(url, person(subject), { until: (url) => url.startsWith(CALLBACK) });
  holds(page.left && page.url.startsWith(CALLBACK + name), `${name} did not send the browser back: ${page}`);
  return new URL(page.url);
}

/** The whole way; where it ends is a page of ours or a client. */
async function signIn(by, name, subject, parameters) {
  return by.go((await atProvider(by, name, subject, parameters)).href);
}

async function loggedIn(by) {
  const page = await by.go(`${server}/oauth/apps`);
  return page.status === 200 && !page.left && page.logIn === undefined;
}

/** Our form for somebody that a provider has brought for the first time. */
const newAccount = ({ forms }) => forms.find(({ typed }) => typed.includes('username') && !typed.includes('password'));
/** The one for somebody who has an account already. */
const link = ({ forms }) => forms.find(({ typed }) => typed.includes('login') && typed.includes('password'));

/** What a program does that people sign in to: a request, and tokens for what comes back. */
async function program() {
  const { id, redirect_uri } = clients.public;
  const [verifier, state] = [random(), random()];
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: id,
    redirect_uri,
    state,
    scope: 'openid profile email',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  });
  return {
    next: `/oauth/authorize?${query}`,
    async me(page) {
      holds(page.left, `the browser did not come to the program: ${page}`);
      same([page.query.state, page.query.iss], [state, server]);
      const body = new URLSearchParams({
        grant_type: 'authorization_code',
        code: page.query.code,
        client_id: id,
        redirect_uri,
        code_verifier: verifier,
      });
      const answer = await fetch(`${server}/oauth/token`, { method: 'POST', body });
      const tokens = await answer.json();
      same([answer.status, tokens.error], [200, undefined]);
      return api('GET', '/api/v1/me', tokens.access_token);
    },
  };
}

const { access_token } = await api('POST', '/api/v1/auth/token', undefined, user);
const expires_at = new Date(Date.now() + 3_600_000).toISOString();
const { code } = await api('POST', '/api/v1/codes', access_token, { expires_at });

await check('one: the first visit makes an account, with the code brought along, and leads to the program', async () => {
  const [by, { next, me }] = [browser(), await program()];
  const page = await signIn(by, 'one', 'paula', { next, code });
  const form = newAccount(page);
  holds(form, `no form for a new account: ${page}`);
  const has = Object.fromEntries(form.fields.map(({ name, value }) => [name, value]));
  same([has.code, has.email], [code, 'paula@example.com']);
  const after = await by.submit(page, form, { typed: { username: 'paula' } });
  const who = await me(await by.through(after, user));
  same([who.username, who.email, who.referred_by?.username], ['paula', 'paula@example.com', user.username]);
});
await check('one: the next visit, with another browser, logs straight in', async () => {
  const [by, { next, me }] = [browser(), await program()];
  const page = await signIn(by, 'one', 'paula', { next });
  same((await me(await by.through(page, user))).username, 'paula');
});
await check('two: the same subject and address there are nobody we know', async () => {
  const by = browser();
  const page = await signIn(by, 'two', 'paula');
  holds(newAccount(page), `no form for a new account: ${page}`);
  same(await loggedIn(by), false);
  // Nor can the address be had by saying that it is new.
  await by.submit(page, newAccount(page), { typed: { username: 'paula2' } });
  same(await loggedIn(by), false);
});
await check('two: the first visit makes an account, and the next logs straight in', async () => {
  const first = browser();
  const page = await signIn(first, 'two', 'tom');
  await first.submit(page, newAccount(page), { typed: { username: 'tom' } });
  same(await loggedIn(first), true);
  const [next, { next: path, me }] = [browser(), await program()];
  const again = await signIn(next, 'two', 'tom', { next: path });
  same((await me(await next.through(again, user))).username, 'tom');
});
await check('one: somebody with an account links it by their password, and by nothing else', async () => {
  const by = browser();
  const page = await signIn(by, 'one', 'olga-at-one');
  const typed = { login: user.username, password: 'Wrong-Horse-91!' };
  const wrong = await by.submit(page, link(page), { typed });
  same(await loggedIn(by), false);
  const form = link(wrong) ?? link(page);
  await by.submit(wrong, form, { typed: { ...typed, password: user.password } });
  same(await loggedIn(by), true);
  const [next, { next: path, me }] = [browser(), await program()];
  const again = await signIn(next, 'one', 'olga-at-one', { next: path });
  same((await me(await next.through(again, user))).username, user.username);
});

/** How often the providers were asked for tokens. */
async function asked() {
  const counts = NAMES.map(async (name) => (await fetch(`${providers[name].issuer}/asked`)).text());
  return (await Promise.all(counts)).map(Number);
}

/**
 * Opens the callback; it has to be refused on a page, and nobody may be logged in or offered an account. Unless the
 * code itself is what is wrong, the server knows before it has shown the code to any provider.
 */
async function refused(by, url, { inside = false, quietly = true } = {}) {
  const before = await asked();
  const page = await by.go(url.href);
  holds(!page.left && page.status >= 400 && page.status < 500, `not refused: ${page}`);
  holds(!newAccount(page) && !link(page), `an account is offered: ${page}`);
  same(await loggedIn(by), inside);
  if (quietly) same(await asked(), before);
}

const SUBJECT = { one: 'paula', two: 'tom' };
for (const [name, other] of [NAMES, NAMES.toReversed()]) {
  const subject = SUBJECT[name];
  /** A callback with parameters changed, in the browser it belongs to. */
  const changed = async (change, how) => {
    const by = browser();
    const url = await atProvider(by, name, subject);
    await change(url);
    await refused(by, url, how);
  };
  await check(`${name}: its code and state are nothing at ${other}'s callback`, async () => {
    const moved = (url) => { url.pathname = `/oauth/callback/${other}`; };
    await changed(moved);
    await changed((url) => { moved(url); url.searchParams.set('iss', providers[other].issuer); });
    await changed((url) => { moved(url); url.searchParams.delete('iss'); });
  });
  await check(`${name}: an answer in the name of ${other}, or in nobody's, is refused`, async () => {
    await changed((url) => url.searchParams.set('iss', providers[other].issuer));
    await changed((url) => url.searchParams.set('iss', `${providers[name].issuer}/`));
    // Both say in their metadata that they always name themselves.
    await changed((url) => url.searchParams.delete('iss'));
  });
  await check(`${name}: another state, another code, none of them, or two are refused`, async () => {
    await changed((url) => url.searchParams.set('state', random()));
    await changed((url) => url.searchParams.delete('state'));
    await changed((url) => url.searchParams.set('code', random()), { quietly: false });
    await changed((url) => url.searchParams.delete('code'));
    await changed((url) => url.searchParams.append('state', random()));
  });
  await check(`${name}: a code from another's log-in is refused, although it is a good one`, () =>
    changed(async (url) => {
      const theirs = await atProvider(browser(), name, 'mallory');
      url.searchParams.set('code', theirs.searchParams.get('code'));
    }, { quietly: false }));
  await check(`${name}: a state of ${other}'s, brought back through ${name}, is refused`, async () => {
    const by = browser();
    const theirs = await atProvider(by, other, SUBJECT[other]);
    const ours = await atProvider(by, name, subject);
    ours.searchParams.set('state', theirs.searchParams.get('state'));
    await refused(by, ours);
  });
  await check(`${name}: a callback is good once`, async () => {
    const by = browser();
    const url = await atProvider(by, name, subject);
    await by.go(url.href);
    same(await loggedIn(by), true);
    await refused(by, url, { inside: true });
    await refused(browser(), url);
  });
  await check(`${name}: a callback is good in the browser that set out only`, async () => {
    const url = await atProvider(browser(), name, subject);
    await refused(browser(), url);
    // Nor in one that has set out as well.
    const by = browser();
    await atProvider(by, name, 'mallory');
    await refused(by, url);
  });
  await check(`${name}: who says no there is not logged in here`, async () => {
    const by = browser();
    const url = await atProvider(by, name, subject);
    url.searchParams.delete('code');
    url.searchParams.set('error', 'access_denied');
    const page = await by.go(url.href);
    holds(page.status < 500, `not a page for people: ${page}`);
    same(await loggedIn(by), false);
  });
}
await check('the form for a new account is of use in its own browser only', async () => {
  const [by, thief] = [browser(), browser()];
  const page = await signIn(by, 'one', 'quentin');
  await signIn(thief, 'one', 'mallory');
  await thief.submit(page, newAccount(page), { typed: { username: 'quentin' } });
  same(await loggedIn(thief), false);
});
await check('no way on leads away from the server', async () => {
  const away = ['https://evil.example/', '//evil.example/', '/\\evil.example', '/share/../../evil', '/docs'];
  for (const next of away) {
    const by = browser();
    const page = await signIn(by, 'one', 'paula', { next });
    same([page.left, new URL(page.url).pathname], [false, '/share']);
  }
});
await check('a provider that nobody has set up is told so', async () => {
  for (const way of ['login', 'callback']) {
    const page = await browser().go(`${server}/oauth/${way}/three?next=/share`);
    same(page.status, 404);
  }
});
end();
