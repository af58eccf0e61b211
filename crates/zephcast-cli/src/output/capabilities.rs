//! A broker's capabilities as a record.

use serde::Serialize;
use zephcast::{Capabilities, Order, PositionStyle};

/// What a broker can do, in words and flags.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    positions: &'static str,
    order: &'static str,
    assigns_units: bool,
    leases: bool,
    start_latest: bool,
    start_time: bool,
    start_position: bool,
    nulls: bool,
    duplicate_headers: bool,
    binary_header_names: bool,
    max_payload: Option<usize>,
    keeps_without_group: bool,
    browse: bool,
    seek: bool,
    partitions: bool,
    idempotent_publish: bool,
    durable: bool,
}

impl From<&Capabilities> for Shown {
    fn from(capabilities: &Capabilities) -> Self {
        Self {
            positions: match capabilities.positions {
                PositionStyle::UnitOffset => "unit_offset",
                PositionStyle::EntryId => "entry_id",
                PositionStyle::Tag => "tag",
                _ => "other",
            },
            order: match capabilities.order {
                Order::None => "none",
                Order::Unit => "unit",
                Order::SingleMember => "single_member",
                _ => "other",
            },
            assigns_units: capabilities.assigns_units,
            leases: capabilities.leases,
            start_latest: capabilities.starts.latest,
            start_time: capabilities.starts.time,
            start_position: capabilities.starts.position,
            nulls: capabilities.nulls,
            duplicate_headers: capabilities.duplicate_headers,
            binary_header_names: capabilities.binary_header_names,
            max_payload: capabilities.max_payload,
            keeps_without_group: capabilities.keeps_without_group,
            browse: capabilities.browse,
            seek: capabilities.seek,
            partitions: capabilities.partitions,
            idempotent_publish: capabilities.idempotent_publish,
            durable: capabilities.durable,
        }
    }
}

impl Shown {
    /// A few lines for people.
    pub(crate) fn text(&self) -> String {
        let starts = [
            ("earliest", true),
            ("latest", self.start_latest),
            ("time", self.start_time),
            ("position", self.start_position),
        ];
        let flags = [
            ("assigns units", self.assigns_units),
            ("leases", self.leases),
            ("null values", self.nulls),
            ("duplicate headers", self.duplicate_headers),
            ("binary header names", self.binary_header_names),
            ("keeps without a group", self.keeps_without_group),
            ("browsing", self.browse),
            ("moving groups", self.seek),
            ("partitions", self.partitions),
            ("idempotent publish", self.idempotent_publish),
            ("durable", self.durable),
        ];
        let named = |flags: &[(&'static str, bool)], wanted: bool| {
            let names: Vec<_> = flags.iter().filter(|(_, flag)| *flag == wanted).map(|(name, _)| *name).collect();
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        };
        let most = self.max_payload.map_or_else(|| "?".into(), |bytes| format!("{bytes} bytes"));
        format!(
            "  can: {}\n  cannot: {}\n  a new group starts at {}\n  positions: {}, order by {}, largest payload {most}",
            named(&flags, true),
            named(&flags, false),
            named(&starts, true),
            self.positions,
            self.order,
        )
    }
}
