//! User-mode queues: `amd_queue_t`, ring, doorbell, and the error callback.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::mem::offset_of;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::agents::FEATURE_KERNEL_DISPATCH;
use super::arena::{Arena, Slot};
use super::device::{Device, Doorbell};
use super::error::RuntimeError;
use super::events::FIRST_QUEUE_EVENT;
use super::pages::{AddressSpace, DeviceMemory};
use super::signals::SignalRef;
use crate::hsa::sys;
use crate::model::address::GpuVa;
use crate::model::gpu::{QueueDescriptor, QueueId};
use crate::model::memory::Home;

/// Queues that can exist at once.
pub const MOST_QUEUES: u32 = 128;
/// Packets of the smallest ring.
pub const SMALLEST_RING: u32 = 64;
/// Packets of the largest ring.
pub const LARGEST_RING: u32 = 131_072;

/// Bytes of an AQL packet.
const PACKET_BYTES: usize = 64;

/// A queue's slot: its `amd_queue_t`, then its two signals and the mailbox of the inactive one.
const DOORBELL_SIGNAL: usize = size_of::<sys::amd_queue_s>();
const INACTIVE_SIGNAL: usize = DOORBELL_SIGNAL + size_of::<sys::amd_signal_s>();
const INACTIVE_MAILBOX: usize = INACTIVE_SIGNAL + size_of::<sys::amd_signal_s>();
const SLOT_BYTES: usize = 512;
const _: () = assert!(INACTIVE_MAILBOX + size_of::<u64>() <= SLOT_BYTES);

const WRITE_INDEX: usize = offset_of!(sys::amd_queue_s, write_dispatch_id);
const READ_INDEX: usize = offset_of!(sys::amd_queue_s, read_dispatch_id);
const PROPERTIES: usize = offset_of!(sys::amd_queue_s, queue_properties);
/// `AMD_QUEUE_PROPERTIES_IS_PTR64`.
const PROPERTY_POINTERS_64: u32 = 1 << 1;
/// `AMD_QUEUE_PROPERTIES_ENABLE_PROFILING`.
const PROPERTY_PROFILING: u32 = 1 << 3;

/// The C function that a queue's creator wants called when the queue fails.
#[derive(Clone, Copy, Debug)]
pub struct ErrorCallback {
    /// The function.
    pub function: unsafe extern "C" fn(sys::hsa_status_t, *mut sys::hsa_queue_t, *mut c_void),
    /// Its last argument, as an address.
    pub data: usize,
}

/// `hsa_queue_type_t`, as far as this agent has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Several producers.
    Multi,
    /// One producer.
    Single,
}

impl QueueKind {
    const fn raw(self) -> u32 {
        match self {
            Self::Multi => sys::HSA_QUEUE_TYPE_MULTI,
            Self::Single => sys::HSA_QUEUE_TYPE_SINGLE,
        }
    }
}

/// Packets in a ring: a power of two within the agent's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSize(NonZeroU32);

impl RingSize {
    /// The size for a request: at least the agent's minimum (HSA 1.2, `hsa_queue_create`).
    ///
    /// # Errors
    /// Not a power of two, or too large.
    pub fn for_request(packets: u32) -> Result<Self, RuntimeError> {
        let allowed = packets.is_power_of_two() && packets <= LARGEST_RING;
        allowed
            .then(|| NonZeroU32::new(packets.max(SMALLEST_RING)))
            .flatten()
            .map(Self)
            .ok_or(RuntimeError::InvalidArgument("the queue size is no power of two, or above the agent's maximum"))
    }
}

/// One queue.
pub struct Queue {
    slot: Slot,
    _ring: DeviceMemory,
    device_queue: Mutex<Option<QueueId>>,
    callback: Option<ErrorCallback>,
    reported: AtomicBool,
    /// Held while the callback runs.
    callback_turn: Mutex<()>,
}

impl Queue {
    /// What to call when the queue fails.
    #[must_use]
    pub const fn callback(&self) -> Option<ErrorCallback> {
        self.callback
    }

