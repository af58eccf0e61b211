//! What is wrong, told to people and programs.

use std::fmt;

/// Something risky, missing or wrong at the broker, which is no failure of the call that found it.
///
/// `Display` is one line, with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// A word for programs, in snake case.
    pub kind: &'static str,
    /// What was found.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl Warning {
    /// For drivers.
    pub fn new(kind: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { kind, message: message.into(), advice: advice.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, message, advice } = self;
        write!(f, "{kind}: {message}; {advice}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_wrong_and_what_to_do() {
        let warning = Warning::new("alarm", "the node takes no messages", "free memory");
        assert_eq!(warning.to_string(), "alarm: the node takes no messages; free memory");
    }
}
