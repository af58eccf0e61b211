//! A broker's address with its secrets kept secret.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

use crate::{Error, ErrorKind, Result};

/// A parsed broker URL: `scheme://user:password@host:port,host:port/path?key=value`.
///
/// Nothing of the password appears in `Display`, `Debug` or an error. Fragments are refused, and a driver refuses query
/// keys that it does not know, so that a misspelt or unsafe switch never passes unseen.
///
/// ```
/// use zephcast_core::Endpoint;
///
/// let endpoint: Endpoint = "redis://app:s3cret@localhost:6379/2".parse().unwrap();
/// assert_eq!(endpoint.to_string(), "redis://app:***@localhost:6379/2");
/// ```
#[derive(Clone)]
pub struct Endpoint {
    scheme: String,
    user: Option<String>,
    password: Option<SecretString>,
    hosts: Vec<(String, Option<u16>)>,
    path: String,
    query: BTreeMap<String, String>,
}

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] saying what is wrong, without repeating the URL.
    pub fn parse(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("a URL begins with SCHEME://"))?;
        let scheme_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(scheme_ok) {
            return Err(invalid("the scheme is not a word"));
        }
        if rest.contains('#') {
            return Err(invalid("a fragment (`#...`) means nothing here; write `%23` for a `#` in a password"));
        }
        if rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(invalid("the URL contains a blank or a control character"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (Some(user_info), hosts),
            None => (None, authority),
        };
        if user_info.is_none() && (path.contains('@') || query.contains('@')) {
            return Err(invalid("an `@` behind the hosts; write `%2F`, `%3F`, `%40` for `/`, `?`, `@` in a password"));
        }
        let (user, password) = match user_info {
            Some(info) => parse_user(info)?,
            None => (None, None),
        };
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            user,
            password,
            hosts: hosts.split(',').filter(|host| !host.is_empty()).map(parse_host).collect::<Result<_>>()?,
            path: decode(path)?,
            query: parse_query(query)?,
        })
    }

    /// The scheme in lower case, such as `redis`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The user, decoded.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, decoded. Expose it only to hand it to the client library.
    #[must_use]
    pub fn password(&self) -> Option<&SecretString> {
        self.password.as_ref()
    }

    /// Hosts and ports in the order given. An IPv6 address stands without its brackets.
    #[must_use]
    pub fn hosts(&self) -> &[(String, Option<u16>)] {
        &self.hosts
    }

    /// What stands after the first `/`, decoded: a database number, a virtual host.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of a query key.
    #[must_use]
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    /// Refuses query keys other than these.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], naming the unknown key and the known ones.
    pub fn allow_query(&self, known: &[&str]) -> Result<()> {
        match self.query.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) if known.is_empty() => Err(invalid(format!("unknown key `{key}`; this URL takes none"))),
            Some(key) => Err(invalid(format!("unknown key `{key}`; known: {}", known.join(", ")))),
        }
    }
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, "read URL", message)
}

fn decode(text: &str) -> Result<String> {
    let whole = percent_decode_str(text).decode_utf8().map_err(|_| invalid("a percent code is not UTF-8"))?;
    if whole.chars().any(char::is_control) {
        return Err(invalid("a percent code stands for a control character"));
    }
    Ok(whole.into_owned())
}

fn parse_user(info: &str) -> Result<(Option<String>, Option<SecretString>)> {
    let (user, password) = match info.split_once(':') {
        Some((user, password)) => (user, Some(SecretString::from(decode(password)?))),
        None => (info, None),
    };
    let user = decode(user)?;
    Ok(((!user.is_empty()).then_some(user), password))
}

