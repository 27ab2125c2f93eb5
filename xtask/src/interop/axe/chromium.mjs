// As much of WebDriver as it takes to look at pages with Chromium.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';

export class Chromium {
  static async start() {
    const driver = spawn('chromedriver', ['--port=0'], { stdio: ['ignore', 'pipe', 'inherit'] });
    process.on('exit', () => driver.kill());
    let port;
    for await (const line of createInterface(driver.stdout)) {
      port = /successfully on port (\d+)/.exec(line)?.[1];
      if (port) break;
    }
    driver.stdout.resume();
    const chromium = new Chromium();
    chromium.base = `http://127.0.0.1:${port}/session`;
    const args = ['--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--force-color-profile=srgb'];
    // Whatever a page may ask for, nothing leaves this machine.
    args.push('--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1');
    const { sessionId } = await chromium.call('POST', '', {
      capabilities: {
        alwaysMatch: { 'goog:chromeOptions': { args }, 'goog:loggingPrefs': { browser: 'ALL' } },
      },
    });
    chromium.base += `/${sessionId}`;
    return chromium;
  }

  async call(method, path, body) {
    const request = { method, body: body && JSON.stringify(body), signal: AbortSignal.timeout(30_000) };
    const { value } = await (await fetch(this.base + path, request)).json();
    if (value?.error) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`);
    return value;
  }

  /** Something for the DevTools protocol. */
  devTools(cmd, params = {}) {
    return this.call('POST', '/goog/cdp/execute', { cmd, params });
  }

  open(url) {
    return this.call('POST', '/url', { url });
  }

  url() {
    return this.call('GET', '/url');
  }

  /** Runs the body of a function, which may return a promise. */
  run(script, ...args) {
    return this.call('POST', '/execute/sync', { script, args });
  }

  async element(selector) {
    const found = await this.call('POST', '/element', { using: 'css selector', value: selector });
    return `/element/${found[ELEMENT]}`;
  }

  async type(selector, text) {
    const element = await this.element(selector);
    await this.call('POST', `${element}/clear`, {});
    await this.call('POST', `${element}/value`, { text });
  }

  /** Waits for the page that it leads to: the driver may come back before the old one is left. */
  async click(selector) {
    await this.run('window.old = true');
    await this.call('POST', `${await this.element(selector)}/click`, {});
    for (const end = performance.now() + 10_000; performance.now() < end; await sleep(20)) {
      const there = await this.run('return !window.old && document.readyState === "complete"').catch(() => false);
      if (there) return;
    }
    throw new Error(`${selector} led nowhere from ${await this.url()}: ${await this.complaints()}`);
  }

  /** Waits until the address begins so: a page may go on to it by itself. */
  async reaches(start) {
    for (const end = performance.now() + 10_000; performance.now() < end; await sleep(20)) {
      if (!(await this.url()).startsWith(start)) continue;
      if (await this.run('return document.readyState === "complete"').catch(() => false)) return;
    }
    throw new Error(`${start} is not reached: ${await this.url()}: ${await this.complaints()}`);
  }

  /** Waits for an element that a script of the page makes. */
  async appears(selector) {
    for (const end = performance.now() + 10_000; performance.now() < end; await sleep(20)) {
      if (await this.run('return document.querySelector(arguments[0]) !== null', selector)) return;
    }
    throw new Error(`${selector} does not appear at ${await this.url()}: ${await this.complaints()}`);
  }

  /** What the page and the browser have complained about since the last time. */
  async complaints() {
    const lines = await this.call('POST', '/se/log', { type: 'browser' });
    return lines.filter(({ level }) => level === 'SEVERE' || level === 'WARNING').map(({ message }) => message);
  }

  end() {
    return this.call('DELETE', '');
  }
}
