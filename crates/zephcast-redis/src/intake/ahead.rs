//! Reading ahead: while a backlog lasts, the next read is asked for before the last one is taken apart, so that the server
//! has something to do meanwhile.

use zephcast_core::driver::Credit;

use super::RedisIntake;
use crate::reader::Reading;
use crate::reply::Frame;

/// Shorter reads are no backlog, and what there is less room for is not worth it.
const FROM: usize = 100;

impl RedisIntake {
    /// Asks for the next read if this one was full and what it brought leaves room for another. Never past news that have
    /// to be told first, and never when something of this read goes back: then its connection goes too.
    pub(super) fn read_ahead(&mut self, reading: Option<&Reading>, credit: Credit) {
        let Some(Reading { answer: Ok(frame), .. }) = reading else { return };
        let (Some(reader), None) = (&mut self.reader, &self.relist) else { return };
        let Weight { entries, bytes, largest } = Weight::of(frame);
        let left = Credit {
            messages: credit.messages.saturating_sub(entries),
            bytes: credit.bytes.saturating_sub(bytes),
            suspect: false,
        };
        let is_backlog = entries >= FROM && entries >= reader.asked();
        if is_backlog && left.messages >= FROM && left.bytes > 0 && !self.member.parked.has_news_of_suspects() {
            self.size.learn(entries, largest);
            reader.ask(self.size.count(left), self.patience);
        }
    }
}

/// How much a reply brought.
#[derive(Debug, Default, PartialEq, Eq)]
struct Weight {
    entries: usize,
    /// Of all fields; at least what the messages have.
    bytes: usize,
    largest: usize,
}

impl Weight {
    fn of(streams: &Frame) -> Self {
        let mut weight = Self::default();
        for entry in parts(streams).iter().filter_map(|stream| parts(stream).get(1)).flat_map(parts) {
            let fields = parts(entry).get(1).map_or(&[][..], parts);
            let bytes = fields.iter().map(length).sum();
            weight.entries += 1;
            weight.bytes += bytes;
            weight.largest = weight.largest.max(bytes);
        }
        weight
    }
}

fn parts(frame: &Frame) -> &[Frame] {
    match frame {
        Frame::Array { data, .. } | Frame::Push { data, .. } => data,
        _ => &[],
    }
}

fn length(frame: &Frame) -> usize {
    match frame {
        Frame::BlobString { data, .. } | Frame::SimpleString { data, .. } | Frame::VerbatimString { data, .. } => {
            data.len()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_reply_is_weighed_by_its_fields() {
        let text =
            |text: &'static str| Frame::BlobString { data: Bytes::from_static(text.as_bytes()), attributes: None };
        let list = |data: Vec<Frame>| Frame::Array { data, attributes: None };
        let entry = |payload| list(vec![text("5-0"), list(vec![text("data"), text(payload)])]);
        let stream = |key, entries| list(vec![text(key), list(entries)]);
        let reply = list(vec![stream("retry", vec![entry("1")]), stream("s", vec![entry("four"), entry("")])]);
        assert_eq!(Weight::of(&reply), Weight { entries: 3, bytes: 17, largest: 8 });
        assert_eq!(Weight::of(&Frame::Null), Weight::default());
    }
}
