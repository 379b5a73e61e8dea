//! What rings a queue, and when its register may be named.
//!
//! Every doorbell is rung by `hsa_signal_store_*`. A store straight to the register saves the call and is right only where the
//! signal says that there is such a register and that it takes a packet index as it is: `AMD_SIGNAL_KIND_DOORBELL`
//! (amd_hsa_signal.h). A legacy doorbell takes 32 bits behind the lock in `amd_queue_t`, and any other kind has a value, or
//! nothing, where the register's address would be.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU64;

use super::queue::Queue;
use super::signal::SignalKind;

/// What a queue's doorbell signal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorbellKind {
    /// A register that takes 64-bit packet indices.
    Register,
    /// A 32-bit register of older GPUs and drivers.
    LegacyRegister,
    /// A value in memory.
    Memory,
    /// A kind that `amd_hsa_signal.h` does not list.
    Unlisted(i64),
    /// The handle leads to no `amd_signal_t`.
    Unreadable,
}

impl From<Option<SignalKind>> for DoorbellKind {
    fn from(kind: Option<SignalKind>) -> Self {
        match kind {
            Some(SignalKind::Doorbell) => Self::Register,
            Some(SignalKind::LegacyDoorbell) => Self::LegacyRegister,
            Some(SignalKind::User) => Self::Memory,
            Some(SignalKind::Invalid) => Self::Unlisted(0),
            Some(SignalKind::Other(kind)) => Self::Unlisted(kind),
            None => Self::Unreadable,
        }
    }
}

impl fmt::Display for DoorbellKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register => formatter.write_str("a 64-bit register"),
            Self::LegacyRegister => formatter.write_str("a legacy 32-bit register"),
            Self::Memory => formatter.write_str("a value in memory"),
            Self::Unlisted(kind) => write!(formatter, "a signal of the unlisted kind {kind}"),
            Self::Unreadable => formatter.write_str("no amd_signal_t"),
        }
    }
}

/// A 64-bit doorbell register; it exists as long as its queue. Only [`Queue::doorbell_register`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorbellRegister<'queue> {
    address: NonZeroU64,
    queue: PhantomData<&'queue Queue>,
}

impl DoorbellRegister<'_> {
    /// Where the register is mapped in this process (`hardware_doorbell_ptr`).
    #[must_use]
    pub const fn address(self) -> u64 {
        self.address.get()
    }
}

/// Why a queue has no register to store to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDoorbellRegister {
    /// The signal is of another kind: ring it by hsa_signal_store_screlease.
    #[error("the doorbell of this queue is {0}, so it is rung by hsa_signal_store_screlease only")]
    OtherKind(DoorbellKind),
    /// The kind is right and the address is 0.
    #[error("the doorbell signal of this queue is a register at address 0; this runtime is defective")]
    NoAddress,
}

/// The register behind a signal of this kind with this word where register or value is.
pub(super) fn register<'queue>(kind: DoorbellKind, word: u64) -> Result<DoorbellRegister<'queue>, NoDoorbellRegister> {
    match kind {
        DoorbellKind::Register => {
            let address = NonZeroU64::new(word).ok_or(NoDoorbellRegister::NoAddress)?;
            Ok(DoorbellRegister { address, queue: PhantomData })
        }
        other => Err(NoDoorbellRegister::OtherKind(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_64_bit_doorbell_has_a_register_that_may_be_stored_to() {
        assert_eq!(register(DoorbellKind::Register, 0x7000).map(DoorbellRegister::address), Ok(0x7000));
        assert_eq!(register(DoorbellKind::Register, 0), Err(NoDoorbellRegister::NoAddress));
        let others =
            [Some(SignalKind::LegacyDoorbell), Some(SignalKind::User), Some(SignalKind::Invalid), Some(SignalKind::Other(9)), None];
        for kind in others.map(DoorbellKind::from) {
            assert_eq!(register(kind, 0x7000), Err(NoDoorbellRegister::OtherKind(kind)));
        }
    }

    #[test]
    fn a_refusal_says_what_the_doorbell_is_instead() {
        let text = NoDoorbellRegister::OtherKind(DoorbellKind::LegacyRegister).to_string();
        assert!(text.contains("a legacy 32-bit register") && text.contains("hsa_signal_store_screlease"), "{text}");
    }
}
