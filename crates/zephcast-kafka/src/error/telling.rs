//! What the client library tells outside of calls: a code with a text that names the broker and says more.

use rdkafka::error::RDKafkaErrorCode as Code;
use zephcast_core::{Error, ErrorKind};

use super::{error, meaning, one_line};

/// What was told, and how much it says.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// Trying again cannot help: credentials, trust, rights.
    Final(Error),
    /// It looks as if trying again could not help. A broker that is going down looks the same.
    Suspect(Error),
    /// It may pass.
    Passing(Error),
    /// It follows from what was told before, and says nothing more.
    Vague(Error),
}

/// Signs in a text, in lower case, and what they mean. The first one counts.
const SIGNS: [(&str, Sign, &str); 13] = [
    ("certificate verify failed", Sign::Final, DISTRUST),
    ("0a000086", Sign::Final, DISTRUST),
    ("client ssl authentication might be required", Sign::Final, IDENTITY),
    ("alert certificate", Sign::Final, IDENTITY),
    ("alert bad certificate", Sign::Final, IDENTITY),
    ("alert unknown ca", Sign::Final, IDENTITY),
    ("wrong version number", Sign::Final, "the broker does not talk TLS on this port: use kafka://, or another port"),
    ("unsupported protocol", Sign::Final, "the broker has no version of TLS in common with this client"),
    ("handshake failure", Sign::Final, "the broker and this client have no way of TLS in common"),
    (
        "request not valid in current sasl state",
        Sign::Final,
        "the broker asks for no user on this port: use the port of a listener that does, or no user",
    ),
    (
        "connecting to a plaintext broker listener",
        Sign::Suspicion,
        "the broker ends the connection at the first word of TLS: use kafka://, or the port of a TLS listener",
    ),
    ("connecting to a ssl listener", Sign::Suspicion, ENCRYPTED),
    ("broker might require sasl authentication", Sign::Suspicion, ASKS_FOR_USER),
];

const DISTRUST: &str = "the broker's certificate is not trusted: it is expired, not valid for this host's name, or not \
                        from an authority that is trusted (`tls-ca` names one)";
const IDENTITY: &str = "the broker does not take the client's certificate, or asks for one and got none: see `tls-cert` \
                        and `tls-key`";
const ENCRYPTED: &str =
    "the broker ends the connection at the first word in plain text: use kafka+ssl://, or another port";
const ASKS_FOR_USER: &str = "the broker ends the connection at the first question: its listener may ask for a user";

#[derive(Clone, Copy)]
enum Sign {
    Final,
    Suspicion,
}

/// Makes what the client library told outside of a call an error of ours.
pub(crate) fn told(operation: &'static str, code: Code, reason: &str) -> Told {
    let server = server_of(reason).map(|server| format!("{server}: ")).unwrap_or_default();
    if let Some((sign, means)) = sign_of(reason) {
        let error = error(ErrorKind::Auth, operation, format!("{server}{means}")).caused_by(Reason::of(code, reason));
        return match sign {
            Sign::Final => Told::Final(error),
            Sign::Suspicion => Told::Suspect(error),
        };
    }
    let (kind, means) = meaning::meaning(code);
    let said = match code {
        Code::Authentication => credentials(reason),
        Code::BrokerTransportFailure if reason.contains("Connection refused") => "nobody listens there".to_owned(),
        _ => means.to_owned(),
    };
    let error = error(kind, operation, format!("{server}{said}")).caused_by(Reason::of(code, reason));
    match kind {
        ErrorKind::Auth | ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::InvalidInput => {
            Told::Final(error)
        }
        _ if code == Code::AllBrokersDown => Told::Vague(error),
        _ => Told::Passing(error),
    }
}

fn sign_of(reason: &str) -> Option<(Sign, &'static str)> {
    let reason = reason.to_ascii_lowercase();
    let named = SIGNS.iter().find(|(sign, _, _)| reason.contains(sign)).map(|(_, sign, means)| (*sign, *means));
    named.or_else(|| ended_early(&reason).map(|means| (Sign::Suspicion, means)))
}

/// What it means that a broker ends a connection that has hardly begun. The library says no more than when that was.
fn ended_early(reason: &str) -> Option<&'static str> {
    let (said, when) = reason.split_once(": disconnected: ")?.1.split_once("(after ")?;
    let (milliseconds, state) = when.split_once("ms in state ")?;
    let state = state.split([',', ')']).next()?;
    let is_plain = !reason.contains("ssl://") && !said.contains("ssl");
    match (state, milliseconds.parse::<u32>().ok()?) {
        ("apiversion_query", _) if is_plain => Some(ENCRYPTED),
        ("up", 0..2_000) if !reason.contains("sasl_plaintext://") && !reason.contains("sasl_ssl://") => {
            Some(ASKS_FOR_USER)
        }
        _ => None,
    }
}

/// Why credentials were refused, as far as the library says.
fn credentials(reason: &str) -> String {
    if let Some((_, why)) = reason.split_once("Failed to acquire SASL OAUTHBEARER token:") {
        return format!("the token provider gave no token: {}", one_line(why));
    }
    match reason.split_once("supported mechanisms: ") {
        Some((_, known)) => {
            let known = known.split(" (").next().unwrap_or_default();
            format!("the broker does not take this SASL mechanism, but {}: see `sasl`", one_line(known))
        }
        None => "the credentials were refused".to_owned(),
    }
}

