// A person of a host's app shares their link, and friends come by it: in Chromium, on a phone. The same for every app.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { Chromium } from '../axe/chromium.mjs';
import { check, end, holds, same, setting } from '../javascript/check.mjs';

const { server, app, manager, id, secret, expire } = setting;
const PHONE = { width: 390, height: 844, deviceScaleFactor: 2, mobile: true };
/** What the QR code measures on the screen: of the smallest, a module is four dots. */
const SIZES = [96, 128, 192, 256, 360];

const folder = mkdtempSync(join(tmpdir(), 'referral-journey-'));
const chromium = await Chromium.start();
await chromium.devTools('Emulation.setDeviceMetricsOverride', PHONE);

async function call(method, path, token, body) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetch(`${server}${path}`, { method, headers, body: body && JSON.stringify(body) });
  holds(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
}

/** Somebody else's phone: nobody is known on it. */
async function open(url) {
  await chromium.devTools('Network.clearBrowserCookies');
  await chromium.open(url);
}

async function signUp(name) {
  await chromium.type('input[name=name]', name);
  await chromium.click('form button');
  same(new URL(await chromium.url()).pathname, '/home');
  const [greeting, wide] = await chromium.run(
    'const page = document.documentElement; return [document.body.innerText, page.scrollWidth > page.clientWidth]');
  holds(greeting.includes(`Hello, ${name}`), greeting);
  holds(!wide, 'the page is wider than the screen');
  return chromium.run('return document.querySelector("#invited") !== null');
}

/** How many the one who shares has brought. */
async function brought() {
  const { items } = await call('GET', '/api/v1/referrers', manager);
  holds(items.length <= 1, 'nobody else shares');
  return items[0]?.referral_count ?? 0;
}

/** A friend opens this and signs up; says with what they landed. */
async function friend(name, url, credited) {
  const before = await brought();
  await open(url);
  const landed = new URL(await chromium.url());
  same(`${landed.origin}${landed.pathname}`, `${app}/`);
  same(await signUp(name), credited);
  same(await brought(), before + Number(credited));
  return landed.searchParams.get('ref');
}

/** Whoever shares, as the host's app has them. */
async function sharer() {
  const form = new URLSearchParams({ grant_type: 'client_credentials', scope: 'program:write' });
  const headers = { authorization: `Basic ${btoa(`${id}:${secret}`)}` };
  const answer = await fetch(`${server}/oauth/token`, { method: 'POST', headers, body: form });
  const { access_token: token } = await answer.json();
  const { items } = await call('GET', '/api/v1/participants', token);
  return { token, ...items.find((item) => item.name === 'Olga <b>') };
}

/** What a camera reads of the QR code on the page, when it is shown that large. */
async function scanned(size) {
  const [x, y] = await chromium.run(`const image = document.querySelector('#qr');
    image.width = image.height = arguments[0];
    image.scrollIntoView();
    return image.decode().then(() => { const { x, y } = image.getBoundingClientRect(); return [x + scrollX, y + scrollY]; })`,
  size);
  const clip = { x, y, width: size, height: size, scale: 1 };
  const { data } = await chromium.devTools('Page.captureScreenshot', { clip, captureBeyondViewport: true });
  const file = join(folder, `${size}.png`);
  writeFileSync(file, Buffer.from(data, 'base64'));
  return execFileSync('zbarimg', ['--quiet', '--raw', file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
}

await check('a manager says where links lead', () =>
  call('PATCH', '/api/v1/programs/default', manager, { landing_url: `${app}/` }));

let link;
let qr;
let session;
await check('a person signs up in the app, whom nobody has brought, and sees their link', async () => {
  await open(`${app}/`);
  same(await signUp('Olga <b>'), false);
  link = await chromium.run('return document.querySelector("#link").value');
  session = (await chromium.devTools('Network.getCookies')).cookies.find((cookie) => cookie.name === 'session');
  holds(link.startsWith(`${server}/r/`), link);
});
for (const size of SIZES) {
  await check(`a camera reads the link from its QR code at ${size} pixels`, async () => {
    qr = await scanned(size);
    same(qr, link);
  });
}
const handle = link.split('/').at(-1);

let first;
await check('a friend scans it, lands on the app with the code, signs up and is credited', async () => {
  first = await friend('Petr', qr, true);
  same(first, (await sharer()).code);
});
await check('the code expires, and the same QR code brings the next friend', async () => {
  const [program, ...words] = expire.map((word) => word.replaceAll('CODE', first));
  execFileSync(program, words);
  // The service takes the next one up within seconds. It has remembered the first, for it was to live longer.
  const leads = async () => (await fetch(qr, { redirect: 'manual' })).headers.get('location');
  for (const until = Date.now() + 10_000; (await leads()).includes(first); await sleep(100)) {
    holds(Date.now() < until, 'no other code was issued');
  }
  same(await friend('Anna', qr, true), (await sharer()).code);
});
await check('the expired code credits nobody, typed or linked', async () => {
  await friend('Typed', `${app}/?ref=${first}`, false);
  same(await friend('Linked', `${server}/r/${first}`, false), null);
});
await check('a code that the host has revoked credits nobody, typed or linked, and the QR code goes on', async () => {
  const { token, code, external_id: external } = await sharer();
  await call('POST', `/api/v1/participants/${external}/code`, token);
  await friend('Typed too', `${app}/?ref=${code}`, false);
  same(await friend('Linked too', `${server}/r/${code}`, false), null);
  same(await friend('Scanned', qr, true), (await sharer()).code);
});
await check('a handle is as good as a code', () => friend('By handle', `${app}/?ref=${handle.toUpperCase()}`, true));
await check('nonsense is nobody\'s', () => friend('By nonsense', `${app}/?ref=%3Cscript%3E`, false));
await check('the app has been told of each friend who counts, by a webhook', async () => {
  await chromium.devTools('Network.setCookie', { name: 'session', value: session.value, url: app });
  for (const until = Date.now() + 20_000; ; await sleep(100)) {
    await chromium.open(`${app}/home`);
    const told = await chromium.run('return document.querySelector("#friends").textContent');
    if (told.endsWith(': 4')) break;
    holds(Date.now() < until, told);
  }
});
await check('whoever comes back sees the same link, and the browser has nothing to complain about', async () => {
  await chromium.open(`${app}/home`);
  same((await chromium.complaints()).filter((line) => !line.includes('/favicon.ico')), []);
});

await chromium.end();
rmSync(folder, { recursive: true });
end();
