// Every page that people see, looked at by axe-core in Chromium: in each language, on a large and on a small screen, by
// day and by night.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

import { check, end, holds, same, setting } from '../javascript/check.mjs';
import { Chromium } from './chromium.mjs';

const { issuer: server, user, clients, providers } = setting;
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SCREENS = {
  desktop: { width: 1280, height: 800, deviceScaleFactor: 1, mobile: false },
  phone: { width: 360, height: 740, deviceScaleFactor: 2, mobile: true },
};

/** A request of the program, which has a loopback address where somebody may listen. */
function authorize(client = clients.public, parameters = {}) {
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: client.id,
    redirect_uri: client.redirect_uri,
    state: 'axe',
    scope: 'openid profile email',
    code_challenge: createHash('sha256').update('a'.repeat(43)).digest('base64url'),
    code_challenge_method: 'S256',
    ...parameters,
  });
  return `${server}/oauth/authorize?${query}`;
}

// The program's address: what Chromium brings there has passed the pages' policy on where forms may be sent.
const brought = [];
const listener = createServer((request, answer) => {
  brought.push(request.url);
  answer.setHeader('content-type', 'text/html');
  answer.end('<!doctype html><title>The program</title>');
}).listen(Number(new URL(clients.public.redirect_uri).port), '127.0.0.1');
await new Promise((resolve, reject) => listener.on('listening', resolve).on('error', reject));

const chromium = await Chromium.start();

async function logIn(password = user.password) {
  await chromium.type('input[name=username]', user.username);
  await chromium.type('input[type=password]', password);
  await chromium.click('form[action="/oauth/login"] button');
}

async function forget() {
  await chromium.devTools('Network.clearBrowserCookies');
}

/** At a provider, whose pages are not ours to look at: somebody logs in whom we have never seen. */
async function comeThrough(provider) {
  await chromium.click(`a[href^="/oauth/login/${provider}?"]`);
  holds((await chromium.url()).startsWith(providers[provider].issuer), `not at ${provider}: ${await chromium.url()}`);
  await chromium.type('input[name=login]', 'newcomer');
  await chromium.type('input[name=password]', 'any');
  await chromium.click('button[type=submit]');
  // What the browser complains of there is not about us.
  await chromium.complaints();
  await chromium.click('button[type=submit]');
}

/** The person gets a code, by the API. */
async function makeCode() {
  const post = async (path, body, headers) => {
    const request = { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } };
    const answer = await fetch(`${server}${path}`, request);
    holds(answer.ok, `${path} answered ${answer.status}`);
    return answer.json();
  };
  const { access_token: token } = await post('/api/v1/auth/token', { username: user.username, password: user.password });
  await post('/api/v1/codes', { expires_at: '2099-01-01' }, { authorization: `Bearer ${token}` });
}

let newcomers = 0;

/** Somebody makes an account, sent by nobody. */
async function registerAlone() {
  newcomers += 1;
  await forget();
  await chromium.open(`${server}/oauth/register`);
  await chromium.type('input[name=username]', `alone${newcomers}`);
  await chromium.type('input[name=email]', `alone${newcomers}@example.com`);
  await chromium.type('input[type=password]', user.password);
  await chromium.click('form[action="/oauth/register"] button');
}

/** The pages in an order that a person might see them in. */
const PAGES = {
  'log-in': async () => {
    await forget();
    await chromium.open(authorize());
    // One of the ways in is a button for each provider.
    const named = await chromium.run('return document.querySelectorAll("a[href^=\'/oauth/login/\']").length');
    same(named, Object.keys(providers).length);
  },
  'log-in, refused': () => logIn('Wrong-Horse-91!'),
  finish: async () => {
    await comeThrough('one');
    same(new URL(await chromium.url()).pathname, '/oauth/callback/one');
  },
  'finish, name refused': async () => {
    await chromium.type('input[name=username]', '?');
    await chromium.click('form:has(input[name=username]) button');
  },
  'finish, link refused': async () => {
    await chromium.type('input[name=login]', user.username);
    await chromium.type('input[type=password]', 'Wrong-Horse-91!');
    await chromium.click('form:has(input[name=login]) button');
  },
  'provider, refused': async () => {
    await chromium.open(`${server}/oauth/callback/one?code=a&state=b`);
  },
  register: () => chromium.open(`${server}/oauth/register?next=%2Foauth%2Fapps&code=SPRING`),
  'register, refused': async () => {
    await chromium.type('input[name=username]', '?');
    await chromium.type('input[name=email]', 'nobody');
    await chromium.type('input[type=password]', 'short');
    await chromium.click('form[action="/oauth/register"] button');
  },
  consent: async () => {
    await chromium.open(authorize(clients.public, { prompt: 'consent' }));
    await logIn();
    await chromium.reaches(`${server}/oauth/authorize?`);
  },
  'apps, one': async () => {
    await chromium.click('button[value=allow]');
    await chromium.reaches(clients.public.redirect_uri);
    await chromium.open(`${server}/oauth/apps`);
  },
  'apps, none': () => chromium.click('form[action="/oauth/apps"] button'),
  error: () => chromium.open(authorize({ ...clients.public, id: 'nobody' })),
  'own page, just made': registerAlone,
  'own page, with a code': () => chromium.click('form[action="/share/code"] button'),
  account: () => chromium.open(`${server}/share/account`),
  'end of the account': () => chromium.open(`${server}/share/account/erase`),
  'own page': () => chromium.open(`${server}/share`),
  'logged out': () => chromium.click('form[action="/oauth/logout"] button'),
  'no such page': () => chromium.open(`${server}/no/such/page`),
  'no such method': () => chromium.open(`${server}/oauth/login`),
};

