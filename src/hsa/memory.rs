//! Buffers: memory of a pool, freed on drop.
//!
//! The rule of this file: **a buffer that the device can reach is touched through atomics and raw copies only**, never through
//! a plain reference, because the device writes it at any time.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::agent::{Agent, AgentKind};
use super::error::{HsaError, check};
use super::pool::Pool;
use super::runtime::Runtime;
use super::sys::hsa_agent_t;

/// Allocations start on a page, as every runtime's pools do; a smaller alignment would make the typed views unsound.
const ALIGNMENT: usize = 64;

/// An allocation of a pool.
///
/// Invariant once `new` has returned it: `bytes` bytes at `base` are mapped until drop; `bytes` is a multiple of 8 and `base` of 64.
#[derive(Debug)]
struct Allocation {
    runtime: Runtime,
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to the value and is touched through atomics or the runtime's thread-safe copy only.
unsafe impl Send for Allocation {}
// SAFETY: as above.
unsafe impl Sync for Allocation {}

impl Allocation {
    fn new(pool: &Pool, bytes: usize, reachable_by: &[&Agent]) -> Result<Self, HsaError> {
        let runtime = pool.runtime().clone();
        let functions = *runtime.functions();
        // A size that overflows is the runtime's to refuse.
        let bytes = bytes.max(1).checked_next_multiple_of(8).unwrap_or(usize::MAX - 7);
        let mut base: *mut c_void = std::ptr::null_mut();
        // SAFETY: the pool is this runtime's; `base` receives the address. A runtime that rejects the size says so.
        check("hsa_amd_memory_pool_allocate", unsafe {
            (functions.hsa_amd_memory_pool_allocate)(pool.handle(), bytes, 0, &raw mut base)
        })?;
        let defective = |problem: String| HsaError::Defective { call: "hsa_amd_memory_pool_allocate", problem };
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(|| defective("the address is NULL".to_owned()))?;
        let allocation = Self { runtime, base, bytes };
        if !base.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            return Err(defective(format!("the address {base:p} is no multiple of {ALIGNMENT}")));
        }
        let agents: Vec<hsa_agent_t> = reachable_by.iter().map(|agent| agent.handle()).collect();
        if !agents.is_empty() {
            // SAFETY: the agents are the runtime's, the list has the length given, flags are unused (NULL), and the address is
            // an allocation of this runtime.
            check("hsa_amd_agents_allow_access", unsafe {
                (functions.hsa_amd_agents_allow_access)(
                    agents.len() as u32,
                    agents.as_ptr(),
                    std::ptr::null(),
                    allocation.base.as_ptr().cast(),
                )
            })?;
        }
        Ok(allocation)
    }

    fn address(&self) -> u64 {
        self.base.as_ptr().addr() as u64
    }

    fn copy_from(&self, source: *const u8, bytes: usize) -> Result<(), HsaError> {
        // SAFETY: the callers pass a source of `bytes` bytes, and `bytes` is at most this allocation's size.
        check("hsa_memory_copy", unsafe {
            (self.runtime.functions().hsa_memory_copy)(self.base.as_ptr().cast(), source.cast(), bytes)
        })
    }

    fn range(&self, offset: usize, bytes: usize) -> Result<(), HsaError> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(HsaError::OutsideBuffer { offset, bytes, buffer_bytes: self.bytes }),
        }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: allocated by this runtime, which is still initialised, and freed once. A device that still uses it faults on
        // its own page tables.
        unsafe { (self.runtime.functions().hsa_amd_memory_pool_free)(self.base.as_ptr().cast()) };
    }
}

/// Host memory that devices can reach, as views of atomics.
#[derive(Debug)]
pub struct Buffer(Allocation);

impl Buffer {
    /// Allocates at least `bytes` bytes (rounded up to 8) from a CPU agent's pool and opens them to `reachable_by`.
    ///
    /// # Errors
    /// The pool is not host memory, or the runtime refused.
    pub fn allocate(pool: &Pool, bytes: usize, reachable_by: &[&Agent]) -> Result<Self, HsaError> {
        if pool.agent_kind() != AgentKind::Cpu {
            return Err(HsaError::NotHostMemory { agent: pool.agent().to_owned() });
        }
        Allocation::new(pool, bytes, reachable_by).map(Self)
    }

