//! Names in paths and queries.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One segment of a path, or one value of a query.
pub(super) fn escaped(name: &str) -> String {
    utf8_percent_encode(name, KEPT).to_string()
}

/// A value of a query that selects the names that begin with this, as a regular expression.
pub(super) fn beginning_with(prefix: &str) -> String {
    escaped(&format!("^{}", literal(prefix)))
}

/// The same for one name.
pub(super) fn exactly(name: &str) -> String {
    escaped(&format!("^{}$", literal(name)))
}

fn literal(text: &str) -> String {
    let mut expression = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        if c.is_ascii_punctuation() || c == ' ' {
            expression.push('\\');
        }
        expression.push(c);
    }
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_segment() {
        assert_eq!(escaped("/"), "%2F");
        assert_eq!(escaped("a b/ü?#%&+"), "a%20b%2F%C3%BC%3F%23%25%26%2B");
        assert_eq!(escaped("zephcast.orders-1_x~"), "zephcast.orders-1_x~");
    }

    #[test]
    fn no_sign_of_a_name_means_something_in_the_expression() {
        assert_eq!(literal("a.b*(c)[d]^$|\\+?{1} -"), r"a\.b\*\(c\)\[d\]\^\$\|\\\+\?\{1\}\ \-");
        assert_eq!(beginning_with("a."), "%5Ea%5C.");
        assert_eq!(exactly("ü"), "%5E%C3%BC%24");
    }
}
