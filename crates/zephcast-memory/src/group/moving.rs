//! Moving a group, and ending one.

use zephcast_core::driver::has_members;
use zephcast_core::{Broker, Result, Start};

use super::Open;

impl Open<'_> {
    /// Goes on from there.
    ///
    /// # Errors
    /// `Conflict` while members live; `InvalidInput` when the start is a position that the stream cannot have.
    pub(crate) fn seek(&mut self, operation: &'static str, to: Start) -> Result<()> {
        self.check_idle(operation)?;
        let cursors = self.stream.cursors(to)?;
        for (unit, cursor) in self.state.units.iter_mut().zip(cursors) {
            unit.seek(cursor);
        }
        Ok(())
    }

    /// Ends the group. Members whose lease is over hear of it when they come back.
    ///
    /// # Errors
    /// `Conflict` while members live.
    pub(crate) fn delete(&mut self, operation: &'static str) -> Result<()> {
        self.check_idle(operation)?;
        self.state.deleted = true;
        self.stream.wake();
        Ok(())
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.state.deleted
    }

    fn check_idle(&self, operation: &'static str) -> Result<()> {
        let living = self.state.roster.iter().filter(|(_, member)| member.alive);
        let names: Vec<String> = living.map(|(_, member)| member.name.to_string()).collect();
        match names.is_empty() {
            true => Ok(()),
            false => Err(has_members(operation, self.group, &names).on(Broker::Memory)),
        }
    }
}
