//! The parameters of a query or a form.

/// The parameters of a request, as they came.
pub struct Parameters(Vec<(String, String)>);

/// A parameter that was given more than once, which RFC 6749 forbids.
pub struct Repeated;

impl Parameters {
    pub fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// An empty one is as good as none (RFC 6749, 3.1).
    pub fn one(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Repeated),
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    /// The first of a name, for what no rule hangs on.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// As a query, each value as the function wants it, or left out.
    pub fn query(&self, value: impl Fn(&str, &str) -> Option<String>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, old) in &self.0 {
            if let Some(new) = value(name, old) {
                query.append_pair(name, &new);
            }
        }
        query.finish()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}