/** For developers, in English alone. Each is opened anew for each look, for some are drawn by scripts. */
const DOCUMENTS = {
  problems: () => chromium.open(`${server}/problems`),
  problem: () => chromium.open(`${server}/problems/not_found`),
  docs: async () => {
    await chromium.open(`${server}/docs`);
    await chromium.appears('#operations-Accounts-get_profile');
  },
  'docs, opened': async () => {
    await DOCUMENTS.docs();
    await chromium.run(`for (const operation of ['Accounts-register_account', 'Codes-create_code', 'Accounts-get_profile'])
      document.querySelector('#operations-' + operation + ' .opblock-summary-control').click()`);
    await chromium.appears('#operations-Accounts-get_profile .execute');
  },
  reference: async () => {
    await chromium.open(`${server}/redoc`);
    await chromium.appears('[data-section-id="tag/Operating/operation/check_readiness"]');
  },
};

/**
 * Run where the page itself cannot see it: its policy lets no script in. What has just changed its colours is brought to
 * its end: what is not on the screen may never get there by itself, for a browser without a screen draws when it likes.
 */
const LOOK = `${AXE}; document.getAnimations().forEach((moving) => moving.finish());
return axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
  violations.flatMap(({ id, help, nodes }) => nodes.map(({ html, failureSummary }) =>
    id + ': ' + help + ': ' + html.slice(0, 200) + ' ' + failureSummary)));`;

async function look(language, name, screen, scheme, open = () => {}) {
  await chromium.devTools('Emulation.setDeviceMetricsOverride', SCREENS[screen]);
  const features = [{ name: 'prefers-color-scheme', value: scheme }];
  await chromium.devTools('Emulation.setEmulatedMedia', { features });
  await check(`${language}, ${name}, ${screen}, ${scheme}`, async () => {
    await open();
    const [lang, title, wide, dark] = await chromium.run(
      `return [document.documentElement.lang, document.title,
        document.documentElement.scrollWidth > document.documentElement.clientWidth,
        matchMedia('(prefers-color-scheme: dark)').matches]`);
    same([lang, dark], [language, scheme === 'dark']);
    holds(title !== '', 'the page has no title');
    holds(!wide, 'the page is wider than the screen');
    same(await chromium.run(LOOK), []);
  });
}

await makeCode();
const agent = await chromium.run('return navigator.userAgent');
for (const language of ['en', 'ru']) {
  await chromium.devTools('Emulation.setUserAgentOverride', { userAgent: agent, acceptLanguage: language });
  const titles = new Set();
  for (const [name, open] of Object.entries(PAGES)) {
    await check(`${language}, ${name}: opens, and the browser has nothing to complain about`, async () => {
      await open();
      titles.add(await chromium.run('return document.title + location.pathname + document.body.innerText'));
      // A page with an error status is told as a complaint as well.
      same((await chromium.complaints()).filter((line) => !line.includes('the server responded with a status')), []);
    });
    for (const screen of Object.keys(SCREENS)) {
      for (const scheme of ['light', 'dark']) await look(language, name, screen, scheme);
    }
  }
  await check(`${language}: these were ${Object.keys(PAGES).length} pages`, () =>
    same(titles.size, Object.keys(PAGES).length));
}

await chromium.devTools('Emulation.setUserAgentOverride', { userAgent: agent, acceptLanguage: 'en' });
for (const [name, open] of Object.entries(DOCUMENTS)) {
  for (const screen of Object.keys(SCREENS)) {
    for (const scheme of ['light', 'dark']) await look('en', name, screen, scheme, open);
  }
  await check(`${name}: the browser has nothing to complain about`, async () => same(await chromium.complaints(), []));
}

await check('Chromium brings the code to the program at a loopback address', async () => {
  brought.length = 0;
  await forget();
  await chromium.open(authorize());
  await logIn();
  await chromium.reaches(`${server}/oauth/authorize?`);
  await chromium.click('button[value=allow]');
  await chromium.reaches(`${clients.public.redirect_uri}?`);
  holds(brought.some((url) => url.includes('code=')), `brought: ${brought}`);
});
await check('Chromium brings the answer to the program at its own host, from every form on the way', async () => {
  const { redirect_uri } = clients.basic;
  for (const decision of ['deny', 'allow']) {
    await forget();
    await chromium.open(authorize(clients.basic));
    await logIn();
    await chromium.reaches(`${server}/oauth/authorize?`);
    await chromium.click(`button[value=${decision}]`);
    // Nobody answers there; the address tells that Chromium was let go.
    await chromium.reaches(redirect_uri);
  }
  await forget();
  await chromium.open(authorize(clients.basic));
  await logIn();
  await chromium.reaches(redirect_uri);
});

listener.close();
await chromium.end();
end();
