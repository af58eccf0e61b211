//! SIGINT and SIGTERM: the first asks to finish in good order, the second ends the process at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::children::Children;
use crate::exit::Exit;

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
}
