//! The settling half of a member.

mod give;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fred::types::Value;
use futures_util::future::try_join_all;
use zephcast_core::driver::{Disposition, Renewal, Returned, Settlement, Settler};
use zephcast_core::{ErrorKind, Result, Token, UnitId};

use crate::error::error;
use crate::intake::UNIT;
use crate::keeper::Keeper;
use crate::member::{Member, lock, mark};
use crate::reader::unblock;
use crate::reply::{Frame, array, count, elements, number};
use crate::scripts::{ACK, RENEW};
use crate::token::Ids;

/// The most ids of one script.
const PAGE: usize = 1_000;

pub(crate) struct RedisSettler {
    member: Arc<Member>,
    keeper: Keeper,
}

impl RedisSettler {
    pub(crate) fn new(member: Arc<Member>, keeper: Keeper) -> Self {
        Self { member, keeper }
    }
}

#[async_trait]
impl Settler for RedisSettler {
    async fn settle(&self, settlement: &Settlement) -> Result<Vec<(UnitId, Token)>> {
        let settled = self.settle_all(settlement).await;
        if settled.is_err() {
            // What was to be settled is not renewed any more: soon others may take it.
            lock(&self.member.fence).doubt();
        }
        Ok(settled?.into_iter().map(|token| (UNIT, token)).collect())
    }

    async fn renew(&self, renewal: Renewal) -> Result<Vec<(UnitId, Token)>> {
        let mut held: Vec<Token> = renewal.held.into_iter().flat_map(|held| held.tokens).collect();
        let lost_from_stream = {
            let mut gone = lock(&self.member.gone);
            let lost = gone.sort_out(&held);
            held.retain(|token| !gone.contains(token));
            lost
        };
        self.member.lost_from_stream(lost_from_stream);
        held.extend(lock(&self.member.buffered).iter());
        let oldest = renewal.oldest.map_or(0, |oldest| i64::try_from(oldest.as_millis()).unwrap_or(i64::MAX));
        let mut lost = Vec::new();
        let mut first = None;
        let mut pages = held.chunks(PAGE);
        // Also without anything held, since it says that the member lives.
        let mut page = pages.next().unwrap_or_default();
        loop {
            let now = self.renew_page(page, oldest, &mut lost).await?;
            first = first.or(Some(now));
            match pages.next() {
                Some(next) => page = next,
                None => break,
            }
        }
        if let Some(now) = first {
            lock(&self.member.fence).renewed(now);
        }
        let mut buffered = lock(&self.member.buffered);
        lost.retain(|token| !buffered.remove(token));
        Ok(lost.into_iter().map(|token| (UNIT, token)).collect())
    }

    fn interrupt(&self) {
        self.member.interrupts.notify_one();
    }

    async fn leave(&self, returned: Vec<Returned>, deadline: Duration) -> Result<()> {
        self.keeper.stop();
        let leaving = async {
            self.give_back(&returned).await?;
            // What a read still brings goes back too.
            unblock(&self.member).await;
            self.forget_member().await
        };
        tokio::time::timeout(deadline, leaving).await.unwrap_or_else(|_| {
            let text = format!("did not leave within {deadline:?}; others take over after the lease");
            Err(error(ErrorKind::Timeout, "leave", text))
        })
    }
}

impl RedisSettler {
    async fn settle_all(&self, settlement: &Settlement) -> Result<Vec<Token>> {
        let mut lost = Vec::new();
        self.forget_tried_suspects(settlement);
        // Of this moment, since what is settled here is renewed no more.
        let certain = lock(&self.member.fence).certain();
        for unit in &settlement.units {
            for tokens in unit.acked.chunks(PAGE) {
                lost.extend(self.ack(&self.without_gone(tokens), certain, settlement.again).await?);
            }
            lost.extend(self.settle_others(&unit.others, settlement.again).await?);
        }
        Ok(lost)
    }

    /// Acks at most a page of tokens; returns those that came too late. `certain`: from when until when nobody can have taken
    /// any of them.
    async fn ack(&self, tokens: &[Token], (from, until): (u64, u64), again: bool) -> Result<Vec<Token>> {
        const OPERATION: &str = "ack";
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let ids = Ids::new(tokens);
        let answer = self.member.run(OPERATION, &ACK, &[], || {
            let mut arguments: Vec<Value> = Vec::with_capacity(4 + ids.tokens.len());
            arguments.extend([(from as i64).into(), (until as i64).into(), mark(again), (ids.of_stream as i64).into()]);
            arguments.extend(ids.values());
            arguments
        });
        let places = places(OPERATION, answer.await?)?;
        Ok(ids.at(&places))
    }

    async fn settle_others(&self, others: &[(Token, Disposition)], again: bool) -> Result<Vec<Token>> {
        let (mut kept, mut returned) = (Vec::new(), Vec::new());
        let mut single = Vec::new();
        for (token, disposition) in others {
            match disposition {
                Disposition::Keep { attempts } => kept.push((*token, u64::from(*attempts))),
                Disposition::Return { attempts } => returned.push((*token, *attempts)),
                disposition => single.push(self.settle_one(*token, disposition, again)),
            }
        }
        let mut lost: Vec<Token> = try_join_all(single).await?.into_iter().flatten().collect();
        lost.extend(self.give(&self.member.name, &kept, again).await?);
        lost.extend(self.hand_back(&returned, again).await?);
        Ok(lost)
    }

    /// A suspect that was acked or failed here is none any more.
    fn forget_tried_suspects(&self, settlement: &Settlement) {
        let mut suspects = lock(&self.member.suspects);
        if suspects.is_empty() {
            return;
        }
        for unit in &settlement.units {
            let others = unit.others.iter().filter(|(_, other)| !matches!(other, Disposition::Return { .. }));
            for token in unit.acked.iter().chain(others.map(|(token, _)| token)) {
                suspects.remove(token);
            }
        }
    }

    /// Renews at most a page of tokens; returns the server's time.
    async fn renew_page(&self, tokens: &[Token], oldest: i64, lost: &mut Vec<Token>) -> Result<u64> {
        const OPERATION: &str = "renew the lease";
        let ids = Ids::new(tokens);
        let answer = self.member.run(OPERATION, &RENEW, &[], || {
            let mut arguments: Vec<Value> = vec![self.member.lease_ms().into(), oldest.into()];
            arguments.push((ids.of_stream as i64).into());
            arguments.extend(ids.values());
            arguments
        });
        let [now, others, gone] = elements(OPERATION, answer.await?)?;
        if number(OPERATION, &now)? < 0 {
            self.member.set_replaced();
            lost.extend(tokens);
            return Ok(0);
        }
        lost.extend(ids.at(&places(OPERATION, others)?));
        lock(&self.member.gone).add_held(ids.at(&places(OPERATION, gone)?));
        count(OPERATION, &now)
    }

    /// Without those that are gone from the stream: nothing is left of them to ack.
    fn without_gone(&self, tokens: &[Token]) -> Vec<Token> {
        let mut gone = lock(&self.member.gone);
        if gone.is_empty() {
            return tokens.to_vec();
        }
        tokens.iter().copied().filter(|token| !gone.remove(token)).collect()
    }
}

/// Places in a list of ids.
fn places(operation: &'static str, frame: Frame) -> Result<Vec<u64>> {
    array(operation, frame)?.iter().map(|place| count(operation, place)).collect()
}
