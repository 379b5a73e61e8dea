//! The endpoint's one interrupt: an MSI that the client receives through an eventfd.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::model::gpu::InterruptSink;

/// Interrupt kinds that a vfio PCI device has (`VFIO_PCI_NUM_IRQS`).
pub(super) const KINDS: u32 = 5;
/// The kind that is MSI (`VFIO_PCI_MSI_IRQ_INDEX`).
pub(super) const MSI: u32 = 1;

const DATA_NONE: u32 = 1;
const DATA_BOOL: u32 = 1 << 1;
const DATA_EVENTFD: u32 = 1 << 2;
const ACTION_TRIGGER: u32 = 1 << 5;

/// Why interrupts cannot be set up that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterruptError {
    /// A kind that a PCI device does not have.
    #[error("there is no interrupt kind {0}")]
    NoSuchKind(u32),
    /// More vectors than there are.
    #[error("vectors {start} and {count} from there on: the device has one MSI vector and nothing else")]
    NoSuchVector {
        /// The first vector.
        start: u32,
        /// How many.
        count: u32,
    },
    /// Interrupts cannot be given as an array of booleans.
    #[error("interrupts given as booleans are not supported")]
    Booleans,
}

/// Counts interrupts and forwards them.
#[derive(Debug, Default)]
pub(super) struct Interrupts {
    raised: AtomicU64,
    receiver: Mutex<Option<OwnedFd>>,
}

impl Interrupts {
    fn receiver(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Interrupts since the last reset.
    pub(super) fn count(&self) -> u64 {
        self.raised.load(Ordering::SeqCst)
    }

    /// Forgets how many there were.
    pub(super) fn reset_count(&self) {
        self.raised.store(0, Ordering::SeqCst);
    }

    /// Forgets the receiver.
    pub(super) fn disconnect(&self) {
        *self.receiver() = None;
    }

    /// `VFIO_DEVICE_SET_IRQS` (Linux, `vfio.h`): connects or disconnects the receiver.
    pub(super) fn set(&self, kind: u32, flags: u32, start: u32, count: u32, receivers: Vec<OwnedFd>) -> Result<(), InterruptError> {
        if kind >= KINDS {
            return Err(InterruptError::NoSuchKind(kind));
        }
        if flags & DATA_BOOL != 0 {
            return Err(InterruptError::Booleans);
        }
        if kind != MSI {
            // Clients tear down kinds that a device does not have.
            return if count == 0 || flags & DATA_EVENTFD == 0 {
                Ok(())
            } else {
                Err(InterruptError::NoSuchVector { start, count })
            };
        }
        if start.checked_add(count).is_none_or(|end| end > 1) {
            return Err(InterruptError::NoSuchVector { start, count });
        }
        if flags & ACTION_TRIGGER == 0 {
            return Ok(());
        }
        if flags & DATA_EVENTFD != 0 {
            *self.receiver() = receivers.into_iter().next().filter(|_| count == 1).and_then(unblocked);
        } else if flags & DATA_NONE != 0 && count == 0 {
            self.disconnect();
        }
        Ok(())
    }
}

/// The receiver when it can be made such that writing to it never blocks the device.
fn unblocked(receiver: OwnedFd) -> Option<OwnedFd> {
    let flags = fcntl_getfl(&receiver).ok()?;
    fcntl_setfl(&receiver, flags | OFlags::NONBLOCK).ok()?;
    Some(receiver)
}

impl InterruptSink for Interrupts {
    fn raise(&self, _event_id: u32) {
        self.raised.fetch_add(1, Ordering::SeqCst);
        if let Some(receiver) = &*self.receiver() {
            // An eventfd that is full has been raised already, and a client that has gone needs none.
            let _ = rustix::io::write(receiver, &1_u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    #[test]
    fn an_interrupt_reaches_the_eventfd_that_was_connected_last_and_is_counted() {
        let interrupts = Interrupts::default();
        interrupts.raise(1);
        let event = eventfd(0, EventfdFlags::empty()).unwrap();
        interrupts.set(MSI, ACTION_TRIGGER | DATA_EVENTFD, 0, 1, vec![event.try_clone().unwrap()]).unwrap();
        interrupts.raise(1);
        interrupts.raise(2);
        let mut count = [0; 8];
        rustix::io::read(&event, &mut count).unwrap();
        assert_eq!((u64::from_ne_bytes(count), interrupts.count()), (2, 3));
        interrupts.set(MSI, ACTION_TRIGGER | DATA_NONE, 0, 0, Vec::new()).unwrap();
        interrupts.raise(3);
        assert!(rustix::io::read(&event, &mut count).is_err(), "nothing is there to be read");
    }

    #[test]
    fn there_is_one_msi_vector_and_nothing_else() {
        let interrupts = Interrupts::default();
        let eventfds = ACTION_TRIGGER | DATA_EVENTFD;
        assert_eq!(interrupts.set(5, eventfds, 0, 1, Vec::new()), Err(InterruptError::NoSuchKind(5)));
        assert!(interrupts.set(MSI, eventfds, 0, 2, Vec::new()).is_err());
        assert!(interrupts.set(MSI, eventfds, u32::MAX, 2, Vec::new()).is_err());
        assert!(interrupts.set(0, eventfds, 0, 1, Vec::new()).is_err());
        assert_eq!(interrupts.set(MSI, ACTION_TRIGGER | DATA_BOOL, 0, 1, Vec::new()), Err(InterruptError::Booleans));
        assert_eq!(interrupts.set(0, ACTION_TRIGGER | DATA_NONE, 0, 0, Vec::new()), Ok(()));
    }
}
