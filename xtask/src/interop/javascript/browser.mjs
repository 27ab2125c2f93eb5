// A browser without script: cookies, forms, redirects, pages that go on by themselves. It knows no page of ours; it
// reads what a page offers.

import { parse } from 'node-html-parser';
import { CookieJar } from 'tough-cookie';

// What a person types into; everything else is sent as the page has it.
const TYPED = ['text', 'email', 'password', 'search', 'tel', 'url'];

/** Where a page goes on to by itself, at once. */
function refresh(answer) {
  return /^0\s*;\s*url=(.+)$/i.exec(answer.headers.get('refresh') ?? '')?.[1] ?? null;
}

class Form {
  constructor(element) {
    this.action = element.getAttribute('action') ?? '';
    this.method = (element.getAttribute('method') ?? 'get').toUpperCase();
    this.fields = [];
    this.buttons = [];
    for (const field of element.querySelectorAll('input, button')) {
      const [name, value] = [field.getAttribute('name'), field.getAttribute('value') ?? ''];
      const type = (field.getAttribute('type') ?? (field.tagName === 'BUTTON' ? 'submit' : 'text')).toLowerCase();
      if (type === 'submit') this.buttons.push({ name, value });
      else if (!name || field.tagName === 'BUTTON') continue;
      else if (!['checkbox', 'radio'].includes(type) || field.hasAttribute('checked')) {
        this.fields.push({ name, type, value });
      }
    }
  }

  names(type) {
    return this.fields.filter((field) => field.type === type).map((field) => field.name);
  }

  get typed() {
    return this.fields.filter((field) => TYPED.includes(field.type)).map((field) => field.name);
  }
}

/** An answer; or, when `left` is true, the address outside the servers that the browser was sent to. */
class Page {
  constructor(url, answer, text) {
    this.url = url;
    this.left = answer === undefined;
    this.status = answer?.status;
    this.headers = answer?.headers ?? new Headers();
    this.text = text ?? '';
    const html = this.headers.get('content-type')?.startsWith('text/html');
    this.forms = html ? parse(this.text).querySelectorAll('form').map((form) => new Form(form)) : [];
  }

  /** Errors of response types that nobody asked for may come as those types would: in the fragment. */
  get query() {
    const { search, hash } = new URL(this.url);
    const pairs = [...new URLSearchParams(search || hash.slice(1))];
    const found = Object.fromEntries(pairs);
    if (Object.keys(found).length !== pairs.length) throw new Error(`a parameter comes twice in ${this.url}`);
    return found;
  }

  /** The form with a password and one more thing to type; none where there is another form to choose. */
  get logIn() {
    const [form, ...others] = this.forms.filter((form) => form.typed.length > 0);
    const fits = form?.names('password').length === 1 && form.typed.length === 2;
    return fits && others.length === 0 ? form : undefined;
  }

  /** The form with nothing to type that lets somebody decide; a provider's may have a single button. */
  get consent() {
    if (/^\/(share|oauth\/apps)/.test(new URL(this.url).pathname)) return undefined;
    const forms = this.forms.filter((form) => form.typed.length === 0);
    const with_ = (wanted) => forms.find((form) => form.buttons.some(({ name }) => (name ?? null) === wanted));
    return with_('decision') ?? with_(null);
  }

  toString() {
    const words = this.text.replace(/<head>.*<\/head>|<style>.*?<\/style>|<[^>]*>/gs, ' ').replace(/\s+/g, ' ');
    return `${this.status ?? 'left to'} ${this.url.slice(0, 200)} ${words.slice(0, 300)}`;
  }
}

export class Browser {
  constructor(...servers) {
    this.servers = servers.map((server) => new URL(server).origin);
    this.cookies = new CookieJar();
    this.seen = [];
  }

  /** One request, its redirect not followed. */
  async open(url, { method = 'GET', body, origin } = {}) {
    const headers = { accept: 'text/html', 'accept-language': 'en', cookie: await this.cookies.getCookieString(url) };
    if (origin) headers.origin = origin;
    const signal = AbortSignal.timeout(10_000);
    const answer = await fetch(url, { method, body, headers, signal, redirect: 'manual' });
    for (const cookie of answer.headers.getSetCookie()) await this.cookies.setCookie(cookie, url);
    return answer;
  }

  /** Goes where it is sent. `until` may stop it at an address before it is opened. */
  async go(url, request = {}, until = () => false) {
    for (let hops = 0; hops < 20; hops += 1) {
      if (!this.servers.includes(new URL(url).origin) || until(url)) return new Page(url);
      const answer = await this.open(url, request);
      const redirects = answer.status >= 300 && answer.status <= 399;
      const location = redirects ? answer.headers.get('location') : refresh(answer);
      if (location === null) return new Page(url, answer, await answer.text());
      await answer.body?.cancel();
      url = new URL(location, url).href;
      request = [307, 308].includes(answer.status) ? { ...request, origin: undefined } : {};
    }
    throw new Error(`redirects without end, last to ${url}`);
  }

  /** Sends a form with what is typed, by name; presses the button of that value, or the first. */
  async submit(page, form, { typed = {}, press, until } = {}) {
    const missing = Object.keys(typed).filter((name) => !form.fields.some((field) => field.name === name));
    if (missing.length > 0) throw new Error(`no such fields: ${missing}`);
    const body = new URLSearchParams(form.fields.map(({ name, value }) => [name, typed[name] ?? value]));
    const button = form.buttons.find(({ value }) => press === undefined || value === press);
    if (!button) throw new Error(`no button ${press} among ${JSON.stringify(form.buttons)}`);
    if (button.name) body.append(button.name, button.value);
    // Browsers send `null` from pages that ask for no referrer.
    const policy = (page.headers.get('referrer-policy') ?? '').split(',').at(-1).trim();
    const origin = policy === 'no-referrer' ? 'null' : new URL(page.url).origin;
    const url = new URL(form.action, page.url);
    if (form.method === 'GET') return this.go(`${url.origin}${url.pathname}?${body}`, {}, until);
    return this.go(url.href, { method: form.method, body, origin }, until);
  }

  /** Opens an authorization request, logs in and decides where asked to, and returns where that ends. */
  async authorize(url, user, { press = 'allow', until } = {}) {
    return this.through(await this.go(url, {}, until), user, { press, until });
  }

  /** The same from a page that is open already. */
  async through(page, user, { press = 'allow', until } = {}) {
    this.seen = [];
    const asked = new Set();
    while (!page.left) {
      // A provider has a log-in of its own: each server may ask once.
      const { origin } = new URL(page.url);
      const first = (what) => !asked.has(what + origin) && asked.add(what + origin) && this.seen.push(what);
      if (page.logIn && first('log-in')) {
        const [password] = page.logIn.names('password');
        const name = page.logIn.typed.find((name) => name !== password);
        const typed = { [name]: user.username, [password]: user.password };
        page = await this.submit(page, page.logIn, { typed, until });
      } else if (!page.logIn && page.consent && first('consent')) {
        const named = page.consent.buttons.some(({ value }) => value === press);
        page = await this.submit(page, page.consent, { press: named ? press : undefined, until });
      } else break;
    }
    return page;
  }
}
