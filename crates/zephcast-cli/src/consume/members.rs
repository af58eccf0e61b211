//! The members of this process, as one source of news and deliveries.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{self, Stream, StreamExt};
use zephcast::{Client, CloseReport, Consumer, ConsumerBuilder, Delivery, Error, Event, MemberName, Result};

use crate::args::consume::ConsumeArgs;

/// Members of one group; each gets its turn.
pub(crate) struct Members {
    members: Vec<Member>,
    /// Whose turn is next.
    turn: usize,
    broker: &'static str,
}

struct Member {
    consumer: Consumer,
    /// Keeps a pending wait alive between polls, which the reader of events alone would lose.
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
}

/// What members have to say.
pub(crate) enum Happening {
    Event(MemberName, Event),
    Delivery(Delivery),
    /// A member failed for good.
    Failed(Error),
    /// A member ended, and why was said before.
    Ended,
}

impl Members {
    /// Joins with as many members as the options ask for. If one cannot, those that have joined leave again.
    pub(crate) async fn join(client: &Client, arguments: &ConsumeArgs, builder: ConsumerBuilder) -> Result<Self> {
        let starting = (1..=arguments.members).map(|n| {
            let builder = builder.clone();
            match &arguments.member {
                None => builder,
                Some(name) if arguments.members == 1 => builder.member(name),
                Some(name) => builder.member(format!("{name}-{n}")),
            }
            .start()
        });
        let consumers = try_join_all(starting).await?;
        let members = consumers.into_iter().map(|consumer| {
            let events = stream::unfold(consumer.events(), async |mut events| {
                let event = events.next().await?;
                Some((event, events))
            });
            Member { consumer, events: Box::pin(events) }
        });
        Ok(Self { members: members.collect(), turn: 0, broker: client.capabilities().broker.as_str() })
    }

    /// The members' names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &MemberName> {
        self.members.iter().map(|member| member.consumer.member())
    }

    /// The broker that they are at.
    pub(crate) fn broker(&self) -> &'static str {
        self.broker
    }

    /// What happens next: news first, then deliveries, if there is room for one. Cancel safe.
    pub(crate) async fn next(&mut self, room: bool) -> Happening {
        std::future::poll_fn(|cx| self.poll(cx, room)).await
    }

    /// Waits until every earlier settlement is durable. Cancel safe.
    pub(crate) async fn commit(&self) -> Result<()> {
        let commits = self.members.iter().map(|member| member.consumer.commit());
        join_all(commits).await.into_iter().collect()
    }

    /// Leaves with every member at once.
    pub(crate) async fn close(self, deadline: Duration) -> Result<CloseReport> {
        let closing = self.members.into_iter().map(|member| member.consumer.close(deadline));
        let reports: Vec<_> = join_all(closing).await.into_iter().collect::<Result<_>>()?;
        let clean = CloseReport { clean: true, ..CloseReport::default() };
        Ok(reports.iter().fold(clean, CloseReport::merge))
    }

    fn poll(&mut self, cx: &mut Context<'_>, room: bool) -> Poll<Happening> {
        for Member { consumer, events } in &mut self.members {
            if let Poll::Ready(Some(event)) = events.poll_next_unpin(cx) {
                return Poll::Ready(Happening::Event(consumer.member().clone(), event));
            }
        }
        let count = self.members.len();
        for n in (self.turn..self.turn + count).map(|n| n % count).filter(|_| room) {
            if let Poll::Ready(next) = self.members[n].consumer.poll_next_unpin(cx) {
                self.turn = (n + 1) % count;
                return Poll::Ready(match next {
                    Some(Ok(delivery)) => Happening::Delivery(delivery),
                    Some(Err(error)) => Happening::Failed(error),
                    None => Happening::Ended,
                });
            }
        }
        Poll::Pending
    }
}
