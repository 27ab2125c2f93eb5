"""A browser without script: cookies, forms, redirects, pages that go on by themselves. It knows no page of ours; it reads
what a page offers.
"""

import re
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urldefrag, urljoin, urlsplit

import requests

# What a person types into; everything else is sent as the page has it.
TYPED = {"text", "email", "password", "search", "tel", "url"}


class Form:
    def __init__(self, attributes):
        self.action = attributes.get("action") or ""
        self.method = (attributes.get("method") or "get").lower()
        self.fields = []  # name, type, value
        self.buttons = []  # name, value

    def names(self, kind):
        return [name for name, type_, _ in self.fields if type_ == kind]

    def typed(self):
        return [name for name, type_, _ in self.fields if type_ in TYPED]


class Reader(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.forms = []
        self.form = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        name, value = attributes.get("name"), attributes.get("value") or ""
        if tag == "form":
            self.form = Form(attributes)
            self.forms.append(self.form)
        if self.form is None:
            return
        kind = (attributes.get("type") or ("submit" if tag == "button" else "text")).lower()
        if tag == "button" or (tag == "input" and kind == "submit"):
            if kind == "submit":
                self.form.buttons.append((name, value))
        elif tag == "input" and name:
            if kind not in ("checkbox", "radio") or "checked" in attributes:
                self.form.fields.append((name, kind, value))

    def handle_endtag(self, tag):
        if tag == "form":
            self.form = None


class Page:
    """An answer; or, when `left` is true, the address outside the server that the browser was sent to."""

    def __init__(self, url, answer=None):
        self.url = url
        self.left = answer is None
        self.status = None if answer is None else answer.status_code
        self.headers = {} if answer is None else answer.headers
        self.text = "" if answer is None else answer.text
        html = self.headers.get("Content-Type", "").startswith("text/html")
        self.forms = Reader(self.text).forms if html else []

    @property
    def query(self):
        # Errors of response types that nobody asked for may come as those types would: in the fragment.
        parts = urlsplit(self.url)
        pairs = parse_qsl(parts.query or parts.fragment, keep_blank_values=True)
        found = dict(pairs)
        assert len(found) == len(pairs), f"a parameter comes twice in {self.url}"
        return found

    def log_in(self):
        """The form with a password and one more thing to type; none where there is another form to choose."""
        typed = [form for form in self.forms if form.typed()]
        fits = len(typed) == 1 and typed[0].names("password") and len(typed[0].typed()) == 2
        return typed[0] if fits else None

    def consent(self):
        """The form with nothing to type that lets somebody decide; a provider's may have a single button."""
        for wanted in ("decision", None):
            for form in self.forms:
                names = [name for name, _ in form.buttons]
                if not form.typed() and wanted in names and not urlsplit(self.url).path.startswith(("/share", "/oauth/apps")):
                    return form
        return None

    def __str__(self):
        words = re.sub(r"(?s)<head>.*</head>|<style>.*?</style>|<[^>]*>", " ", self.text)
        return f"{self.status or 'left to'} {self.url[:200]} {' '.join(words.split())[:300]}"


class Browser:
    def __init__(self, server):
        self.server = origin(server)
        self.session = requests.Session()
        self.session.headers.update({"Accept": "text/html", "Accept-Language": "en"})
        self.seen = []  # the kinds of forms filled in

    def go(self, url, method="GET", data=None, headers=None):
        for _ in range(20):
            if origin(url) != self.server:
                return Page(url)
            url = urldefrag(url).url
            answer = self.session.request(method, url, data=data, headers=headers, allow_redirects=False)
            location = answer.headers.get("Location") if 300 <= answer.status_code < 400 else refresh(answer)
            if location is None:
                return Page(url, answer)
            url, headers = urljoin(url, location), None
            if answer.status_code not in (307, 308):
                method, data = "GET", None
        raise AssertionError(f"redirects without end, last to {url}")

    def submit(self, page, form, typed=None, press=None):
        """Sends a form with what is typed, by name; presses the button of that value, or the first."""
        typed = dict(typed or {})
        data = [(name, typed.pop(name, value)) for name, _, value in form.fields]
        assert not typed, f"no such fields: {typed.keys()}"
        pressed = [button for button in form.buttons if press in (None, button[1])]
        assert pressed, f"no button {press} among {form.buttons}"
        if pressed[0][0]:
            data.append(pressed[0])
        # Browsers send `null` from pages that ask for no referrer.
        hidden = "no-referrer" in page.headers.get("Referrer-Policy", "").split(",")[-1]
        headers = {"Origin": "null" if hidden else origin(page.url)}
        return self.go(urljoin(page.url, form.action), form.method.upper(), data, headers)

    def authorize(self, url, user, press="allow"):
        """Opens an authorization request, logs in and decides where asked to, and returns where that ends."""
        page, asked = self.go(url), []
        while not page.left:
            log_in, consent = page.log_in(), page.consent()
            if log_in and "log-in" not in asked:
                asked.append("log-in")
                password = log_in.names("password")[0]
                name = next(name for name in log_in.typed() if name != password)
                page = self.submit(page, log_in, {name: user["username"], password: user["password"]})
            elif consent and "consent" not in asked:
                asked.append("consent")
                named = press in [value for _, value in consent.buttons]
                page = self.submit(page, consent, press=press if named else None)
            else:
                break
        self.seen = asked
        return page


def refresh(answer):
    """Where a page goes on to by itself, at once."""
    found = re.fullmatch(r"0\s*;\s*url=(.+)", answer.headers.get("Refresh", ""), re.IGNORECASE)
    return found and found[1]


def origin(url):
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
