//! Tokens of assignments and epochs of the placement only grow, over crashes and restarts, and of all tokens given for
//! one work only the last is current.

use cairn_cluster::{Epoch, Token};

use super::Violation;

/// The greatest seen so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// The last token that an assignment gave.
    pub token: Token,
    /// The last epoch.
    pub epoch: Epoch,
}

impl Seen {
    /// An assignment gave `token`.
    pub fn token(&mut self, token: Token) -> Result<(), Violation> {
        if token <= self.token {
            let what = format!("token {token} was given after {}", self.token);
            return Err(Violation::new("tokens and epochs grow", what));
        }
        self.token = token;
        Ok(())
    }

    /// The placement is of `epoch`.
    pub fn epoch(&mut self, epoch: Epoch) -> Result<(), Violation> {
        if epoch < self.epoch {
            let what = format!("epoch {epoch} is read after {}", self.epoch);
            return Err(Violation::new("tokens and epochs grow", what));
        }
        self.epoch = epoch;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_token_and_an_older_epoch_are_found() {
        let mut seen = Seen::default();
        let token = |index| Token { reign: 1, index };
        assert!(seen.token(token(3)).is_ok() && seen.token(token(3)).is_err());
        assert!(seen.epoch(Epoch { reign: 1, index: 2 }).is_ok());
        assert!(seen.epoch(Epoch { reign: 1, index: 2 }).is_ok());
        assert!(seen.epoch(Epoch { reign: 0, index: 9 }).is_err());
    }
}
