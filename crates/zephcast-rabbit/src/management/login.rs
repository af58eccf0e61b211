//! Who asks: the user of the management URL, or else whoever logs in at the broker.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use zephcast_core::{Endpoint, ErrorKind, Result};

use super::server::Host;
use crate::config::Credentials;
use crate::error::{error, invalid};

/// Who asks, or how that is found out.
#[derive(Clone)]
pub(super) enum Login {
    Known(Shown),
    /// Asked for each request.
    Provider(Arc<dyn Fn() -> Result<(String, SecretString)> + Send + Sync>),
    /// Whoever logs in at the broker has no password.
    Nobody,
}

/// What is shown to the server.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) user: String,
    pub(super) authorization: HeaderValue,
}

impl Login {
    /// Credentials in the endpoint win. A user without a password has an empty one: the broker's password is shown as
    /// that of no other user.
    pub(super) fn new(operation: &'static str, endpoint: &Endpoint, credentials: &Credentials) -> Result<Self> {
        let own = endpoint.password();
        match (endpoint.user(), credentials) {
            (Some(user), _) => Shown::new(operation, user, &own.cloned().unwrap_or_default()).map(Self::Known),
            (None, Credentials::Password { user, password }) => {
                Shown::new(operation, user, own.unwrap_or(password)).map(Self::Known)
            }
            (None, Credentials::Provider(provider)) => Ok(Self::Provider(provider.clone())),
            (None, Credentials::Certificate) => Ok(Self::Nobody),
        }
    }

    /// What to show to this host now.
    pub(super) fn shown(&self, operation: &'static str, host: &Host) -> Result<Shown> {
        match self {
            Self::Known(shown) => Ok(shown.clone()),
            Self::Provider(provider) => {
                let (user, password) = provider()?;
                Shown::new(operation, &user, &password)
            }
            Self::Nobody => {
                let message = format!("the management API at {host} takes a user and a password, and no certificate");
                Err(error(ErrorKind::Auth, operation, message).advise(
                    "give its URL credentials of its own, as in `management=https://USER:PASSWORD%40HOST:15671`",
                ))
            }
        }
    }
}

impl Shown {
    fn new(operation: &'static str, user: &str, password: &SecretString) -> Result<Self> {
        if user.contains(':') {
            return Err(invalid(operation, "HTTP takes no user with a `:` in the name"));
        }
        let credentials = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
        let header = HeaderValue::from_str(&format!("Basic {credentials}"));
        let mut authorization = header.map_err(|_| invalid(operation, "the credentials cannot be sent"))?;
        authorization.set_sensitive(true);
        Ok(Self { user: user.to_owned(), authorization })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const OPERATION: &str = "test";

    fn login(url: &str, credentials: &Credentials) -> Login {
        Login::new(OPERATION, &url.parse().unwrap(), credentials).unwrap()
    }

    fn shown(login: &Login) -> (String, String) {
        let Shown { user, authorization } = login.shown(OPERATION, &Host::of_test()).unwrap();
        let encoded = authorization.to_str().unwrap().trim_start_matches("Basic ");
        (user, String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap())
    }

    #[test]
    fn the_url_has_its_own_or_those_of_the_broker_count() {
        let password = Credentials::Password { user: "app".into(), password: "secret".into() };
        assert_eq!(shown(&login("http://h", &password)), ("app".into(), "app:secret".into()));
        let of_url = login("http://eye:sight@h", &password);
        assert_eq!(shown(&of_url), ("eye".into(), "eye:sight".into()));
        assert_eq!(shown(&login("http://eye:sight@h", &Credentials::Certificate)), shown(&of_url));
    }

    #[test]
    fn a_user_without_a_password_has_an_empty_one() {
        let password = Credentials::Password { user: "app".into(), password: "canary".into() };
        let provider = Credentials::Provider(Arc::new(|| Ok(("app".into(), "canary".into()))));
        for credentials in [password, provider, Credentials::Certificate] {
            for url in ["http://eye@h", "http://eye:@h"] {
                assert_eq!(shown(&login(url, &credentials)), ("eye".into(), "eye:".into()), "{url}, {credentials:?}");
            }
        }
    }

    #[test]
    fn a_provider_is_asked_each_time() {
        let count = AtomicU32::new(0);
        let next = move || Ok(("app".into(), count.fetch_add(1, Ordering::Relaxed).to_string().into()));
        let login = login("http://h", &Credentials::Provider(Arc::new(next)));
        assert_eq!([(); 2].map(|()| shown(&login).1), ["app:0", "app:1"]);
    }

    #[test]
    fn a_certificate_is_no_login_there() {
        let login = login("https://h", &Credentials::Certificate);
        let error = login.shown(OPERATION, &Host::of_test()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(error.advice().unwrap().contains("management=https://USER"), "{error:?}");
    }
}
