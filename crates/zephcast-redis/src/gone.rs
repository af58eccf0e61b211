//! What this member holds and its stream no longer has, because somebody trimmed it meanwhile.

use std::collections::HashSet;

use zephcast_core::Token;

/// Nobody else can take these, and nothing is left to ack at the server: a handler may still finish them.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    held: HashSet<Token>,
    /// Listed by the server, and perhaps never arrived here.
    unsure: HashSet<Token>,
}

impl Gone {
    /// The engine or the intake has these.
    pub(crate) fn add_held(&mut self, tokens: impl IntoIterator<Item = Token>) {
        self.held.extend(tokens);
    }

    /// The server said that these were this member's; the engine may never have seen them.
    pub(crate) fn add_unsure(&mut self, tokens: impl IntoIterator<Item = Token>) {
        self.unsure.extend(tokens);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.unsure.is_empty()
    }

    pub(crate) fn contains(&self, token: &Token) -> bool {
        self.held.contains(token) || self.unsure.contains(token)
    }

    /// It is settled or given back; whether it was among these.
    pub(crate) fn remove(&mut self, token: &Token) -> bool {
        self.held.remove(token) | self.unsure.remove(token)
    }

    /// Tells by everything that the engine holds which ones never arrived, and returns how many: nobody will handle
    /// them.
    pub(crate) fn sort_out(&mut self, held: &[Token]) -> u64 {
        if self.unsure.is_empty() {
            return 0;
        }
        let unsure = std::mem::take(&mut self.unsure);
        let arrived: HashSet<Token> = held.iter().copied().filter(|token| unsure.contains(token)).collect();
        let lost = unsure.len() - arrived.len();
        self.held.extend(arrived);
        lost as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_arrived_is_told_from_what_is_held() {
        let mut gone = Gone::default();
        gone.add_unsure([Token(1, 0), Token(2, 0), Token(3, 0)]);
        gone.add_held([Token(4, 0)]);
        assert!(gone.remove(&Token(3, 0)), "settled before anybody asked");
        assert_eq!(gone.sort_out(&[Token(1, 0), Token(9, 0)]), 1);
        assert!(gone.contains(&Token(1, 0)) && !gone.contains(&Token(2, 0)) && gone.contains(&Token(4, 0)));
        assert_eq!(gone.sort_out(&[]), 0, "what the engine had once it settles or gives back");
    }
}
