// A receiver by the library on npm: it takes what is sent to it, and nothing that was changed on the way.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const setting = JSON.parse(await text(process.stdin));
const received = [];
const waiting = [];

const server = createServer(async (request, response) => {
  const message = { body: await text(request), headers: request.headers };
  const next = waiting.shift();
  if (next) next(message);
  else received.push(message);
  response.writeHead(204).end();
});

async function call(path, body, token) {
  const answer = await fetch(setting.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  assert.ok(answer.ok, `POST ${path}: ${answer.status}`);
  return answer.json();
}

// The next message, which each of these secrets verifies, and no other body with its signature.
async function nextOf(kind, ...secrets) {
  const late = new Promise((_, fail) => setTimeout(fail, 60_000, new Error(`no ${kind}`)).unref());
  const { body, headers } =
    received.shift() ?? (await Promise.race([new Promise((take) => waiting.push(take)), late]));
  let message;
  for (const secret of secrets) {
    message = new Webhook(secret).verify(body, headers);
    assert.equal(message.type, kind);
  }
  for (const changed of [`${body} `, body.replaceAll("1", "2")]) {
    assert.throws(() => new Webhook(secrets[0]).verify(changed, headers), WebhookVerificationError);
  }
  return message;
}

async function register(name) {
  const person = { username: name, email: `${name}@example.com`, password: setting.password };
  return (await call("/api/v1/auth/user", person)).id;
}

server.listen(0, "127.0.0.1");
await once(server, "listening");
const { token } = setting;
const endpoints = "/api/v1/webhook-endpoints";
const url = `http://127.0.0.1:${server.address().port}/hooks`;
const { id, secret } = await call(endpoints, { url, types: ["participant.created"] }, token);
assert.ok((await call(`${endpoints}/${id}/test`, {}, token)).delivered);
assert.deepEqual((await nextOf("ping", secret)).data, { endpoint_id: id });
const someone = await register(`${setting.name}1`);
assert.equal((await nextOf("participant.created", secret)).data.id, someone);
// Both secrets are good for a day.
const replaced = await call(`${endpoints}/${id}/secret`, {}, token);
assert.notEqual(replaced.secret, secret);
await register(`${setting.name}2`);
await nextOf("participant.created", secret, replaced.secret);
assert.equal(received.length, 0);
server.close();
server.closeAllConnections();
