//! A browser without script: it keeps cookies, reads forms and sends them back, and stops where it is sent to.

use reqwest::header::{ACCEPT_LANGUAGE, CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, REFRESH, SET_COOKIE};
use reqwest::{Method, Url};

#[derive(Clone)]
pub struct Visit {
    http: reqwest::Client,
    pub base: String,
    pub cookies: Vec<(String, String)>,
    pub language: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

/// A form of a page, with the fields that are filled.
#[derive(Clone, Debug)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

impl Visit {
    pub fn new(base: &str) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        Self { http: http.expect("a client"), base: base.to_owned(), cookies: Vec::new(), language: "en".to_owned() }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(Method::POST, path, Some(body)).await
    }

    /// Sends a form, with these fields typed in.
    pub async fn submit(&mut self, form: &Form, typed: &[(&str, &str)]) -> Page {
        let mut fields: Vec<(&str, &str)> = form
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| !typed.iter().any(|(other, _)| other == name))
            .collect();
        fields.extend(typed);
        self.post(&form.action, &fields).await
    }

    /// Goes where it is sent, for as long as that is here.
    pub async fn follow(&mut self, mut page: Page) -> Page {
        while let Some(location) = page.local_location(&self.base) {
            page = self.get(&location).await;
        }
        page
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<String>) -> Page {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = self.http.request(method.clone(), url).header(ACCEPT_LANGUAGE, &self.language);
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        }
        let response = request.send().await.expect("an answer");
        let page = Page {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a body"),
        };
        assert!(page.status < 500 || page.status == 503, "{method} {path}: {page:?}");
        // What a redirect behind a form meets is held to the form's policy.
        let redirect = page.headers.get(LOCATION).map(|value| value.to_str().expect("a plain header"));
        let stays = redirect.is_none_or(|to| to.starts_with('/') && !to.starts_with("/oauth/authorize"));
        assert!(method != Method::POST || stays, "{path} answers a form with a redirect that leaves: {page:?}");
        for cookie in page.headers.get_all(SET_COOKIE) {
            let text = cookie.to_str().expect("a plain cookie");
            let (name, value) = text.split(';').next().expect("a pair").split_once('=').expect("a pair");
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        page
    }

    /// Logs in on the page, whose form leads on.
    pub async fn log_in(&mut self, page: &Page, name: &str, password: &str) -> Page {
        let form = page.form("/oauth/login");
        self.submit(&form, &[("username", name), ("password", password)]).await
    }
}

impl Page {
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a plain header"))
    }

    /// It is a page that goes on by itself, and has a link to the same place.
    #[track_caller]
    pub fn leaves(self) -> Self {
        let page = self.expect(200);
        let to = page.refresh().unwrap_or_else(|| panic!("goes nowhere: {page:?}"));
        assert_eq!((page.headers.get(LOCATION), page.forms().len()), (None, 0), "{page:?}");
        let (_, link) = page.text.split_once("<a class=\"button\"").expect("a link");
        assert_eq!(attribute(link, "href").as_deref(), Some(to));
        assert!(page.header("content-security-policy").ends_with("; form-action 'self'"), "{page:?}");
        assert_eq!((page.header("cache-control"), page.header("referrer-policy")), ("no-store", "no-referrer"));
        page
    }

    /// Where it sends the browser, by a redirect or by itself.
    pub fn location(&self) -> Option<&str> {
        let redirect = self.headers.get(LOCATION).map(|value| value.to_str().expect("a plain header"));
        redirect.or_else(|| self.refresh())
    }

    fn refresh(&self) -> Option<&str> {
        let refresh = self.headers.get(REFRESH)?.to_str().expect("a plain header");
        Some(refresh.strip_prefix("0; url=").unwrap_or_else(|| panic!("not at once: {refresh}")))
    }

    fn local_location(&self, base: &str) -> Option<String> {
        let location = self.location()?;
        location.starts_with('/').then(|| format!("{base}{location}"))
    }

    /// A parameter of the address that it sends the browser to.
    #[track_caller]
    pub fn sent(&self, name: &str) -> Option<String> {
        let location = self.location().unwrap_or_else(|| panic!("sent nowhere: {self:?}"));
        let url = Url::parse(location).unwrap_or_else(|_| panic!("sent to {location}"));
        url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// The first form that leads to this path.
    #[track_caller]
    pub fn form(&self, action: &str) -> Form {
        let found = self.forms().into_iter().find(|form| form.action == action);
        found.unwrap_or_else(|| panic!("no form leads to {action}: {self:?}"))
    }

    pub fn forms(&self) -> Vec<Form> {
        let mut forms = Vec::new();
        for part in self.text.split("<form").skip(1) {
            let (tag, rest) = part.split_once('>').expect("a tag");
            let body = rest.split("</form>").next().expect("a form");
            let action = attribute(tag, "action").expect("an action");
            let fields = body.split("<input").skip(1).filter_map(|part| {
                let tag = part.split('>').next().expect("a tag");
                Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
            });
            forms.push(Form { action, fields: fields.collect() });
        }
        forms
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let value = rest.split('"').next()?;
    let plain = value.replace("&#34;", "\"").replace("&#39;", "'").replace("&#60;", "<").replace("&#62;", ">");
    let plain = plain.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    Some(plain.replace("&#38;", "&").replace("&amp;", "&"))
}
