"""A small shop with accounts of its own that lets Referral remember who brought whom.

    pip install -r requirements.txt
    REFERRAL_URL=http://127.0.0.1:8000 CLIENT_ID=… CLIENT_SECRET=… uvicorn app:app --port 3000

What Referral needs of a host is in a few places: `landing` keeps `?ref=`, `sign_up` tells who has come and by what,
`buy` and `give_back` tell what they paid and got back, `home` shows the link and what it brought. With a webhook
endpoint at `/referral-hooks` and its secret in `REFERRAL_WEBHOOK_SECRET` the shop hears of friends who have come. People
are kept in memory here, so they are gone with the process.
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


async def tell(path: str, body: dict) -> None:
    """Tells of a purchase or of a refund: it may be called as often as one likes."""
    headers = {"Authorization": f"Bearer {await access_token()}"}
    (await api.post(f"/api/v1/events{path}", json=body, headers=headers)).raise_for_status()


async def tell_of_orders(person: dict) -> None:
    """Tells of what Referral does not know yet. A shop with a database would do it in a job."""
    for order in person["orders"]:
        if not order["told"]:
            await tell(
                "",
                {
                    "type": "purchase",
                    "external_id": order["id"],
                    "participant": {"external_id": person["id"]},
                    "amount": order["cents"],
                    "unit": "EUR",
                },
            )
            order["told"] = True
        if order["returned"] and not order["refund_told"]:
            # All of it; of somebody whom nobody has brought there is nothing to take back.
            refund = {"external_id": f"refund-{order['id']}", "reason": "refund"}
            try:
                await tell(f"/refunds?external_id={quote(order['id'], safe='')}&type=purchase", refund)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != 404:
                    raise
            order["refund_told"] = True


async def rewards(participant_id: str) -> list[dict]:
    """What somebody got, the latest first."""
    headers = {"Authorization": f"Bearer {await access_token()}"}
    answer = await api.get(f"/api/v1/rewards?holder={participant_id}", headers=headers)
    answer.raise_for_status()
    return answer.json()["items"]


def euros(cents: int) -> str:
    return f"€{cents // 100}.{cents % 100:02}"


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
    person = {"id": str(uuid.uuid4()), "name": name, "ref": ref, "orders": []}
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


def who(request: Request) -> dict | None:
    return people.get(sessions.get(request.cookies.get("session", ""), ""))


@app.post("/buy")
async def buy(request: Request) -> RedirectResponse:
    if person := who(request):
        order = {"id": str(uuid.uuid4()), "cents": 1999, "told": False, "returned": False, "refund_told": False}
        person["orders"].append(order)
    return RedirectResponse("/home", status_code=303)


@app.post("/return")
async def give_back(request: Request) -> RedirectResponse:
    if person := who(request):
        bought = [order for order in person["orders"] if not order["returned"]]
        for order in bought[-1:]:
            order["returned"] = True
    return RedirectResponse("/home", status_code=303)


@app.get("/home", response_model=None)
async def home(request: Request) -> HTMLResponse | RedirectResponse:
    person = who(request)
    if person is None:
        return RedirectResponse("/", status_code=303)
    hello = f"<h1>Hello, {html.escape(person['name'])}</h1>"
    try:
        told = await participant(person)
        await tell_of_orders(person)
        got = await rewards(told["id"])
    except httpx.HTTPError:
        return page(f"{hello}<p>Your link will be here soon.</p>")
    invited = '<p id="invited">A friend has invited you.</p>' if told["referred_by"] else ""
    link, qr = html.escape(told["link"], quote=True), html.escape(told["qr"], quote=True)
    brought = "".join(f"<li>{euros(one['amount'])}, {html.escape(one['state'])}</li>" for one in got)
    bought = sum(order["cents"] for order in person["orders"] if not order["returned"])
    return page(
        f"""{hello}{invited}
        <p id="friends">Friends who have come: {list(friends.values()).count(person["id"])}</p>
        <form method="post" action="/buy"><button id="buy">Buy a book for €19.99</button></form>
        <form method="post" action="/return"><button id="return">Give the last one back</button></form>
        <p id="bought">You have bought for {euros(bought)}.</p>
        <ul id="rewards">{brought}</ul>
        <p><label>Your link <input id="link" readonly value="{link}"></label></p>
        <img id="qr" src="{qr}" alt="Your link as a QR code" width="256" height="256">"""
    )
