//! Beside programs of others, which know the broker and nothing of zephcast.

mod dead_letters;
mod early;
mod interop;
mod logs;
mod other;
mod owned;
mod status;
mod suspects;
mod unreadable;