    /// Waits until no callback of this queue runs, and keeps it so.
    pub fn callback_turn(&self) -> MutexGuard<'_, ()> {
        self.callback_turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the first report of the failure.
    pub fn first_report(&self) -> bool {
        !self.reported.swap(true, Ordering::AcqRel)
    }

    fn stop(&self, device: &dyn Device) {
        if let Some(id) = self.device_queue.lock().unwrap_or_else(PoisonError::into_inner).take() {
            device.destroy_queue(id);
        }
    }
}

/// Every queue.
pub struct Queues {
    device: Arc<dyn Device>,
    arena: Arena,
    doorbells: Box<[RwLock<Option<Doorbell>>]>,
    by_slot: Mutex<BTreeMap<Slot, Arc<Queue>>>,
}

impl Queues {
    /// None yet.
    ///
    /// # Errors
    /// Memory cannot be had.
    pub fn new(device: Arc<dyn Device>) -> Result<Self, RuntimeError> {
        let slots = MOST_QUEUES as usize;
        let arena = Arena::new(device.clone(), SLOT_BYTES, slots)?;
        Ok(Self { device, arena, doorbells: (0..slots).map(|_| RwLock::default()).collect(), by_slot: Mutex::default() })
    }

    /// Creates a queue and returns the address of its `hsa_queue_t`.
    ///
    /// # Errors
    /// There are too many, or memory cannot be had.
    pub fn create(&self, size: RingSize, kind: QueueKind, callback: Option<ErrorCallback>) -> Result<u64, RuntimeError> {
        let packets = size.0.get() as usize;
        let space: Arc<dyn AddressSpace> = self.device.clone();
        let ring = DeviceMemory::reachable(space, packets * PACKET_BYTES, Home::Host)?;
        for packet in 0..packets {
            ring.pages().atomic_u32(packet * PACKET_BYTES).store(sys::HSA_PACKET_TYPE_INVALID, Ordering::Relaxed);
        }
        let slot = self.arena.claim().ok_or(RuntimeError::OutOfResources("every queue is in use"))?;
        self.initialize(slot, ring.pages().address(), size, kind);
        let descriptor =
            QueueDescriptor { amd_queue: GpuVa(self.arena.address(slot)), ring: GpuVa(ring.pages().address()), packets: size.0 };
        // A slot can only be given back once it is live, so it goes live before the device may refuse the queue.
        self.arena.publish(slot);
        let (id, doorbell) = match self.device.create_queue(descriptor) {
            Ok(created) => created,
            Err(error) => {
                self.arena.release(slot);
                return Err(error.into());
            }
        };
        *self.doorbells[slot.0].write().unwrap_or_else(PoisonError::into_inner) = Some(doorbell);
        let queue = Queue {
            slot,
            _ring: ring,
            device_queue: Mutex::new(Some(id)),
            callback,
            reported: AtomicBool::new(false),
            callback_turn: Mutex::default(),
        };
        self.by_slot.lock().unwrap_or_else(PoisonError::into_inner).insert(slot, Arc::new(queue));
        Ok(self.arena.address(slot))
    }

