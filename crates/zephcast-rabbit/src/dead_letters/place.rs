//! The place of a dead letter in a queue that has none: when it failed last, what it is, and how many letters that are
//! alike lie behind it.
//!
//! Alike are letters that failed at the same moment, or of which nobody says when, and of which nothing that counts
//! tells one from the other, as two that another program put there without an id. Any of them will do for the place of
//! each, so what a place has to tell is how many there are. They are counted from the end, since a redrive takes the
//! first ones: those that it leaves have the places that they had, and a page goes on after letters that are gone.

use zephcast_core::Token;

/// In the lower bits of the second number is how many lie behind it. The rest tells letters of one moment apart.
const BITS: u32 = 20;

/// So many lie behind a letter, or more: all these letters share a place. After it so many are shown, so that pages end;
/// what is left out is like what is shown, and is there at the next time.
pub(super) const MOST_BEHIND: u64 = (1 << BITS) - 1;

/// The last place of a kind: of letters that failed then and have this fingerprint. One that is like no other lies there.
pub(super) fn kind(moment: u64, print: u64) -> Token {
    Token(moment, print & !MOST_BEHIND)
}

/// The last place of the kind that has this one.
pub(super) fn kind_of(Token(moment, print): Token) -> Token {
    kind(moment, print)
}

/// A place of a kind.
pub(super) fn before(Token(moment, print): Token, behind: u64) -> Token {
    Token(moment, print | behind.min(MOST_BEHIND))
}

/// How many of its kind lie behind a place.
pub(super) fn behind(Token(_, print): Token) -> u64 {
    print & MOST_BEHIND
}
