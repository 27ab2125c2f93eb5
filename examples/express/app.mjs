// A small shop with accounts of its own that lets Referral remember who brought whom.
//
//     npm ci
//     REFERRAL_URL=http://127.0.0.1:8000 CLIENT_ID=… CLIENT_SECRET=… PORT=3000 node app.mjs
//
// What Referral needs of a host is in a few places: GET / keeps `?ref=`, POST /signup tells who has come and by what,
// tellOfOrders what they paid and got back, GET /home shows the link and what it brought. With a webhook endpoint at
// /referral-hooks and its secret in REFERRAL_WEBHOOK_SECRET the shop hears of friends who have come. People are kept in
// memory here, so they are gone with the process.

import { randomUUID } from "node:crypto";
import express from "express";
import { Webhook } from "standardwebhooks";

const { REFERRAL_URL, CLIENT_ID, CLIENT_SECRET, REFERRAL_WEBHOOK_SECRET, PORT = "3000" } = process.env;
const referral = REFERRAL_URL.replace(/\/+$/, "");

const people = new Map();
const sessions = new Map();
// By referral, so that a message that comes twice counts once.
const friends = new Map();
let token = { text: "", until: 0 };

// A token of the shop's own, asked for anew a minute before it ends.
async function accessToken() {
  if (Date.now() > token.until) {
    const basic = Buffer.from(`${CLIENT_ID}:${CLIENT_SECRET}`).toString("base64");
    const answer = await fetch(`${referral}/oauth/token`, {
      method: "POST",
      headers: { authorization: `Basic ${basic}` },
      body: new URLSearchParams({ grant_type: "client_credentials", scope: "program:write" }),
      signal: AbortSignal.timeout(10_000),
    });
    if (!answer.ok) throw new Error(`no token: ${answer.status} ${await answer.text()}`);
    const told = await answer.json();
    token = { text: told.access_token, until: Date.now() + (told.expires_in - 60) * 1000 };
  }
  return token.text;
}

// Makes somebody a participant, or finds that they are one: it may be called as often as one likes.
async function participant(person) {
  const answer = await fetch(`${referral}/api/v1/participants/${encodeURIComponent(person.id)}`, {
    method: "PUT",
    headers: { authorization: `Bearer ${await accessToken()}`, "content-type": "application/json" },
    body: JSON.stringify({ name: person.name, ...(person.ref && { code: person.ref }) }),
    signal: AbortSignal.timeout(10_000),
  });
  const told = await answer.json();
  if (person.ref && answer.status === 404 && told.code === "code_not_usable") {
    // The invitation has ended since the link was opened: they sign up all the same.
    person.ref = "";
    return participant(person);
  }
  if (!answer.ok) throw new Error(`no participant: ${answer.status} ${JSON.stringify(told)}`);
  return told;
}

