//! SIGINT and SIGTERM: the first asks to finish in good order, the second ends the process at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::children::Children;
use crate::exit::Exit;

/// How long a change that is under way at the broker is waited for when it is asked to stop.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the process was asked to stop. Clones see the same signal.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Takes over both signals from here to the end of the process. The second one takes `children` with it.
    pub(crate) fn listen(children: Children) -> io::Result<Self> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (sender, receiver) = watch::channel(false);
        // Lives as long as the process: there is always someone who may send a second signal.
        tokio::spawn(async move {
            for repeated in [false, true] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if repeated {
                    children.kill_all();
                    std::process::exit(Exit::Interrupted as i32);
                }
                sender.send_replace(true);
            }
        });
        Ok(Self(receiver))
    }

    /// Whether it was asked already.
    pub(crate) fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when it is asked; at once if it was. Cancel safe.
    pub(crate) async fn wait(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // The listener lives as long as the runtime, so this is the runtime going down.
            std::future::pending::<()>().await;
        }
    }

    /// Asks the broker something; `None` when it is asked to stop before the answer. For what changes nothing.
    pub(crate) async fn unless_asked<T>(&mut self, asking: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = asking => Some(answer),
            () = self.wait() => None,
        }
    }

    /// Changes something at the broker. When it is asked to stop meanwhile it waits a little longer, and then nobody
    /// knows whether the change was made: `None`.
    pub(crate) async fn finish<T>(&mut self, changing: impl Future<Output = T>) -> Option<T> {
        let mut changing = std::pin::pin!(changing);
        match self.unless_asked(&mut changing).await {
            None => timeout(PATIENCE, changing).await.ok(),
            changed => changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::{Instant, sleep};

    use super::*;

    fn shutdown(asked: bool) -> (watch::Sender<bool>, Shutdown) {
        let (sender, receiver) = watch::channel(asked);
        (sender, Shutdown(receiver))
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_is_given_up_at_once_and_a_change_after_a_little_patience() {
        let (_sender, mut asked) = shutdown(true);
        let began = Instant::now();
        assert_eq!(asked.unless_asked(pending::<()>()).await, None);
        assert_eq!(asked.unless_asked(ready(1)).await, Some(1));
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(asked.finish(async { sleep(PATIENCE / 2).await }).await, Some(()));
        assert_eq!(asked.finish(pending::<()>()).await, None);
        assert_eq!(began.elapsed(), PATIENCE + PATIENCE / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn both_take_their_time_until_somebody_asks() {
        let (_sender, mut unasked) = shutdown(false);
        let slow = || sleep(PATIENCE * 10);
        assert_eq!((unasked.unless_asked(slow()).await, unasked.finish(slow()).await), (Some(()), Some(())));
    }
}
