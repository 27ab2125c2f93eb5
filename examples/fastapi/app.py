"""A small shop with accounts of its own that lets Referral remember who brought whom.

    pip install -r requirements.txt
    REFERRAL_URL=http://127.0.0.1:8000 CLIENT_ID=… CLIENT_SECRET=… uvicorn app:app --port 3000

What Referral needs of a host is in three places: `landing` keeps `?ref=`, `sign_up` tells who has come and by what,
`home` shows the link. With a webhook endpoint at `/referral-hooks` and its secret in `REFERRAL_WEBHOOK_SECRET` the shop
hears of friends who have come. People are kept in memory here, so they are gone with the process.
"""

import html
import os
import time
import uuid
from urllib.parse import quote

import httpx
from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from standardwebhooks import Webhook, WebhookVerificationError

REFERRAL = os.environ["REFERRAL_URL"].rstrip("/")
CLIENT = (os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])
SECRET = os.environ.get("REFERRAL_WEBHOOK_SECRET")

app = FastAPI()
api = httpx.AsyncClient(base_url=REFERRAL, timeout=10)
people: dict[str, dict] = {}
sessions: dict[str, str] = {}
# By referral, so that a message that comes twice counts once.
friends: dict[str, str | None] = {}
token = {"text": "", "until": 0.0}


async def access_token() -> str:
    """A token of the shop's own, asked for anew a minute before it ends."""
    if time.monotonic() > token["until"]:
        form = {"grant_type": "client_credentials", "scope": "program:write"}
        answer = await api.post("/oauth/token", data=form, auth=CLIENT)
        answer.raise_for_status()
        told = answer.json()
        token.update(text=told["access_token"], until=time.monotonic() + told["expires_in"] - 60)
    return token["text"]


async def participant(person: dict) -> dict:
    """Makes somebody a participant, or finds that they are one: it may be called as often as one likes."""
    body = {"name": person["name"]}
    if person["ref"]:
        body["code"] = person["ref"]
    headers = {"Authorization": f"Bearer {await access_token()}"}
    path = f"/api/v1/participants/{quote(person['id'], safe='')}"
    answer = await api.put(path, json=body, headers=headers)
    if person["ref"] and answer.status_code == 404 and answer.json()["code"] == "code_not_usable":
        # The invitation has ended since the link was opened: they sign up all the same.
        person["ref"] = ""
        return await participant(person)
    answer.raise_for_status()
    return answer.json()


def page(body: str) -> HTMLResponse:
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Shop</title>'
    return HTMLResponse(f'<!doctype html><html lang="en">{head}<main>{body}</main></html>')


@app.get("/")
async def landing(ref: str = "") -> HTMLResponse:
    """Where links lead: the program's landing_url. The code goes along in the form, so no cookie is needed."""
    return page(
        f"""<h1>Welcome to the shop</h1>
        <form method="post" action="/signup">
          <input type="hidden" name="ref" value="{html.escape(ref, quote=True)}">
          <label>Your name <input name="name" maxlength="50" required></label>
          <button>Sign up</button>
        </form>"""
    )


@app.post("/signup")
async def sign_up(name: str = Form(max_length=50), ref: str = Form("", max_length=100)) -> RedirectResponse:
    # The shop's own id, never an address: it stands in paths.
    person = {"id": str(uuid.uuid4()), "name": name, "ref": ref}
    people[person["id"]] = person
    session = str(uuid.uuid4())
    sessions[session] = person["id"]
    try:
        await participant(person)
    except httpx.HTTPError as error:
        # Nobody is turned away because Referral does not answer. `home` tells it again; a job would be better.
        print(f"Referral was not told of {person['id']}: {error}")
    answer = RedirectResponse("/home", status_code=303)
    answer.set_cookie("session", session, httponly=True, samesite="lax")
    return answer


@app.post("/referral-hooks")
async def hear(request: Request) -> Response:
    try:
        message = Webhook(SECRET or "").verify(await request.body(), dict(request.headers))
    except (WebhookVerificationError, ValueError, RuntimeError):
        return Response(status_code=400)
    if message["type"] == "referral.confirmed":
        referral = message["data"]
        friends[referral["id"]] = referral["referrer"]["external_id"]
    return Response(status_code=204)


@app.get("/home", response_model=None)
async def home(request: Request) -> HTMLResponse | RedirectResponse:
    person = people.get(sessions.get(request.cookies.get("session", ""), ""))
    if person is None:
        return RedirectResponse("/", status_code=303)
    hello = f"<h1>Hello, {html.escape(person['name'])}</h1>"
    try:
        told = await participant(person)
    except httpx.HTTPError:
        return page(f"{hello}<p>Your link will be here soon.</p>")
    invited = '<p id="invited">A friend has invited you.</p>' if told["referred_by"] else ""
    link, qr = html.escape(told["link"], quote=True), html.escape(told["qr"], quote=True)
    return page(
        f"""{hello}{invited}
        <p id="friends">Friends who have come: {list(friends.values()).count(person["id"])}</p>
        <p><label>Your link <input id="link" readonly value="{link}"></label></p>
        <img id="qr" src="{qr}" alt="Your link as a QR code" width="256" height="256">"""
    )
