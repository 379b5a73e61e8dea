//! The device behind the table: memory as the runtime registers it, queues as they come and go.

use std::ffi::c_void;
use std::fmt;
use std::mem::offset_of;
use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::machine::{self, Unfit};
use super::say;
use crate::faults::{FaultPlan, INJECT_ENV, PlanError};
use crate::hsa::sys::amd_queue_t;
use crate::model::address::GpuVa;
use crate::model::gpu::{DoorbellPage, Gpu, GpuConfig, GpuError, InterruptSink, QueueDescriptor, QueueId, SdmaDescriptor};
use crate::model::host::HostProtocol;
use crate::model::machine::Machine;
use crate::model::memory::{Home, HostPtr, MapError, Mapping, Protection};
use crate::model::net::{self, NetError, Watch};
use crate::model::target::Target;

/// Flags of an allocation (Linux, `include/uapi/linux/kfd_ioctl.h`, `KFD_IOC_ALLOC_MEM_FLAGS_*`).
mod flag {
    pub const VRAM: u32 = 1 << 0;
    pub const DOORBELL: u32 = 1 << 3;
    /// Not to be cached by the device at all.
    pub const UNCACHED: u32 = 1 << 25;
    /// Fine-grained.
    pub const COHERENT: u32 = 1 << 26;
    pub const EXECUTABLE: u32 = 1 << 30;
    pub const WRITABLE: u32 = 1 << 31;
}

const READ_INDEX: u64 = offset_of!(amd_queue_t, read_dispatch_id) as u64;
const WRITE_INDEX: u64 = offset_of!(amd_queue_t, write_dispatch_id) as u64;
const PACKET_BYTES: u32 = 64;

/// Where the device's atomics to an allocation are performed. Host memory leaves the device only where the device may not cache it.
const fn home(flags: u32) -> Home {
    if flags & flag::VRAM != 0 {
        Home::DeviceLocal
    } else if flags & (flag::COHERENT | flag::UNCACHED | flag::DOORBELL) != 0 {
        Home::Host
    } else {
        Home::CachedHost
    }
}

/// What kind of queue the runtime asks for (`KFD_IOC_QUEUE_TYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Copies.
    Sdma,
    /// AQL packets.
    ComputeAql,
    /// One that the model does not have.
    Other(u32),
}

impl QueueKind {
    /// The kind of this number.
    pub const fn of(number: u32) -> Self {
        match number {
            1 => Self::Sdma,
            2 => Self::ComputeAql,
            other => Self::Other(other),
        }
    }
}

/// A queue as the runtime describes it.
#[derive(Clone, Copy, Debug)]
pub struct QueueInfo {
    /// What it is for.
    pub kind: QueueKind,
    /// Its ring.
    pub ring: GpuVa,
    /// Bytes of the ring.
    pub ring_bytes: u32,
    /// Where the device says how far it has read.
    pub read_pointer: GpuVa,
    /// Where the host says how far it has written.
    pub write_pointer: GpuVa,
}

/// Where GPU address zero lies in this process, and how far the GPU's addresses go.
#[derive(Clone, Copy, Debug)]
pub struct Aperture {
    base: NonNull<u8>,
    bytes: u64,
}

// SAFETY: an Aperture is a pair of numbers; memory in it is reached through the device's memory map only.
unsafe impl Send for Aperture {}
// SAFETY: as above.
unsafe impl Sync for Aperture {}

impl Aperture {
    /// The aperture at `base`.
    ///
    /// # Safety
    /// The invariant of an aperture ([`net`]) holds for it to the end of the process, and what is registered in it is told before it is
    /// mapped and after it was unmapped.
    pub const unsafe fn new(base: NonNull<u8>, bytes: u64) -> Self {
        Self { base, bytes }
    }

    /// Where a range of GPU addresses lies, if all of it is inside.
    fn host(&self, va: GpuVa, bytes: u64) -> Option<NonNull<u8>> {
        let end = va.0.checked_add(bytes)?;
        let offset = usize::try_from(va.0).ok()?;
        (end <= self.bytes).then(|| NonNull::new(self.base.as_ptr().wrapping_add(offset)))?
    }
}

/// The runtime's function that sets an event.
#[derive(Clone, Copy)]
pub struct SetEvent {
    function: unsafe extern "C" fn(*mut c_void, u32),
    data: *mut c_void,
}

