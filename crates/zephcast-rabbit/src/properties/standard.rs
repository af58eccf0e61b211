//! The standard properties of an AMQP message, shown as and set by headers.
//!
//! | header | value |
//! |---|---|
//! | `amqp.content-type`, `amqp.content-encoding`, `amqp.correlation-id`, `amqp.reply-to`, `amqp.type`, `amqp.user-id`, `amqp.app-id`, `amqp.cluster-id` | text of at most 255 bytes |
//! | `amqp.expiration` | milliseconds, at most 4294967295 |
//! | `amqp.priority` | 0 to 255 |
//! | `amqp.timestamp` | seconds since the Unix epoch; set to the time of publishing without it, and not shown then |
//! | `amqp.delivery-mode` | shown when a foreign message is not persistent; cannot be set |

use lapin::BasicProperties;
use lapin::types::ShortString;
use zephcast_core::Result;

use super::MAX_SHORT;
use super::kept::DIRECT_REPLY;
use crate::error::invalid;

/// With which their headers begin.
pub(super) const PREFIX: &str = "amqp.";
pub(super) const EXPIRATION: &str = "amqp.expiration";
pub(super) const REPLY_TO: &str = "amqp.reply-to";
pub(super) const USER_ID: &str = "amqp.user-id";
pub(super) const DELIVERY_MODE: &str = "amqp.delivery-mode";
const PRIORITY: &str = "amqp.priority";
const TIMESTAMP: &str = "amqp.timestamp";
/// Survives a restart of the broker.
pub(super) const PERSISTENT: u8 = 2;

/// A property that is text.
struct Text {
    header: &'static str,
    of: fn(&BasicProperties) -> &Option<ShortString>,
    set: fn(BasicProperties, ShortString) -> BasicProperties,
}

/// Every one but `message_id`, which is the id.
const TEXTS: [Text; 9] = [
    text("amqp.app-id", BasicProperties::app_id, BasicProperties::with_app_id),
    text("amqp.cluster-id", BasicProperties::cluster_id, BasicProperties::with_cluster_id),
    text("amqp.content-encoding", BasicProperties::content_encoding, BasicProperties::with_content_encoding),
    text("amqp.content-type", BasicProperties::content_type, BasicProperties::with_content_type),
    text("amqp.correlation-id", BasicProperties::correlation_id, BasicProperties::with_correlation_id),
    text(EXPIRATION, BasicProperties::expiration, BasicProperties::with_expiration),
    text(REPLY_TO, BasicProperties::reply_to, BasicProperties::with_reply_to),
    text("amqp.type", BasicProperties::kind, BasicProperties::with_type),
    text(USER_ID, BasicProperties::user_id, BasicProperties::with_user_id),
];

const fn text(
    header: &'static str,
    of: fn(&BasicProperties) -> &Option<ShortString>,
    set: fn(BasicProperties, ShortString) -> BasicProperties,
) -> Text {
    Text { header, of, set }
}

/// The properties that are text, without the id.
pub(super) fn texts(properties: &BasicProperties) -> impl Iterator<Item = &ShortString> {
    TEXTS.iter().filter_map(|text| (text.of)(properties).as_ref())
}

/// Hands over each header as which a property is shown. The timestamp is not shown when it `is_ours`.
pub(super) fn show(
    properties: &BasicProperties,
    is_ours: impl FnOnce(u64) -> bool,
    mut header: impl FnMut(&'static str, &[u8]),
) {
    for text in &TEXTS {
        if let Some(value) = (text.of)(properties) {
            header(text.header, value.as_str().as_bytes());
        }
    }
    if let Some(priority) = *properties.priority() {
        header(PRIORITY, priority.to_string().as_bytes());
    }
    if let Some(seconds) = properties.timestamp().filter(|seconds| !is_ours(*seconds)) {
        header(TIMESTAMP, seconds.to_string().as_bytes());
    }
    if let Some(mode) = properties.delivery_mode().filter(|mode| *mode != PERSISTENT) {
        header(DELIVERY_MODE, mode.to_string().as_bytes());
    }
}

/// Sets the property that `header` stands for.
///
/// # Errors
/// [`InvalidInput`](zephcast_core::ErrorKind::InvalidInput) when there is none, it is set already, or it cannot be `value`.
pub(super) fn set(properties: BasicProperties, header: &str, value: &[u8]) -> Result<BasicProperties> {
    let refuse = |why: &str| Err(invalid("publish", format!("the header {header:?} {why}")));
    let twice = "occurs twice";
    match header {
        PRIORITY if properties.priority().is_some() => refuse(twice),
        PRIORITY => match canonical::<u8>(value) {
            Some(priority) => Ok(properties.with_priority(priority)),
            None => refuse("is no number from 0 to 255"),
        },
        TIMESTAMP if properties.timestamp().is_some() => refuse(twice),
        TIMESTAMP => match canonical::<u64>(value) {
            Some(seconds) => Ok(properties.with_timestamp(seconds)),
            None => refuse("is no number of seconds"),
        },
        DELIVERY_MODE => refuse("cannot be set: every message is persistent"),
        _ => {
            let Some(text) = TEXTS.iter().find(|text| text.header == header) else {
                return refuse(&format!("is no property of AMQP; those are {}", known()));
            };
            if (text.of)(&properties).is_some() {
                return refuse(twice);
            }
            match checked(header, value) {
                Ok(value) => Ok((text.set)(properties, value.into())),
                Err(why) => refuse(why),
            }
        }
    }
}

/// The value of a property that is text, or why it cannot be that.
fn checked<'a>(header: &str, value: &'a [u8]) -> Result<&'a str, &'static str> {
    let value = std::str::from_utf8(value).map_err(|_| "is not UTF-8")?;
    if value.len() > MAX_SHORT {
        return Err("has more than 255 bytes");
    }
    match header {
        EXPIRATION if canonical::<u32>(value.as_bytes()).is_none() => Err("is no number of milliseconds below 2^32"),
        REPLY_TO if value == DIRECT_REPLY => Err("asks for answers on the channel that publishes, which cannot be had"),
        _ => Ok(value),
    }
}

/// The number that is written exactly so, so that it is shown as it was set.
fn canonical<N: std::str::FromStr + ToString>(value: &[u8]) -> Option<N> {
    let text = std::str::from_utf8(value).ok()?;
    text.parse::<N>().ok().filter(|number| number.to_string() == text)
}

fn known() -> String {
    TEXTS.iter().map(|text| text.header).chain([PRIORITY, TIMESTAMP]).collect::<Vec<_>>().join(", ")
}