async function call(method, path, body) {
  const answer = await fetch(`${referral}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${await accessToken()}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok) {
    const error = new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    error.status = answer.status;
    throw error;
  }
  return answer.json();
}

// Tells of what Referral does not know yet; each call may be made as often as one likes. A shop with a database would
// do it in a job.
async function tellOfOrders(person) {
  for (const order of person.orders) {
    if (!order.told) {
      const participant = { external_id: person.id };
      const bought = { type: "purchase", external_id: order.id, participant, amount: order.cents, unit: "EUR" };
      await call("POST", "/events", bought);
      order.told = true;
    }
    if (order.returned && !order.refundTold) {
      // All of it; of somebody whom nobody has brought there is nothing to take back.
      const path = `/events/refunds?external_id=${encodeURIComponent(order.id)}&type=purchase`;
      await call("POST", path, { external_id: `refund-${order.id}`, reason: "refund" }).catch((error) => {
        if (error.status !== 404) throw error;
      });
      order.refundTold = true;
    }
  }
}

const euros = (cents) => `€${(cents / 100).toFixed(2)}`;
const escaped = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
const text = (value, most) => (typeof value === "string" ? value.slice(0, most) : "");

function page(response, body) {
  const head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Shop</title>';
  response.type("html").send(`<!doctype html><html lang="en">${head}<main>${body}</main></html>`);
}

const app = express();
app.use(express.urlencoded({ extended: false }));

// Where links lead: the program's landing_url. The code goes along in the form, so no cookie is needed.
app.get("/", (request, response) => {
  page(
    response,
    `<h1>Welcome to the shop</h1>
    <form method="post" action="/signup">
      <input type="hidden" name="ref" value="${escaped(text(request.query.ref, 100))}">
      <label>Your name <input name="name" maxlength="50" required></label>
      <button>Sign up</button>
    </form>`,
  );
});

app.post("/signup", async (request, response) => {
  // The shop's own id, never an address: it stands in paths.
  const person = { id: randomUUID(), name: text(request.body.name, 50), ref: text(request.body.ref, 100), orders: [] };
  people.set(person.id, person);
  const session = randomUUID();
  sessions.set(session, person.id);
  try {
    await participant(person);
  } catch (error) {
    // Nobody is turned away because Referral does not answer. GET /home tells it again; a job would be better.
    console.error(`Referral was not told of ${person.id}: ${error.message}`);
  }
  response.cookie("session", session, { httpOnly: true, sameSite: "lax" });
  response.redirect(303, "/home");
});

app.post("/referral-hooks", express.raw({ type: "application/json" }), (request, response) => {
  let message;
  try {
    message = new Webhook(REFERRAL_WEBHOOK_SECRET).verify(request.body, request.headers);
  } catch {
    return response.sendStatus(400);
  }
  const { id, referrer } = message.data;
  if (message.type === "referral.confirmed") friends.set(id, referrer.external_id);
  response.sendStatus(204);
});

function who(request) {
  const cookie = /(?:^|; )session=([^;]*)/.exec(request.headers.cookie ?? "")?.[1];
  return people.get(sessions.get(cookie));
}

app.post("/buy", (request, response) => {
  who(request)?.orders.push({ id: randomUUID(), cents: 1999, told: false, returned: false, refundTold: false });
  response.redirect(303, "/home");
});

app.post("/return", (request, response) => {
  const order = who(request)?.orders.findLast((one) => !one.returned);
  if (order) order.returned = true;
  response.redirect(303, "/home");
});

app.get("/home", async (request, response) => {
  const person = who(request);
  if (!person) return response.redirect(303, "/");
  const hello = `<h1>Hello, ${escaped(person.name)}</h1>`;
  const told = await participant(person).catch(() => null);
  const rewards = async () => (await tellOfOrders(person), call("GET", `/rewards?holder=${told.id}`));
  const got = told && (await rewards().catch(() => null));
  if (!got) return page(response, `${hello}<p>Your link will be here soon.</p>`);
  const brought = got.items.map((one) => `<li>${euros(one.amount)}, ${escaped(one.state)}</li>`).join("");
  const bought = person.orders.filter((order) => !order.returned).reduce((sum, order) => sum + order.cents, 0);
  page(
    response,
    `${hello}${told.referred_by ? '<p id="invited">A friend has invited you.</p>' : ""}
    <p id="friends">Friends who have come: ${[...friends.values()].filter((id) => id === person.id).length}</p>
    <form method="post" action="/buy"><button id="buy">Buy a book for €19.99</button></form>
    <form method="post" action="/return"><button id="return">Give the last one back</button></form>
    <p id="bought">You have bought for ${euros(bought)}.</p>
    <ul id="rewards">${brought}</ul>
    <p><label>Your link <input id="link" readonly value="${escaped(told.link)}"></label></p>
    <img id="qr" src="${escaped(told.qr)}" alt="Your link as a QR code" width="256" height="256">`,
  );
});

app.listen(Number(PORT), "127.0.0.1", () => console.log(`The shop is at http://127.0.0.1:${PORT}`));