    fn initialize(&self, slot: Slot, ring: u64, size: RingSize, kind: QueueKind) {
        let (pages, at) = (self.arena.pages(), self.arena.offset(slot));
        pages.write(at, &[0; SLOT_BYTES]);
        let words: [(usize, u32); 7] = [
            (offset_of!(sys::hsa_queue_s, type_), kind.raw()),
            (offset_of!(sys::hsa_queue_s, features), FEATURE_KERNEL_DISPATCH),
            (offset_of!(sys::hsa_queue_s, size), size.0.get()),
            (offset_of!(sys::amd_queue_s, max_cu_id), 63),
            (offset_of!(sys::amd_queue_s, max_wave_id), 39),
            // The field's offset from the start of amd_queue_t: how the packet processor finds that start.
            (offset_of!(sys::amd_queue_s, read_dispatch_id_field_base_byte_offset), READ_INDEX as u32),
            (PROPERTIES, PROPERTY_POINTERS_64),
        ];
        let address = self.arena.address(slot);
        let doubles: [(usize, u64); 4] = [
            (offset_of!(sys::hsa_queue_s, base_address), ring),
            (offset_of!(sys::hsa_queue_s, doorbell_signal), address + DOORBELL_SIGNAL as u64),
            (offset_of!(sys::hsa_queue_s, id), slot.0 as u64),
            (offset_of!(sys::amd_queue_s, queue_inactive_signal), address + INACTIVE_SIGNAL as u64),
        ];
        for (field, value) in words {
            pages.atomic_u32(at + field).store(value, Ordering::Relaxed);
        }
        for (field, value) in doubles {
            pages.atomic_u64(at + field).store(value, Ordering::Relaxed);
        }
        let event = FIRST_QUEUE_EVENT + u32::try_from(slot.0).expect("MOST_QUEUES slots");
        let mailbox = address + INACTIVE_MAILBOX as u64;
        SignalRef::new(pages, at + DOORBELL_SIGNAL).initialize(sys::AMD_SIGNAL_KIND_DOORBELL, 0, 0, 0, address);
        SignalRef::new(pages, at + INACTIVE_SIGNAL).initialize(sys::AMD_SIGNAL_KIND_USER, 0, mailbox, event, address);
    }

    /// Destroys a queue. Its packets are abandoned.
    ///
    /// # Errors
    /// There is none at this address.
    pub fn destroy(&self, address: u64, caller: Caller) -> Result<(), RuntimeError> {
        let slot = self.slot(address).ok_or(RuntimeError::InvalidQueue(address))?;
        let removed = self.by_slot.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
        let queue = removed.ok_or(RuntimeError::InvalidQueue(address))?;
        queue.stop(&*self.device);
        // After this no callback is entered: the reporter looks the queue up under its turn.
        let _turn = (caller == Caller::Application).then(|| queue.callback_turn());
        *self.doorbells[slot.0].write().unwrap_or_else(PoisonError::into_inner) = None;
        self.arena.release(queue.slot);
        Ok(())
    }

    /// Stops a queue; its memory stays.
    ///
    /// # Errors
    /// There is none at this address.
    pub fn inactivate(&self, address: u64) -> Result<(), RuntimeError> {
        let slot = self.slot(address).ok_or(RuntimeError::InvalidQueue(address))?;
        let queue = self.live(slot).ok_or(RuntimeError::InvalidQueue(address))?;
        queue.stop(&*self.device);
        Ok(())
    }

    /// Every queue, with the address of its `hsa_queue_t`.
    #[must_use]
    pub fn all(&self) -> Vec<(u64, Arc<Queue>)> {
        let by_slot = self.by_slot.lock().unwrap_or_else(PoisonError::into_inner);
        by_slot.iter().map(|(slot, queue)| (self.arena.address(*slot), queue.clone())).collect()
    }

    fn live(&self, slot: Slot) -> Option<Arc<Queue>> {
        self.by_slot.lock().unwrap_or_else(PoisonError::into_inner).get(&slot).cloned()
    }

    /// Whether this very queue still exists.
    #[must_use]
    pub fn holds(&self, queue: &Arc<Queue>) -> bool {
        self.live(queue.slot).is_some_and(|live| Arc::ptr_eq(&live, queue))
    }

    /// The value of a queue's inactive signal: 0, or why the device stopped it.
    #[must_use]
    pub fn inactive_value(&self, queue: &Queue) -> i64 {
        SignalRef::new(self.arena.pages(), self.arena.offset(queue.slot) + INACTIVE_SIGNAL).value().load(Ordering::Acquire)
    }

    /// Whether the device stopped the queue and the application has not been told.
    #[must_use]
    pub fn has_unreported_failure(&self, queue: &Queue) -> bool {
        self.inactive_value(queue) != 0 && !queue.reported.load(Ordering::Acquire)
    }

