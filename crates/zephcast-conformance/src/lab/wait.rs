//! Bounded waits, each for something that must, or must not, happen.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use zephcast_core::{Consumer, Delivery, Event, Events, GroupStatus};

use super::{Lab, Process, number};
use crate::case::{Broken, Checked, ensure};

impl Lab {
    /// Waits for something that must happen.
    ///
    /// # Errors
    /// It does not.
    #[track_caller]
    pub fn within<F: Future>(&self, what: &str, future: F) -> impl Future<Output = Checked<F::Output>> + use<F> {
        let (patience, at, what) = (self.timing.patience, Location::caller(), what.to_owned());
        let future = Box::pin(future);
        async move {
            let late = |_| Broken::at(format!("waited {patience:?} for {what}"), at);
            tokio::time::timeout(patience, future).await.map_err(late)
        }
    }

    /// The next delivery, which must come.
    ///
    /// # Errors
    /// It does not.
    #[track_caller]
    pub fn next<'a>(
        &self,
        consumer: &'a mut Consumer,
        what: &str,
    ) -> impl Future<Output = Checked<Delivery>> + use<'a> {
        let (at, next) = (Location::caller(), self.within(what, consumer.next()));
        let what = what.to_owned();
        async move {
            match next.await? {
                Some(Ok(delivery)) => Ok(delivery),
                Some(Err(error)) => Err(Broken::at(format!("waiting for {what}: {error}"), at)),
                None => Err(Broken::at(format!("waiting for {what}: the consumer ended"), at)),
            }
        }
    }

    /// The next deliveries, held unsettled.
    ///
    /// # Errors
    /// They do not come.
    ///
    /// # Cancel safety
    /// Dropped, what was taken is handed out again.
    pub async fn take(&self, consumer: &mut Consumer, count: usize) -> Checked<Vec<Delivery>> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            taken.push(self.next(consumer, &format!("delivery {} of {count}", taken.len() + 1)).await?);
        }
        Ok(taken)
    }

    /// The next deliveries, acked; returns the numbers they carry.
    ///
    /// # Errors
    /// They do not come, or are not acked.
    ///
    /// # Cancel safety
    /// Dropped, what was taken is acked all the same, and its numbers are lost.
    pub async fn take_acked(&self, consumer: &mut Consumer, count: usize) -> Checked<Vec<usize>> {
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            let delivery = self.next(consumer, &format!("delivery {} of {count}", numbers.len() + 1)).await?;
            numbers.push(number(&delivery)?);
            delivery.ack()?;
        }
        self.within("the commit", consumer.commit()).await??;
        Ok(numbers)
    }

    /// Nothing comes for so long.
    ///
    /// # Errors
    /// Something came.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is taken by the wait.
    pub async fn quiet(&self, consumer: &mut Consumer, time: Duration, why: &str) -> Checked {
        match tokio::time::timeout(time, consumer.next()).await {
            Err(_) => Ok(()),
            Ok(Some(Ok(delivery))) => {
                let (payload, attempt) = (delivery.payload_str().unwrap_or("?").to_owned(), delivery.attempt());
                Err(Broken::new(format!("{why}, and yet {payload:?} came, attempt {attempt}")))
            }
            Ok(Some(Err(error))) => Err(error.into()),
            Ok(None) => Err(Broken::new("the consumer ended")),
        }
    }

    /// Asks for the group's status until it is as it must become.
    ///
    /// # Errors
    /// It does not become so; the last status is told.
    ///
    /// # Cancel safety
    /// Cancel safe: it only looks.
    pub async fn until_status(
        &self,
        process: &Process,
        group: &str,
        what: &str,
        mut holds: impl FnMut(&GroupStatus) -> bool,
    ) -> Checked<GroupStatus> {
        let mut tick = tokio::time::interval(Duration::from_millis(25));
        let deadline = tokio::time::Instant::now() + self.timing.patience;
        loop {
            tick.tick().await;
            let status = process.group_status(self.stream.as_str(), group).await?;
            if holds(&status) {
                return Ok(status);
            }
            ensure!(tokio::time::Instant::now() < deadline, "status never became so: {what}; it is {status:?}");
        }
    }

    /// Waits until the group has settled everything.
    ///
    /// # Errors
    /// It does not.
    ///
    /// # Cancel safety
    /// Cancel safe: it only looks.
    pub async fn until_done(&self, process: &Process, group: &str) -> Checked<GroupStatus> {
        self.until_status(process, group, "lag 0, nothing in flight", |status| {
            status.lag == Some(0) && status.in_flight.unwrap_or(0) == 0 && status.delayed.unwrap_or(0) == 0
        })
        .await
    }

    /// Waits for an event of this sort.
    ///
    /// # Errors
    /// It does not come.
    ///
    /// # Cancel safety
    /// Dropped, the events seen so far are gone.
    pub async fn event<T>(
        &self,
        events: &mut Events,
        what: &str,
        mut is: impl FnMut(Event) -> Option<T>,
    ) -> Checked<T> {
        let wanted = async {
            while let Some(event) = events.next().await {
                if let Some(found) = is(event) {
                    return Ok(found);
                }
            }
            Err(Broken::new(format!("no event: {what}")))
        };
        match tokio::time::timeout(self.timing.patience, wanted).await {
            Ok(found) => found,
            Err(_) => Err(Broken::new(format!("waited {:?} for the event: {what}", self.timing.patience))),
        }
    }
}
