//! Settings from the environment.

use zephcast_core::{Result, Tls};

use super::{KafkaConfig, Sasl};
use crate::error::invalid;
use crate::url::read_host;

const OPERATION: &str = "read environment";

impl KafkaConfig {
    /// Reads the environment: the URL in `KAFKA_URL` if that is set, and else these:
    ///
    /// | variable | means |
    /// |---|---|
    /// | `KAFKA_BOOTSTRAP_SERVERS` | `host:port,host:port`; needed |
    /// | `KAFKA_SECURITY_PROTOCOL` | `PLAINTEXT` (default), `SSL`, `SASL_PLAINTEXT` or `SASL_SSL` |
    /// | `KAFKA_SASL_MECHANISM` | `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512` (default) |
    /// | `KAFKA_SASL_USERNAME`, `KAFKA_SASL_PASSWORD` | with `SASL_` protocols, and needed there |
    /// | `KAFKA_SSL_CA_LOCATION` | see [`Tls::ca`]; with protocols with TLS only |
    /// | `KAFKA_SSL_CERTIFICATE_LOCATION`, `KAFKA_SSL_KEY_LOCATION`, `KAFKA_SSL_KEY_PASSWORD` | see [`Tls::identity`]; likewise |
    ///
    /// An empty variable is as good as none. What is set and would be ignored is an error.
    ///
    /// # Errors
    /// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) naming the variable that is missing or cannot be used;
    /// values are not repeated when they may be secret.
    pub fn from_env() -> Result<Self> {
        let broken = std::env::vars_os().find_map(|(name, value)| {
            let name = name.to_str().filter(|name| name.starts_with("KAFKA_"))?.to_owned();
            value.to_str().is_none().then_some(name)
        });
        match broken {
            Some(name) => Err(invalid(OPERATION, format!("the variable {name} is no text"))),
            None => Self::from_variables(|name| std::env::var(name).ok()),
        }
    }

    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if let Some(url) = variable("KAFKA_URL") {
            return Self::from_url(&url);
        }
        let Some(servers) = variable("KAFKA_BOOTSTRAP_SERVERS") else {
            return Err(invalid(OPERATION, "neither KAFKA_URL nor KAFKA_BOOTSTRAP_SERVERS is set"));
        };
        let hosts = servers.split(',').map(str::trim).filter(|host| !host.is_empty());
        let mut config = Self::brokers(hosts.map(|host| read_host(OPERATION, host)).collect::<Result<Vec<_>>>()?);
        let protocol = variable("KAFKA_SECURITY_PROTOCOL").unwrap_or_else(|| "PLAINTEXT".to_owned());
        let (sasl, tls) = match protocol.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => (false, false),
            "SSL" => (false, true),
            "SASL_PLAINTEXT" => (true, false),
            "SASL_SSL" => (true, true),
            _ => {
                let why = "KAFKA_SECURITY_PROTOCOL is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL";
                return Err(invalid(OPERATION, why));
            }
        };
        // Nobody should believe to be logged in, or to talk TLS, who is not.
        let needs = |name: &str, protocols: &str| {
            Err(invalid(OPERATION, format!("{name} is set, but KAFKA_SECURITY_PROTOCOL is not one of {protocols}")))
        };
        for name in ["KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"] {
            if !sasl && variable(name).is_some() {
                return needs(name, "SASL_SSL, SASL_PLAINTEXT");
            }
        }
        let [ca, chain, key, key_password] = [
            "KAFKA_SSL_CA_LOCATION",
            "KAFKA_SSL_CERTIFICATE_LOCATION",
            "KAFKA_SSL_KEY_LOCATION",
            "KAFKA_SSL_KEY_PASSWORD",
        ]
        .map(|name| variable(name).map(|value| (name, value)));
        if let Some((name, _)) = [&ca, &chain, &key, &key_password].into_iter().flatten().next().filter(|_| !tls) {
            return needs(name, "SSL, SASL_SSL");
        }
        if sasl {
            let Some(user) = variable("KAFKA_SASL_USERNAME") else {
                return Err(invalid(OPERATION, format!("KAFKA_SASL_USERNAME is not set, but {protocol} needs a user")));
            };
            config.user = Some(user);
            config.password = variable("KAFKA_SASL_PASSWORD").map(Into::into);
            let mechanism = variable("KAFKA_SASL_MECHANISM");
            config.sasl = mechanism.map(|mechanism| Sasl::of(OPERATION, &mechanism)).transpose()?;
        }
        if tls {
            let mut tls = Tls::new();
            tls.ca = ca.map(|(_, path)| path.into());
            tls.identity = match (chain, key) {
                (Some((_, chain)), Some((_, key))) => Some((chain.into(), key.into())),
                (None, None) => None,
                _ => {
                    let why = "KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION stand together";
                    return Err(invalid(OPERATION, why));
                }
            };
            config.tls = Some(tls);
            if let Some((_, password)) = key_password {
                config = config.property("ssl.key.password", password);
            }
        }
        config.validate(OPERATION)?;
        Ok(config)
    }
}