    fn slot(&self, address: u64) -> Option<Slot> {
        match self.arena.find(address) {
            Some((slot, 0)) => Some(slot),
            _ => None,
        }
    }

    fn field(&self, address: u64, field: usize) -> Option<usize> {
        self.slot(address).map(|slot| self.arena.offset(slot) + field)
    }

    /// The index of the next packet to be written.
    #[must_use]
    pub fn write_index(&self, address: u64) -> Option<&AtomicU64> {
        self.field(address, WRITE_INDEX).map(|offset| self.arena.pages().atomic_u64(offset))
    }

    /// The index of the next packet to be read, which the device advances.
    #[must_use]
    pub fn read_index(&self, address: u64) -> Option<&AtomicU64> {
        self.field(address, READ_INDEX).map(|offset| self.arena.pages().atomic_u64(offset))
    }

    /// Notes in the `amd_queue_t` whether the device shall write dispatch times.
    ///
    /// # Errors
    /// There is no queue at this address.
    pub fn set_profiling(&self, address: u64, profiling: Profiling) -> Result<(), RuntimeError> {
        let properties = self.field(address, PROPERTIES).ok_or(RuntimeError::InvalidQueue(address))?;
        let properties = self.arena.pages().atomic_u32(properties);
        match profiling {
            Profiling::On => properties.fetch_or(PROPERTY_PROFILING, Ordering::Relaxed),
            Profiling::Off => properties.fetch_and(!PROPERTY_PROFILING, Ordering::Relaxed),
        };
        Ok(())
    }

    /// Rings the doorbell whose signal has this handle; `false` if the handle is none.
    pub fn ring(&self, signal: u64, index: u64) -> bool {
        let Some((slot, DOORBELL_SIGNAL)) = self.arena.find(signal) else { return false };
        if let Some(doorbell) = &*self.doorbells[slot.0].read().unwrap_or_else(PoisonError::into_inner) {
            doorbell.ring(index);
        }
        true
    }

    /// A queue's own signal (doorbell or inactive).
    #[must_use]
    pub fn signal(&self, handle: u64) -> Option<SignalRef<'_>> {
        match self.arena.find(handle) {
            Some((slot, within @ (DOORBELL_SIGNAL | INACTIVE_SIGNAL))) => {
                Some(SignalRef::new(self.arena.pages(), self.arena.offset(slot) + within))
            }
            _ => None,
        }
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        let by_slot = std::mem::take(&mut *self.by_slot.lock().unwrap_or_else(PoisonError::into_inner));
        for queue in by_slot.values() {
            queue.stop(&*self.device);
        }
    }
}

/// Who destroys a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Any thread but the one that runs callbacks.
    Application,
    /// A callback.
    Callback,
}

/// Whether dispatch times are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profiling {
    /// Yes.
    On,
    /// No.
    Off,
}

#[cfg(test)]
mod tests {
    use super::super::agents::Identity;
    use super::super::device::{DeviceError, Interrupts, vfio};
    use super::super::pages::{Pages, PagesError};
    use super::*;
    use crate::model::fabric::FabricCounters;
    use crate::model::gpu::GpuError;
    use crate::model::memory::{MapError, Mapping, MemoryMap};

    #[test]
    fn ring_sizes_are_powers_of_two_between_the_agents_bounds() {
        assert_eq!(RingSize::for_request(1).unwrap().0.get(), SMALLEST_RING, "small requests get the minimum");
        assert_eq!(RingSize::for_request(4096).unwrap().0.get(), 4096);
        assert_eq!(RingSize::for_request(LARGEST_RING).unwrap().0.get(), LARGEST_RING);
        for wrong in [0, 3, 100, LARGEST_RING * 2, u32::MAX] {
            assert!(matches!(RingSize::for_request(wrong), Err(RuntimeError::InvalidArgument(_))), "{wrong}");
        }
    }

