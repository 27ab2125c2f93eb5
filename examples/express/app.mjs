// A small shop with accounts of its own that lets Referral remember who brought whom.
//
//     npm ci
//     REFERRAL_URL=http://127.0.0.1:8000 CLIENT_ID=… CLIENT_SECRET=… PORT=3000 node app.mjs
//
// What Referral needs of a host is in three places: GET / keeps `?ref=`, POST /signup tells who has come and by what,
// GET /home shows the link. With a webhook endpoint at /referral-hooks and its secret in REFERRAL_WEBHOOK_SECRET the shop
// hears of friends who have come. People are kept in memory here, so they are gone with the process.

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
  const person = { id: randomUUID(), name: text(request.body.name, 50), ref: text(request.body.ref, 100) };
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

app.get("/home", async (request, response) => {
  const cookie = /(?:^|; )session=([^;]*)/.exec(request.headers.cookie ?? "")?.[1];
  const person = people.get(sessions.get(cookie));
  if (!person) return response.redirect(303, "/");
  const hello = `<h1>Hello, ${escaped(person.name)}</h1>`;
  const told = await participant(person).catch(() => null);
  if (!told) return page(response, `${hello}<p>Your link will be here soon.</p>`);
  page(
    response,
    `${hello}${told.referred_by ? '<p id="invited">A friend has invited you.</p>' : ""}
    <p id="friends">Friends who have come: ${[...friends.values()].filter((id) => id === person.id).length}</p>
    <p><label>Your link <input id="link" readonly value="${escaped(told.link)}"></label></p>
    <img id="qr" src="${escaped(told.qr)}" alt="Your link as a QR code" width="256" height="256">`,
  );
});

app.listen(Number(PORT), "127.0.0.1", () => console.log(`The shop is at http://127.0.0.1:${PORT}`));
