//! Taking over: what was given back in good order, what comes from an unclean end, what this member holds itself.

use std::sync::atomic::Ordering;

use fred::types::Value;
use zephcast_core::driver::{Batch, Credit, Fetched, Incoming};
use zephcast_core::{Result, Token};

use super::{OPERATION, RedisIntake, UNIT};
use crate::member::{RETURNED, SUSPECTS, Suspect, lock};
use crate::reply::{Frame, array, count, elements, entry_id, number};
use crate::scripts::{CLAIM, GIVE, RELIST, Script};
use crate::token;

/// Entries of one page.
const PAGE: usize = 100;

/// A suspect whose claim was sent and had no answer: it must not pass for an innocent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    retried: bool,
    id: Token,
    /// Its deliveries before the claim.
    count: u64,
}

/// One entry of a claim.
struct Claimed {
    retried: bool,
    id: Token,
    count: u64,
    fields: Frame,
}

impl RedisIntake {
    /// Takes what others gave back, as much as there is room for, while nothing is read.
    pub(super) async fn take_returned(&mut self, credit: Credit) -> Result<()> {
        let room = self.size.count(credit).min(PAGE);
        // Until the answer is here, some of it may be this member's unseen.
        let seen = self.relist.replace(("-".into(), "-".into()));
        let claimed = self.claim(RETURNED, room, None).await?;
        self.relist = seen;
        if claimed.len() < room {
            self.member.parked.none_returned();
        }
        let before = self.buffer.len();
        self.take_claimed(claimed)?;
        self.give_back_what_does_not_fit(before, room);
        Ok(())
    }

    fn take_claimed(&mut self, claimed: Vec<Claimed>) -> Result<()> {
        for entry in claimed {
            self.buffer.push(self.incoming(entry.id, entry.retried, entry.count, entry.fields, false)?);
        }
        Ok(())
    }

    /// Runs a script that answers with messages.
    async fn run_patiently(&mut self, script: &Script, arguments: impl Fn() -> Vec<Value>) -> Result<Frame> {
        let answer = self.member.try_run_patiently(self.patience, OPERATION, script, arguments).await?;
        match answer {
            Ok(answer) => {
                self.patience = (self.patience / 2).max(1);
                Ok(answer)
            }
            Err(failure) => {
                self.note_late(&failure);
                Err(failure.into_error(OPERATION))
            }
        }
    }

    /// Takes exactly one suspect, or says that there is none.
    pub(super) async fn one_suspect(&mut self) -> Result<Fetched> {
        while let Some(suspect) = self.first_suspect().await? {
            let token = token::of_entry(OPERATION, suspect.id, suspect.retried)?;
            // Before the claim: if its answer is lost, the entry is this member's all the same.
            lock(&self.member.suspects).insert(token, Suspect::claimed(suspect.count));
            self.doubt = Some(suspect);
            let claimed = self.claim(SUSPECTS, 1, Some(suspect)).await?;
            self.doubt = None;
            // Another member may have been quicker.
            let Some(entry) = claimed.into_iter().next() else {
                lock(&self.member.suspects).remove(&token);
                continue;
            };
            let incoming: Incoming = self.incoming(entry.id, entry.retried, entry.count, entry.fields, true)?;
            lock(&self.member.suspects).insert(token, Suspect::handed_out(suspect.count, incoming.attempt));
            return Ok(Fetched::Batch(Batch { unit: UNIT, messages: vec![incoming] }));
        }
        self.member.parked.suspects.store(0, Ordering::Relaxed);
        Ok(Fetched::Idle)
    }

    async fn first_suspect(&self) -> Result<Option<Doubt>> {
        let keys = &self.member.keys;
        for (key, retried) in [(&keys.retry, true), (&keys.stream, false)] {
            let arguments: Vec<Value> =
                [key, &keys.group, "-", "+", "1", SUSPECTS].into_iter().map(|text: &str| text.into()).collect();
            let answer = self.member.control.try_call(OPERATION, "XPENDING", Some(key), arguments).await?;
            let pending = match answer {
                Err(failure) if failure.has_code("NOGROUP") => continue,
                answer => answer.map_err(|failure| failure.into_error(OPERATION))?,
            };
            if let Some(first) = array(OPERATION, pending)?.into_iter().next() {
                let [id, _, _, deliveries] = elements(OPERATION, first)?;
                let count = count(OPERATION, &deliveries)?;
                return Ok(Some(Doubt { retried, id: entry_id(OPERATION, id)?, count }));
            }
        }
        Ok(None)
    }