    /// A device that only keeps what it is told.
    #[derive(Default)]
    struct Fake {
        memory: MemoryMap,
        created: Mutex<Vec<QueueDescriptor>>,
        destroyed: Mutex<Vec<QueueId>>,
        full: AtomicBool,
        bell: Option<Arc<vfio::MappedDoorbell>>,
    }

    impl AddressSpace for Fake {
        fn allocate(&self, bytes: usize, home: Home) -> Result<Pages, PagesError> {
            self.memory.allocate(bytes, home)
        }

        fn capacity(&self, home: Home) -> usize {
            self.memory.capacity(home)
        }

        unsafe fn map(&self, mapping: Mapping) -> Result<(), MapError> {
            // SAFETY: the caller's promise.
            unsafe { self.memory.map(mapping) }
        }

        fn unmap(&self, va: GpuVa) {
            AddressSpace::unmap(&self.memory, va);
        }
    }

    impl Device for Fake {
        fn identity(&self) -> &Identity {
            unreachable!("queues do not ask who the device is")
        }

        fn interrupts(&self) -> Interrupts {
            Interrupts::Polled
        }

        fn signal_limit(&self) -> usize {
            16
        }

        fn create_queue(&self, descriptor: QueueDescriptor) -> Result<(QueueId, Doorbell), DeviceError> {
            if self.full.load(Ordering::Relaxed) {
                return Err(GpuError::TooManyQueues { limit: 0 }.into());
            }
            self.created.lock().unwrap().push(descriptor);
            Ok((QueueId(7), Doorbell::Mapped(self.bell.clone().unwrap())))
        }

        fn destroy_queue(&self, queue: QueueId) {
            self.destroyed.lock().unwrap().push(queue);
        }

        fn timestamp(&self) -> u64 {
            0
        }

        fn last_fault(&self) -> Option<String> {
            None
        }

        fn fabric_counters(&self) -> Option<FabricCounters> {
            None
        }
    }

    fn rig() -> (Arc<Fake>, vfio::TestBar, Queues) {
        let bar = vfio::TestBar::never_rung();
        let device = Arc::new(Fake { bell: Some(Arc::new(bar.doorbell(7))), ..Fake::default() });
        let queues = Queues::new(device.clone()).unwrap();
        (device, bar, queues)
    }

    #[test]
    fn a_store_to_the_doorbell_signal_reaches_the_devices_doorbell_until_the_queue_is_destroyed() {
        let (device, bar, queues) = rig();
        let queue = queues.create(RingSize::for_request(64).unwrap(), QueueKind::Multi, None).unwrap();
        let descriptor = device.created.lock().unwrap()[0];
        assert_eq!((descriptor.amd_queue, descriptor.packets.get()), (GpuVa(queue), 64));
        let signal = queue + DOORBELL_SIGNAL as u64;
        assert!(queues.ring(signal, 3));
        assert_eq!(bar.word(7), 3);
        queues.destroy(queue, Caller::Application).unwrap();
        assert_eq!(*device.destroyed.lock().unwrap(), [QueueId(7)]);
        assert!(!queues.ring(signal, 4), "a stale handle");
        assert_eq!(bar.word(7), 3);
    }

    #[test]
    fn a_queue_that_the_device_refuses_leaves_its_slot_free() {
        let (device, _bar, queues) = rig();
        device.full.store(true, Ordering::Relaxed);
        for _ in 0..MOST_QUEUES + 1 {
            let refused = queues.create(RingSize::for_request(64).unwrap(), QueueKind::Multi, None);
            assert!(matches!(refused, Err(RuntimeError::Device(_))), "the device refuses, not the table of queues");
        }
    }

    #[test]
    fn the_read_index_lies_where_amds_packet_processor_expects_it() {
        assert_eq!((WRITE_INDEX, READ_INDEX, PROPERTIES), (0x38, 0x80, 0xb4));
        assert_eq!(offset_of!(sys::amd_queue_s, queue_inactive_signal), 0xc0);
    }
}