/// The broker that a text begins with: `sasl_ssl://host:port/bootstrap: ...`, `GroupCoordinator: host:port: ...`.
fn server_of(reason: &str) -> Option<&str> {
    reason.split(": ").take(3).filter(|part| !part.starts_with("[thrd:")).find_map(|part| {
        let part = part.split_once("://").map_or(part, |(_, rest)| rest);
        let part = part.split_once('/').map_or(part, |(server, _)| server);
        let (host, port) = part.rsplit_once(':')?;
        (!host.is_empty() && !host.contains(' ') && port.parse::<u16>().is_ok()).then_some(part)
    })
}

/// What the client library said, word for word.
#[derive(Clone, Debug)]
pub(crate) struct Reason {
    code: Code,
    text: String,
}

impl Reason {
    fn of(code: Code, text: &str) -> Self {
        Self { code, text: one_line(text) }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.code, self.text)
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(told: &Told) -> (&'static str, &Error) {
        match told {
            Told::Final(error) => ("final", error),
            Told::Suspect(error) => ("suspect", error),
            Told::Passing(error) => ("passing", error),
            Told::Vague(error) => ("vague", error),
        }
    }

    #[test]
    fn what_the_library_tells_has_its_weight_kind_and_place() {
        for (code, reason, weight, expected, part) in [
            (
                Code::Authentication,
                "sasl_plaintext://127.0.0.1:21401/bootstrap: SASL authentication error: Authentication failed during \
                 authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512 (after 3ms in state AUTH_REQ)",
                "final",
                ErrorKind::Auth,
                "127.0.0.1:21401: the credentials were refused",
            ),
            (
                Code::SSL,
                "ssl://h.example:9093/1: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: \
                 broker certificate could not be verified",
                "final",
                ErrorKind::Auth,
                "h.example:9093: the broker's certificate is not trusted",
            ),
            (
                Code::BrokerTransportFailure,
                "ssl://[::1]:9092/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
                "suspect",
                ErrorKind::Auth,
                "[::1]:9092: the broker ends the connection",
            ),
            (
                Code::BrokerTransportFailure,
                "[thrd:127.0.0.1:27546/bootstrap]: 127.0.0.1:27546/bootstrap: Disconnected: connection closed by peer: \
                 receive 0 after POLLIN (after 3ms in state APIVERSION_QUERY)",
                "suspect",
                ErrorKind::Auth,
                "127.0.0.1:27546: the broker ends the connection at the first word in plain text",
            ),
            (
                Code::BrokerTransportFailure,
                "[thrd:ssl://127.0.0.1:31014/bootstrap]: ssl://127.0.0.1:31014/bootstrap: Disconnected: SSL connection \
                 closed by peer (after 0ms in state UP, 1 identical error(s) suppressed)",
                "suspect",
                ErrorKind::Auth,
                "may ask for a user",
            ),
            (
                Code::BrokerTransportFailure,
                "sasl_ssl://127.0.0.1:31014/0: Disconnected: SSL connection closed by peer (after 0ms in state UP)",
                "passing",
                ErrorKind::Unavailable,
                "the connection to the broker is gone",
            ),
            (
                Code::BrokerTransportFailure,
                "127.0.0.1:31014/0: Disconnected: connection closed by peer (after 7201ms in state UP)",
                "passing",
                ErrorKind::Unavailable,
                "the connection to the broker is gone",
            ),
            (
                Code::BrokerTransportFailure,
                "ssl://127.0.0.1:27546/bootstrap: Receive failed: error:0A000412:SSL routines::sslv3 alert bad \
                 certificate: SSL alert number 42 (after 0ms in state APIVERSION_QUERY)",
                "final",
                ErrorKind::Auth,
                "asks for one and got none",
            ),
            (
                Code::Authentication,
                "sasl_ssl://127.0.0.1:31014/bootstrap: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported \
                 SASL mechanism: broker's supported mechanisms: PLAIN,SCRAM-SHA-256 (after 309ms in state AUTH_HANDSHAKE)",
                "final",
                ErrorKind::Auth,
                "this SASL mechanism, but PLAIN,SCRAM-SHA-256: see `sasl`",
            ),
            (
                Code::Authentication,
                "sasl_plaintext://127.0.0.1:30517/bootstrap: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Request \
                 not valid in current SASL state: broker's supported mechanisms:  (after 2ms in state AUTH_HANDSHAKE)",
                "final",
                ErrorKind::Auth,
                "asks for no user on this port",
            ),
            (
                Code::ClusterAuthorizationFailed,
                "Failed to acquire idempotence PID from broker sasl_ssl://127.0.0.1:31014/0: Broker: Cluster authorization \
                 failed",
                "final",
                ErrorKind::PermissionDenied,
                "not allowed to do it on the cluster, or to write to any topic",
            ),
            (
                Code::BrokerTransportFailure,
                "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused",
                "passing",
                ErrorKind::Unavailable,
                "127.0.0.1:1: nobody listens there",
            ),
            (
                Code::AllBrokersDown,
                "1/1 brokers are down",
                "vague",
                ErrorKind::Unavailable,
                "connect on kafka: no broker",
            ),
            (
                Code::Authentication,
                "Failed to acquire SASL OAUTHBEARER token: the vault is\nsealed",
                "final",
                ErrorKind::Auth,
                "gave no token: the vault is sealed",
            ),
        ] {
            let told = told("connect", code, reason);
            let (is, error) = kind(&told);
            assert_eq!((is, error.kind()), (weight, expected), "{reason}");
            assert!(error.to_string().contains(part), "{error}");
            assert!(std::error::Error::source(error).is_some(), "{error}");
        }
    }
}