// SAFETY: the function may be called from any thread (contract of `new`), and the data is only passed to it.
unsafe impl Send for SetEvent {}
// SAFETY: as above.
unsafe impl Sync for SetEvent {}

impl SetEvent {
    /// A function and what to pass to it.
    ///
    /// # Safety
    /// It may be called with `data` from any thread at any time.
    pub const unsafe fn new(function: unsafe extern "C" fn(*mut c_void, u32), data: *mut c_void) -> Self {
        Self { function, data }
    }

    fn call(self, event_id: u32) {
        // SAFETY: the contract of `new`.
        unsafe { (self.function)(self.data, event_id) }
    }
}

/// What the device tells the runtime, and whoever reads stderr.
#[derive(Default)]
struct Host {
    set_event: RwLock<Option<SetEvent>>,
}

impl InterruptSink for Host {
    fn raise(&self, event_id: u32) {
        let function = *self.set_event.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = function {
            function.call(event_id);
        }
    }

    fn diagnose(&self, fault: &dyn fmt::Display) {
        say(fault);
    }
}

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No machine for it.
    #[error(transparent)]
    Machine(#[from] Unfit),
    /// It does not start.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// What it is to do wrong is not said clearly.
    #[error("{INJECT_ENV}: {0}")]
    Faults(#[from] PlanError),
}

/// Why a call of the runtime's cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The runtime must say where the GPU's addresses lie before it registers memory.
    #[error("memory at {va} is registered before the aperture is known")]
    NoAperture {
        /// Its address.
        va: GpuVa,
    },
    /// A second aperture.
    #[error("the aperture is set already")]
    ApertureTwice,
    /// Not inside the aperture.
    #[error("{bytes} bytes at {va} leave the aperture")]
    OutsideAperture {
        /// First address.
        va: GpuVa,
        /// Bytes.
        bytes: u64,
    },
    /// There is no net under the device.
    #[error("a bad access of the device would end the process: {0}")]
    Net(#[from] NetError),
    /// The range meets another, or is not there.
    #[error("cannot register or forget memory: {0}")]
    Map(#[from] MapError),
    /// What is freed is not what was registered.
    #[error("{freed} bytes at {va} are freed, and {registered} were registered")]
    OtherLength {
        /// Its address.
        va: GpuVa,
        /// Bytes freed.
        freed: u64,
        /// Bytes registered.
        registered: u64,
    },
    /// The model has no such queues.
    #[error("KFD queue type {0}; the model has SDMA (1) and AQL (2) queues")]
    QueueType(u32),
    /// The ring has no whole number of packets.
    #[error("a ring of {bytes} bytes")]
    RingLength {
        /// Its length.
        bytes: u32,
    },
    /// Read and write index of an AQL queue must lie in one `amd_queue_t`.
    #[error("the read index at {read_pointer} and the write index at {write_pointer} are not those of one amd_queue_t")]
    NotAnAmdQueue {
        /// Where the read index is said to be.
        read_pointer: GpuVa,
        /// Where the write index is said to be.
        write_pointer: GpuVa,
    },
    /// The device refuses.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// The aperture with the net under it.
struct Space {
    aperture: Aperture,
    _net: net::Aperture,
}

/// One GPU.
pub struct Model {
    // First: its thread ends before the net goes.
    gpu: Gpu,
    host: Arc<Host>,
    doorbells: Arc<DoorbellPage>,
    space: OnceLock<Space>,
    _machine: Machine,
}

impl Model {
    /// Powers up the GPU that the environment describes.
    pub fn start() -> Result<Self, StartError> {
        let (target, machine) = machine::of_environment()?;
        Ok(Self::of(target, machine, FaultPlan::of_environment()?)?)
    }

    fn of(target: Target, machine: Machine, faults: Option<FaultPlan>) -> Result<Self, GpuError> {
        let config = GpuConfig {
            target,
            sysfs_root: machine.sysfs_root.clone(),
            endpoint: machine.endpoint.to_string(),
            host: HostProtocol::ROCR_MODEL_MODE,
            faults,
        };
        let host = Arc::new(Host::default());
        let gpu = Gpu::start(&config, Arc::clone(&host) as Arc<dyn InterruptSink>)?;
        // The device has mapped what it needs of a tree of its own, and a process that aborts would leave the files behind.
        machine.clear_away();
        Ok(Self { gpu, host, doorbells: Arc::default(), space: OnceLock::new(), _machine: machine })
    }

    /// Learns where the GPU's addresses lie.
    pub fn set_aperture(&self, aperture: Aperture) -> Result<(), CallError> {
        let bytes = usize::try_from(aperture.bytes).unwrap_or(usize::MAX);
        // SAFETY: the contract of Aperture::new.
        let net = unsafe { net::Aperture::catch(aperture.base.as_ptr().cast(), bytes)? };
        self.space.set(Space { aperture, _net: net }).map_err(|_| CallError::ApertureTwice)
    }

    /// Learns of memory, which will be mapped only after this.
    pub fn register(&self, va: GpuVa, bytes: u64, flags: u32) -> Result<(), CallError> {
        let space = self.space.get().ok_or(CallError::NoAperture { va })?;
        let host = space.aperture.host(va, bytes).ok_or(CallError::OutsideAperture { va, bytes })?;
        let has = |flag: u32| flags & flag != 0;
        let mapping = Mapping {
            va,
            length: bytes,
            host: HostPtr::new(host),
            home: home(flags),
            protection: match (has(flag::WRITABLE), has(flag::EXECUTABLE)) {
                (true, true) => Protection::ReadWriteExecute,
                (true, false) => Protection::ReadWrite,
                (false, true) => Protection::ReadExecute,
                (false, false) => Protection::ReadOnly,
            },
        };
        // SAFETY: the range lies in the aperture, which is there to the end of the process. Where it is not mapped (yet), the net
        // makes an access harmless; the device's thread and this door's calls are watched (contract of Aperture::new).
        unsafe { self.gpu.memory().map(mapping)? };
        if has(flag::DOORBELL) {
            self.doorbells.place(va);
        }
        Ok(())
    }

    /// Learns that memory is gone; it has been unmapped before this.
    pub fn unregister(&self, va: GpuVa, bytes: u64) -> Result<(), CallError> {
        self.doorbells.remove(va);
        let registered = self.gpu.memory().unmap(va)?.length;
        if registered == bytes { Ok(()) } else { Err(CallError::OtherLength { va, freed: bytes, registered }) }
    }

    /// Where the runtime wants events to be set.
    pub fn set_event_function(&self, function: Option<SetEvent>) {
        *self.host.set_event.write().unwrap_or_else(PoisonError::into_inner) = function;
    }

    /// Starts a queue. Its id is the lowest that is free, as the runtime's own is, which says where its doorbell will be.
    pub fn create_queue(&self, info: &QueueInfo) -> Result<QueueId, CallError> {
        // The device's structures are looked at on this thread too.
        let _watch = Watch::this_thread();
        let &QueueInfo { kind, ring, ring_bytes, read_pointer, write_pointer } = info;
        let wrong_length = CallError::RingLength { bytes: ring_bytes };
        match kind {
            QueueKind::ComputeAql => {
                let amd_queue = GpuVa(read_pointer.0.wrapping_sub(READ_INDEX));
                if write_pointer != amd_queue + WRITE_INDEX {
                    return Err(CallError::NotAnAmdQueue { read_pointer, write_pointer });
                }
                let packets = NonZeroU32::new(ring_bytes / PACKET_BYTES).ok_or(wrong_length)?;
                Ok(self.gpu.create_polled_queue(QueueDescriptor { amd_queue, ring, packets }, &self.doorbells)?)
            }
            QueueKind::Sdma => {
                let ring_bytes = NonZeroU32::new(ring_bytes).ok_or(wrong_length)?;
                let descriptor = SdmaDescriptor { ring, ring_bytes, read_pointer, write_pointer };
                Ok(self.gpu.create_sdma_queue(descriptor, &self.doorbells)?)
            }
            QueueKind::Other(number) => Err(CallError::QueueType(number)),
        }
    }

    /// Stops a queue; returns when no turn of it runs.
    pub fn destroy_queue(&self, queue: QueueId) {
        self.gpu.destroy_queue(queue);
    }

    /// Ends the device with its process, which cannot drop it.
    pub fn switch_off(&self) {
        self.gpu.power_off();
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
