//! The settings in the client library's words.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use secrecy::ExposeSecret;

use super::{KafkaConfig, Sasl};

impl KafkaConfig {
    /// What every client of the library is made with.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // The library says by log lines alone why a connection ended. It is asked for more only by `debug`.
        let debugs = self.properties.iter().any(|(name, _)| name == "debug");
        config.set_log_level(if debugs { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        let setup = self.connect_timeout.as_millis().clamp(1_000, 300_000);
        config
            .set("bootstrap.servers", self.servers())
            .set("socket.timeout.ms", self.request_timeout.as_millis().to_string())
            .set("socket.connection.setup.timeout.ms", setup.to_string())
            .set("socket.nagle.disable", "true")
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "1000");
        self.set_security(&mut config);
        self.set_properties(&mut config);
        config
    }

    fn set_security(&self, config: &mut ClientConfig) {
        let mechanism = self.mechanism();
        let protocol = match (mechanism, &self.tls) {
            (Some(_), Some(_)) => "sasl_ssl",
            (Some(_), None) => "sasl_plaintext",
            (None, Some(_)) => "ssl",
            (None, None) => "plaintext",
        };
        config.set("security.protocol", protocol);
        if let Some(mechanism) = mechanism {
            config.set("sasl.mechanism", mechanism.mechanism());
            if mechanism != Sasl::OauthBearer {
                let password = self.password.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
                config.set("sasl.username", self.user.as_deref().unwrap_or_default()).set("sasl.password", password);
            }
        }
        if let Some(tls) = &self.tls {
            config.set("enable.ssl.certificate.verification", "true");
            config.set("ssl.endpoint.identification.algorithm", "https");
            if let Some(ca) = &tls.ca {
                config.set("ssl.ca.location", ca.to_string_lossy());
            }
            if let Some((chain, key)) = &tls.identity {
                config.set("ssl.certificate.location", chain.to_string_lossy());
                config.set("ssl.key.location", key.to_string_lossy());
            }
        }
    }

    /// What must never be seen in what the library says.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let password = self.password.iter();
        let properties = self.properties.iter().filter(|(name, _)| super::property::is_secret(name));
        password.chain(properties.map(|(_, value)| value)).map(ExposeSecret::expose_secret)
    }
}
