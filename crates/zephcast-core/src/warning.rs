//! What is wrong, told to people and programs.

/// Something risky, missing or wrong at the broker, which is no failure of the call that found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// A word for programs, in snake case.
    pub kind: &'static str,
    /// What was found.
    pub message: String,
    /// What to do.
    pub advice: String,
}
