//! The members of a group: who lives, and what each is still to be told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use zephcast_core::driver::{Fetched, Subscription, after};
use zephcast_core::{MemberName, Token, UnitId};

/// A member of a group, numbered in the order in which members joined; a number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(u64);

#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: MemberName,
    pub(super) lease: Duration,
    /// The most that it will hold at a time.
    pub(super) prefetch: u32,
    /// When others take over what it holds, unless it renews.
    pub(super) expires: Instant,
    /// When it was last heard of.
    pub(super) seen: Instant,
    /// Within its lease. One that is not keeps its place, to come back or to be seen as dead.
    pub(super) alive: bool,
    /// How long its oldest delivery has been out, as it said.
    pub(super) oldest: Option<Duration>,
    /// What its next fetches tell it before any message.
    pub(super) news: VecDeque<Fetched>,
    /// Where its next fetch begins to look, so that every unit has its turn.
    pub(super) turn: u32,
    /// Whether it knows that suspects wait, since something about them changed last.
    pub(super) told_suspects: bool,
    /// What it holds and is to be handed out once more, since an answer may have been lost.
    pub(super) repeat: VecDeque<(UnitId, Token)>,
}

/// All members, in the order in which they joined.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: BTreeMap<MemberId, Member>,
    next: u64,
}

impl Roster {
    pub(super) fn add(&mut self, subscription: &Subscription, now: Instant) -> MemberId {
        let id = MemberId(self.next);
        self.next += 1;
        let member = Member {
            name: subscription.member.clone(),
            lease: subscription.lease,
            prefetch: u32::try_from(subscription.prefetch).unwrap_or(u32::MAX),
            expires: after(now, subscription.lease),
            seen: now,
            alive: true,
            oldest: None,
            news: VecDeque::new(),
            turn: 0,
            told_suspects: false,
            repeat: VecDeque::new(),
        };
        self.members.insert(id, member);
        id
    }

    pub(super) fn remove(&mut self, id: MemberId) -> Option<Member> {
        self.members.remove(&id)
    }

    pub(super) fn get(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.get_mut(&id)
    }

    pub(super) fn named(&self, name: &MemberName) -> Option<(MemberId, &Member)> {
        self.iter().find(|(_, member)| member.name == *name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// The living, in the order in which they joined.
    pub(super) fn living(&self) -> Vec<MemberId> {
        self.iter().filter(|(_, member)| member.alive).map(|(id, _)| id).collect()
    }

    /// The living whose lease is over.
    pub(super) fn overdue(&self, now: Instant) -> Vec<MemberId> {
        self.iter().filter(|(_, member)| member.alive && member.expires <= now).map(|(id, _)| id).collect()
    }

    /// When the next lease is over.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.iter().filter(|(_, member)| member.alive).map(|(_, member)| member.expires).min()
    }

    /// What a member is to be told before its next message.
    pub(super) fn tell(&mut self, id: MemberId, news: Fetched) {
        if let Some(member) = self.members.get_mut(&id) {
            member.news.push_back(news);
        }
    }
}