fn parse_host(text: &str) -> Result<(String, Option<u16>)> {
    let port = |port: &str| match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(invalid(format!("`{port}` is no port (1 to 65535)"))),
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| invalid("an IPv6 address needs its `]`"))?;
        let port = match after.strip_prefix(':') {
            Some(text) => Some(port(text)?),
            None if after.is_empty() => None,
            None => return Err(invalid("after `]` comes `:PORT` or nothing")),
        };
        return Ok((host.to_owned(), port));
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Err(invalid("an IPv6 address stands in brackets: [::1]:6379")),
        Some(("", _)) => Err(invalid("the host is missing before its port")),
        Some((host, text)) => Ok((decode(host)?, Some(port(text)?))),
        None => Ok((decode(text)?, None)),
    }
}

fn parse_query(text: &str) -> Result<BTreeMap<String, String>> {
    let mut query = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| invalid("a query is KEY=VALUE&KEY=VALUE"))?;
        let key = decode(key)?;
        if query.insert(key.clone(), decode(value)?).is_some() {
            return Err(invalid(format!("the key `{key}` stands twice")));
        }
    }
    Ok(query)
}

impl std::str::FromStr for Endpoint {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        Self::parse(url)
    }
}

/// The URL with `***` for the password. Values of the query are left out: one of them can be a secret's path or a URL.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match (&self.user, &self.password) {
            (user, Some(_)) => write!(f, "{}:***@", user.as_deref().unwrap_or_default())?,
            (Some(user), None) => write!(f, "{user}@")?,
            (None, None) => {}
        }
        for (n, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
            write!(f, "{comma}{open}{host}{close}")?;
            if let Some(port) = port {
                write!(f, ":{port}")?;
            }
        }
        if self.path.is_empty() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// Two endpoints are the same when every part is, the password included.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        let secret = |endpoint: &Self| endpoint.password.as_ref().map(|p| p.expose_secret().to_owned());
        (&self.scheme, &self.user, &self.hosts, &self.path, &self.query)
            == (&other.scheme, &other.user, &other.hosts, &other.path, &other.query)
            && secret(self) == secret(other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_part() {
        let e = Endpoint::parse("rediss://a%40b:p%3Aw@h1:1,[::1]:2,h3/7?tls-ca=/x").unwrap();
        assert_eq!((e.scheme(), e.user(), e.path(), e.query("tls-ca")), ("rediss", Some("a@b"), "7", Some("/x")));
        assert_eq!(e.password().unwrap().expose_secret(), "p:w");
        assert_eq!(e.hosts(), &[("h1".into(), Some(1)), ("::1".into(), Some(2)), ("h3".into(), None)]);
        assert!(e.allow_query(&["tls-ca"]).is_ok());
    }

    #[test]
    fn shows_no_password_and_no_query_value() {
        let e = Endpoint::parse("redis://u:canary@h/0?token=canary").unwrap();
        assert!(!format!("{e} {e:?} {}", e.allow_query(&[]).unwrap_err()).contains("canary"));
    }

    #[test]
    fn says_what_is_wrong() {
        for (url, part) in [
            ("localhost", "SCHEME"),
            ("redis://h#insecure", "fragment"),
            ("redis://h:0", "port"),
            ("redis://h:x", "port"),
            ("redis://::1", "brackets"),
            ("redis://h/?a=1&a=2", "twice"),
            ("redis://h/?a", "KEY=VALUE"),
            ("redis://h/%00", "control"),
            ("redis://u:123/4@h", "%2F"),
            ("redis://u:12?4@h", "%3F"),
        ] {
            let error = Endpoint::parse(url).expect_err(url);
            assert!(error.to_string().contains(part), "{url}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_hides_its_password(text in "\\PC{0,60}", password in "canary[a-z%:@/?]{0,9}") {
            let _ = Endpoint::parse(&text);
            for url in [format!("redis://u:{password}@h"), format!("redis://u:{password}@{text}")] {
                let shown = match Endpoint::parse(&url) {
                    Ok(endpoint) => format!("{endpoint} {endpoint:?}"),
                    Err(error) => format!("{error} {error:?}"),
                };
                if !text.contains("canary") {
                    prop_assert!(!shown.contains("canary"), "{}", shown);
                }
            }
        }
    }
}
