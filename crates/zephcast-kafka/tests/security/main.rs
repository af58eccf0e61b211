//! Who may do what, and who is who: each wrong thing is an error of its kind, at once, that says where and what to do, and
//! no secret appears in it or in the log, with all that the client library can say.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, helpers included")]

mod connecting;
mod lab;
mod rights;
mod tokens;