    /// Gives a suspect back whose claim had no answer, with the count that it had.
    pub(super) async fn settle_doubt(&mut self) -> Result<()> {
        let Some(doubt) = self.doubt else { return Ok(()) };
        self.buffer.keep();
        self.member
            .run(OPERATION, &GIVE, &[], || {
                let retried = if doubt.retried { "1" } else { "0" };
                let id = token::id(doubt.id);
                vec![SUSPECTS.into(), "1".into(), retried.into(), id.into(), (doubt.count as i64).into()]
            })
            .await?;
        self.doubt = None;
        lock(&self.member.suspects).remove(&token::of_entry(OPERATION, doubt.id, doubt.retried)?);
        Ok(())
    }

    async fn claim(&mut self, from: &str, room: usize, only: Option<Doubt>) -> Result<Vec<Claimed>> {
        let answer = self.run_patiently(&CLAIM, || {
            let mut arguments: Vec<Value> = vec![from.into(), (room as i64).into()];
            if let Some(only) = only {
                arguments.push(if only.retried { "1" } else { "0" }.into());
                arguments.push(token::id(only.id).into());
            }
            arguments
        });
        let [gone, entries] = elements(OPERATION, answer.await?)?;
        self.note_gone(&gone)?;
        read_entries(entries)
    }

    /// One page of what the server says that this member holds.
    pub(super) async fn relist_some(&mut self, credit: Credit) -> Result<()> {
        let Some((after, retry_after)) = self.relist.clone() else { return Ok(()) };
        let page = self.size.count(credit).min(PAGE);
        let answer = self
            .run_patiently(&RELIST, || vec![after.as_str().into(), retry_after.as_str().into(), (page as i64).into()]);
        let [state, entries, more, gone] = elements(OPERATION, answer.await?)?;
        self.note_gone(&state)?;
        let (mut after, mut retry_after) = (after, retry_after);
        let mut passed = |id: Token, retried: bool| {
            *(if retried { &mut retry_after } else { &mut after }) = format!("({}", token::id(id));
        };
        let (listed, gone) = (read_entries(entries)?, read_gone(gone)?);
        // In the order of the list, whether gone or not.
        let mut ids: Vec<(bool, Token)> = listed.iter().map(|entry| (entry.retried, entry.id)).collect();
        // What there is no room for is this member's and stays so: it is listed again.
        let before = self.buffer.len();
        self.take_claimed(listed)?;
        let again = self.take_out_what_does_not_fit(before, page).messages.len();
        if again == 0 {
            ids.extend(&gone);
        } else {
            ids.truncate(ids.len() - again);
        }
        ids.sort_unstable();
        ids.into_iter().for_each(|(retried, id)| passed(id, retried));
        for (retried, id) in gone {
            let token = token::of_entry(OPERATION, id, retried)?;
            let mut known = lock(&self.member.gone);
            // What the engine holds it can still settle; what never arrived is told with the next renewal.
            if self.buffer.contains(token) { known.add_held([token]) } else { known.add_unsure([token]) }
        }
        self.relist = (count(OPERATION, &more)? > 0 || again > 0).then_some((after, retry_after));
        Ok(())
    }

    /// How many entries a script found to be gone from the stream for good; -1 when this member was replaced.
    fn note_gone(&self, gone: &Frame) -> Result<()> {
        match u64::try_from(number(OPERATION, gone)?) {
            Ok(gone) => self.member.lost_from_stream(gone),
            Err(_) => self.member.set_replaced(),
        }
        self.member.check_replaced(OPERATION)
    }
}

fn read_entries(entries: Frame) -> Result<Vec<Claimed>> {
    let read = |entry| {
        let [retried, id, deliveries, fields] = elements(OPERATION, entry)?;
        let retried = number(OPERATION, &retried)? == 1;
        Ok(Claimed { retried, id: entry_id(OPERATION, id)?, count: count(OPERATION, &deliveries)?, fields })
    };
    array(OPERATION, entries)?.into_iter().map(read).collect()
}

/// Whether it is of the retry stream, and the id.
fn read_gone(gone: Frame) -> Result<Vec<(bool, Token)>> {
    let read = |entry| {
        let [retried, id] = elements(OPERATION, entry)?;
        Ok((number(OPERATION, &retried)? == 1, entry_id(OPERATION, id)?))
    };
    array(OPERATION, gone)?.into_iter().map(read).collect()
}
