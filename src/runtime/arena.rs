//! Fixed-size slots in one piece of device-visible memory, so that a handle (the slot's address) is validated without a lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::pages::{AddressSpace, DeviceMemory, Pages, PagesError};
use crate::model::memory::Home;

/// Index of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub usize);

#[derive(Debug, Default)]
struct Vacancies {
    /// Slots from here on were never used.
    fresh: usize,
    /// Oldest first: a slot that was given back is reused as late as possible, so that a stale handle is seen as stale.
    returned: VecDeque<Slot>,
}

/// The slots.
pub struct Arena {
    memory: DeviceMemory,
    /// Log2 of the bytes of a slot.
    slot_shift: u32,
    live: Box<[AtomicBool]>,
    vacancies: Mutex<Vacancies>,
}

impl Arena {
    /// Maps memory for `slots` slots of `slot_bytes` each, a power of two. Only slots that are used cost memory.
    ///
    /// # Errors
    /// The memory cannot be had.
    pub fn new(space: Arc<dyn AddressSpace>, slot_bytes: usize, slots: usize) -> Result<Self, PagesError> {
        debug_assert!(slot_bytes.is_power_of_two(), "slots of {slot_bytes} bytes");
        let memory = DeviceMemory::reachable(space, slot_bytes * slots, Home::Host)?;
        Ok(Self {
            memory,
            slot_shift: slot_bytes.ilog2(),
            live: (0..slots).map(|_| AtomicBool::new(false)).collect(),
            vacancies: Mutex::default(),
        })
    }

    /// Takes a slot; `None` when all are taken. Its bytes are what its last user left.
    pub fn claim(&self) -> Option<Slot> {
        let mut vacancies = self.vacancies.lock().unwrap_or_else(PoisonError::into_inner);
        if vacancies.fresh < self.live.len() {
            vacancies.fresh += 1;
            return Some(Slot(vacancies.fresh - 1));
        }
        vacancies.returned.pop_front()
    }

    /// From here on the slot's address is a valid handle.
    pub fn publish(&self, slot: Slot) {
        self.live[slot.0].store(true, Ordering::Release);
    }

    /// Gives a slot back; `false` if it was not live (someone else has given it back already).
    pub fn release(&self, slot: Slot) -> bool {
        let was_live = self.live[slot.0].swap(false, Ordering::AcqRel);
        if was_live {
            self.vacancies.lock().unwrap_or_else(PoisonError::into_inner).returned.push_back(slot);
        }
        was_live
    }

    /// Offset of a slot in [`Self::pages`], in bytes.
    #[must_use]
    pub const fn offset(&self, slot: Slot) -> usize {
        slot.0 << self.slot_shift
    }

    /// Address of a slot.
    #[must_use]
    pub fn address(&self, slot: Slot) -> u64 {
        self.pages().address() + self.offset(slot) as u64
    }

    /// The live slot that `address` points into, and how many bytes into it.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<(Slot, usize)> {
        let offset = usize::try_from(address.checked_sub(self.pages().address())?).ok()?;
        let slot = Slot(offset >> self.slot_shift);
        self.live.get(slot.0)?.load(Ordering::Acquire).then_some((slot, offset & ((1 << self.slot_shift) - 1)))
    }

    /// The memory of all slots.
    #[must_use]
    pub const fn pages(&self) -> &Pages {
        self.memory.pages()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::memory::MemoryMap;

    fn arena(slots: usize) -> Arena {
        Arena::new(Arc::new(MemoryMap::new()), 64, slots).unwrap()
    }

    #[test]
    fn an_address_is_a_handle_only_while_its_slot_is_live() {
        let arena = arena(4);
        let slot = arena.claim().unwrap();
        let address = arena.address(slot);
        assert_eq!(arena.find(address), None);
        arena.publish(slot);
        assert_eq!(arena.find(address), Some((slot, 0)));
        assert_eq!(arena.find(address + 8), Some((slot, 8)));
        assert!(arena.release(slot));
        assert_eq!(arena.find(address), None);
        assert!(!arena.release(slot), "given back twice");
    }

    #[test]
    fn addresses_outside_are_no_handles() {
        let arena = arena(1);
        arena.publish(arena.claim().unwrap());
        let address = arena.address(Slot(0));
        for wrong in [0, 1, address - 1, address + 64, u64::MAX] {
            assert_eq!(arena.find(wrong), None, "{wrong:#x}");
        }
    }

    #[test]
    fn slots_run_out_and_come_back_oldest_first() {
        let arena = arena(2);
        let slots = [arena.claim().unwrap(), arena.claim().unwrap()];
        assert_eq!(arena.claim(), None);
        for slot in slots {
            arena.publish(slot);
            arena.release(slot);
        }
        assert_eq!([arena.claim().unwrap(), arena.claim().unwrap()], slots);
    }
}
