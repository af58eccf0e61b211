//! Headers of a message: an ordered list of names and values, byte-exact.

use std::fmt;

use bytes::Bytes;

/// Names that begin so are zephcast's own; a caller cannot set them.
pub const RESERVED_PREFIX: &str = "zephcast-";

/// Headers in order, duplicates kept. A value can be absent (null) or any bytes; a name can be any bytes.
///
/// What a broker cannot carry (a null value, say) is refused when the message is published, never changed silently.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Bytes, Option<Bytes>)>);

impl Headers {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a header at the end; one of the same name stays.
    pub fn append(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.0.push((name.into(), Some(value.into())));
    }

    /// Adds a header whose value is absent (null).
    pub fn append_null(&mut self, name: impl Into<Bytes>) {
        self.0.push((name.into(), None));
    }

    /// The value of the first header of this name: `None` when there is none or it is null.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().find(|(n, _)| n == name.as_bytes()).and_then(|(_, value)| value.as_ref())
    }

    /// The first value of this name as text: `None` when it is absent or not UTF-8.
    #[must_use]
    pub fn first_str(&self, name: &str) -> Option<&str> {
        self.first(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Removes every header of this name and returns how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.0.len();
        self.0.retain(|(n, _)| n != name.as_bytes());
        before - self.0.len()
    }

    /// Every header in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Bytes, Option<&Bytes>)> {
        self.0.iter().map(|(name, value)| (name, value.as_ref()))
    }

    /// How many headers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The size of all names and values in bytes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len)).sum()
    }
}

impl IntoIterator for Headers {
    type Item = (Bytes, Option<Bytes>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(Bytes, Option<Bytes>)> for Headers {
    fn from_iter<T: IntoIterator<Item = (Bytes, Option<Bytes>)>>(headers: T) -> Self {
        Self(headers.into_iter().collect())
    }
}

/// Shows names and sizes; values can be secrets.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, value)| {
                let size = value.as_ref().map_or_else(|| "null".to_owned(), |value| format!("{} bytes", value.len()));
                (String::from_utf8_lossy(name).into_owned(), size)
            }))
            .finish()
    }
}