    /// The address that packets and kernel arguments name it by.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.0.address()
    }

    /// Length in bytes, a multiple of 8.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// The whole buffer as bytes.
    #[must_use]
    pub fn u8s(&self) -> &[AtomicU8] {
        // SAFETY: mapped and writable for the lifetime of self (invariant of Allocation); any bytes are valid atomics.
        unsafe { slice::from_raw_parts(self.0.base.as_ptr().cast(), self.0.bytes) }
    }

    /// The whole buffer as 32-bit words.
    #[must_use]
    pub fn u32s(&self) -> &[AtomicU32] {
        // SAFETY: as in `u8s`; base is aligned and the length is a multiple of 8.
        unsafe { slice::from_raw_parts(self.0.base.as_ptr().cast(), self.0.bytes / 4) }
    }

    /// The whole buffer as 64-bit words.
    #[must_use]
    pub fn u64s(&self) -> &[AtomicU64] {
        // SAFETY: as in `u32s`.
        unsafe { slice::from_raw_parts(self.0.base.as_ptr().cast(), self.0.bytes / 8) }
    }

    /// The whole buffer as signed 64-bit words.
    #[must_use]
    pub fn i64s(&self) -> &[AtomicI64] {
        // SAFETY: as in `u32s`.
        unsafe { slice::from_raw_parts(self.0.base.as_ptr().cast(), self.0.bytes / 8) }
    }

    /// Stores `value` into every 32-bit word, relaxed.
    pub fn fill_u32(&self, value: u32) {
        self.u32s().iter().for_each(|word| word.store(value, Ordering::Relaxed));
    }

    /// Stores `value` into every 64-bit word, relaxed.
    pub fn fill_u64(&self, value: u64) {
        self.u64s().iter().for_each(|word| word.store(value, Ordering::Relaxed));
    }

    /// Stores bytes from `offset` on, relaxed: kernel arguments, before the packet that names them is published.
    ///
    /// # Errors
    /// [`HsaError::OutsideBuffer`]; nothing is written then.
    pub fn write_bytes(&self, offset: usize, bytes: &[u8]) -> Result<(), HsaError> {
        self.0.range(offset, bytes.len())?;
        for (cell, byte) in self.u8s()[offset..].iter().zip(bytes) {
            cell.store(*byte, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A device's own memory. The host cannot assume that it can touch it, so it is reached by copies only.
#[derive(Debug)]
pub struct DeviceBuffer(Allocation);

impl DeviceBuffer {
    /// Allocates at least `bytes` bytes (rounded up to 8) from any pool.
    ///
    /// # Errors
    /// The runtime refused.
    pub fn allocate(pool: &Pool, bytes: usize) -> Result<Self, HsaError> {
        Allocation::new(pool, bytes, &[]).map(Self)
    }

    /// The address that packets and kernel arguments name it by.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.0.address()
    }

    /// Length in bytes, a multiple of 8.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// Copies all of `source`, which nobody else may change meanwhile, to the start of this memory, and returns when it is there.
    ///
    /// # Errors
    /// It does not fit, or the runtime failed.
    pub fn copy_from(&self, source: &mut Buffer) -> Result<(), HsaError> {
        self.0.range(0, source.bytes())?;
        self.0.copy_from(source.0.base.as_ptr(), source.bytes())
    }

    /// Copies all of this memory to the start of `destination`, which nobody else may look at meanwhile, and returns when it is there.
    ///
    /// # Errors
    /// It does not fit, or the runtime failed.
    pub fn copy_to(&self, destination: &mut Buffer) -> Result<(), HsaError> {
        destination.0.range(0, self.bytes())?;
        destination.0.copy_from(self.0.base.as_ptr(), self.bytes())
    }
}
