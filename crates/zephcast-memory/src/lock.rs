//! Locking without poison.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. A panic elsewhere under the lock is reported there; it must not spread to every other user of the broker.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
