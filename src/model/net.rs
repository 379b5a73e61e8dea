//! A net under the device: an access to a part of the aperture that has no memory is caught instead of ending the process.
//!
//! Behind AMD's runtime the device's address space is an aperture, a range of this process's addresses that the runtime reserves
//! without access and fills with memory as it is mapped for the GPU. Memory that is registered but not mapped (yet, or any
//! more) faults there. On hardware such an access is a page fault of the GPU, which stops the queue.
//!
//! **Invariant of an aperture**: its range was reserved for the device, and from [`Aperture::catch`] until the value is dropped only
//! the runtime changes what is mapped there; nothing else of the process lives in it. So an inaccessible page in it holds
//! nobody's data and may be made accessible. Who catches promises it.
//!
//! The handlers run on a thread that has just faulted: they touch atomics and the stack only, and call nothing but `gettid`,
//! `mprotect`, `mmap` and `sigaction`, which are bare system calls. They act only for a faulting address inside a caught
//! aperture and on a thread that declared by a [`Watch`] that it works for the device. Everything else goes to the handler that
//! was there before.

use std::ffi::{c_int, c_void};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::address::GpuVa;
use super::memory::Access;

const PAGE_BYTES: usize = 4096;
/// Pages repaired between two looks at [`Watch::caught`] at most: far more than a turn can touch, so that a page that cannot be
/// repaired does not keep the thread faulting for ever.
const MOST_REPAIRS: u32 = 1 << 20;
/// Set beside the address of a caught access when it was a write.
const WRITE: u64 = 1 << 63;
/// Set beside the address of a caught access, so that address zero is one too.
const CAUGHT: u64 = 1 << 62;

/// Apertures of a process at most.
const APERTURES: usize = 32;
/// Watched threads of a process at most.
const WATCHES: usize = 128;

struct ApertureSlot {
    base: AtomicUsize,
    /// Zero while the slot is free or being filled.
    length: AtomicUsize,
}

struct WatchSlot {
    /// Zero while the slot is free.
    thread: AtomicI32,
    caught: AtomicU64,
    repairs: AtomicU32,
}

static APERTURE_SLOTS: [ApertureSlot; APERTURES] =
    [const { ApertureSlot { base: AtomicUsize::new(0), length: AtomicUsize::new(0) } }; APERTURES];
static WATCH_SLOTS: [WatchSlot; WATCHES] =
    [const { WatchSlot { thread: AtomicI32::new(0), caught: AtomicU64::new(0), repairs: AtomicU32::new(0) } }; WATCHES];

/// The handlers that were there before: of SIGSEGV and of SIGBUS.
static PREVIOUS: [AtomicPtr<libc::sigaction>; 2] = [const { AtomicPtr::new(ptr::null_mut()) }; 2];
const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// Why there is no net.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The handlers cannot be installed.
    #[error("cannot install the handler of signal {signal}: {source}")]
    Handler {
        /// Its number.
        signal: c_int,
        /// What the system said.
        source: io::Error,
    },
    /// Too many devices.
    #[error("the process has {APERTURES} device apertures already")]
    TooMany,
}

/// An aperture under which the net is spread while this value lives.
#[derive(Debug)]
pub struct Aperture {
    slot: usize,
}

impl Aperture {
    /// Spreads the net under `length` bytes at `base`.
    ///
    /// # Errors
    /// The handlers cannot be installed, or there are too many apertures.
    ///
    /// # Safety
    /// The caller promises the invariant of an aperture (see the module).
    pub unsafe fn catch(base: *mut c_void, length: usize) -> Result<Self, NetError> {
        static INSTALLED: OnceLock<Result<(), (c_int, i32)>> = OnceLock::new();
        INSTALLED
            .get_or_init(install)
            .map_err(|(signal, errno)| NetError::Handler { signal, source: io::Error::from_raw_os_error(errno) })?;
        let free = |slot: &ApertureSlot| slot.base.compare_exchange(0, base as usize, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let slot = APERTURE_SLOTS.iter().position(free).ok_or(NetError::TooMany)?;
        APERTURE_SLOTS[slot].length.store(length, Ordering::Release);
        Ok(Self { slot })
    }
}

impl Drop for Aperture {
    fn drop(&mut self) {
        APERTURE_SLOTS[self.slot].length.store(0, Ordering::Release);
        APERTURE_SLOTS[self.slot].base.store(0, Ordering::Release);
    }
}

/// An access that the net caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    /// Where.
    pub va: GpuVa,
    /// Reading or writing, as far as the processor says.
    pub access: Access,
}

impl fmt::Display for Caught {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "memory fault: {} at {}: memory is registered there, but not mapped for the GPU", self.access, self.va)
    }
}

/// A thread's declaration that it works for the device, while this value lives. It stays on the thread that made it.
#[derive(Debug)]
pub struct Watch {
    slot: usize,
    stays_on_its_thread: std::marker::PhantomData<*const ()>,
}

impl Watch {
    /// Declares it for the calling thread; `None` when too many threads are watched, so that there is no net for this one.
    #[must_use]
    pub fn this_thread() -> Option<Self> {
        let thread = this_thread();
        let free = |slot: &WatchSlot| slot.thread.compare_exchange(0, thread, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let slot = WATCH_SLOTS.iter().position(free)?;
        let watch = Self { slot, stays_on_its_thread: std::marker::PhantomData };
        // What the slot's last thread left.
        let _ = watch.caught();
        Some(watch)
    }

    /// The first access of this thread that was caught since the last call. Until then its page reads as zero and keeps what is
    /// written to it.
    #[inline]
    pub fn caught(&self) -> Option<Caught> {
        let slot = &WATCH_SLOTS[self.slot];
        if slot.caught.load(Ordering::Relaxed) == 0 {
            return None;
        }
        slot.repairs.store(0, Ordering::Relaxed);
        let caught = slot.caught.swap(0, Ordering::Relaxed);
        let access = if caught & WRITE == 0 { Access::Read } else { Access::Write };
        Some(Caught { va: GpuVa(caught & !(WRITE | CAUGHT)), access })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCH_SLOTS[self.slot].thread.store(0, Ordering::Release);
    }
}

fn this_thread() -> i32 {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }
}

fn install() -> Result<(), (c_int, i32)> {
    for (signal, previous) in SIGNALS.into_iter().zip(&PREVIOUS) {
        let failed = || (signal, io::Error::last_os_error().raw_os_error().unwrap_or_default());
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: only asks for the present action; `old` has room for it.
        if unsafe { libc::sigaction(signal, ptr::null(), old.as_mut_ptr()) } != 0 {
            return Err(failed());
        }
        // SAFETY: sigaction has filled it in; all zeroes would be a valid value as well. It is never freed: the handler needs it.
        previous.store(Box::into_raw(Box::new(unsafe { old.assume_init() })), Ordering::Release);
        // SAFETY: all zeroes is a valid sigaction; the fields that matter follow.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = handler as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the mask is ours; the handler has the signature that SA_SIGINFO asks for and is safe on a faulting thread.
        let installed = unsafe {
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, ptr::null_mut())
        };
        if installed != 0 {
            return Err(failed());
        }
    }
    Ok(())
}

extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo; si_addr is filled in for SIGSEGV and SIGBUS that it raises itself (si_code > 0).
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    if code <= 0 || !repair(signal, address, context) {
        pass_on(signal, info, context);
    }
}

/// Makes the page accessible if the fault is the device's; says whether it did.
fn repair(signal: c_int, address: usize, context: *mut c_void) -> bool {
    let inside =
        |slot: &&ApertureSlot| address.wrapping_sub(slot.base.load(Ordering::Acquire)) < slot.length.load(Ordering::Acquire);
    let Some(aperture) = APERTURE_SLOTS.iter().find(inside) else { return false };
    let thread = this_thread();
    let Some(watch) = WATCH_SLOTS.iter().find(|slot| slot.thread.load(Ordering::Relaxed) == thread) else { return false };
    if watch.repairs.fetch_add(1, Ordering::Relaxed) >= MOST_REPAIRS {
        return false;
    }
    let page = (address & !(PAGE_BYTES - 1)) as *mut c_void;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: errno belongs to this thread, and what was interrupted may be about to read it.
    let errno = unsafe { *libc::__errno_location() };
    let repaired = if signal == libc::SIGSEGV {
        // SAFETY: the page lies in a caught aperture, whose inaccessible pages hold nobody's data (invariant of an aperture).
        unsafe { libc::mprotect(page, PAGE_BYTES, access) == 0 }
    } else {
        // Memory behind the end of its file: no protection helps, another page does.
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: as above.
        unsafe { libc::mmap(page, PAGE_BYTES, access, flags, -1, 0) == page }
    };
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    if repaired {
        let offset = address.wrapping_sub(aperture.base.load(Ordering::Acquire)) as u64;
        let write = if was_write(context) { WRITE } else { 0 };
        // Only the first one is told; the others follow from it.
        let _ = watch.caught.compare_exchange(0, offset | CAUGHT | write, Ordering::Relaxed, Ordering::Relaxed);
    }
    repaired
}

#[cfg(target_arch = "x86_64")]
fn was_write(context: *mut c_void) -> bool {
    const WRITE_ACCESS: i64 = 1 << 1;
    // SAFETY: with SA_SIGINFO the kernel passes a ucontext_t of the interrupted thread.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    registers[libc::REG_ERR as usize] & WRITE_ACCESS != 0
}

#[cfg(not(target_arch = "x86_64"))]
fn was_write(_context: *mut c_void) -> bool {
    false
}

fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let index = SIGNALS.iter().position(|known| *known == signal).unwrap_or(0);
    let previous = PREVIOUS[index].load(Ordering::Acquire);
    // SAFETY: install stored a leaked box there before it installed this handler.
    let action = unsafe { &*previous };
    // SAFETY: with SA_SIGINFO the kernel passes a siginfo_t; a code that is not positive says that somebody sent the signal (sigaction(2)).
    let sent = unsafe { (*info).si_code } <= 0;
    match action.sa_sigaction {
        // A fault cannot be ignored, a signal can.
        libc::SIG_IGN if sent => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: puts the default action back; the fault happens again when this returns, and ends the process as it should.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
            if sent {
                // SAFETY: it only sends a signal, which stays blocked until this returns.
                unsafe { libc::raise(signal) };
            }
        }
        other if action.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: an action with SA_SIGINFO is a function of these three arguments.
            let function: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = unsafe { std::mem::transmute(other) };
            function(signal, info, context);
        }
        other => {
            // SAFETY: an action without SA_SIGINFO is a function of the signal's number.
            let function: extern "C" fn(c_int) = unsafe { std::mem::transmute(other) };
            function(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pages without access, as ROCr reserves its aperture.
    struct Reserved(*mut u8);

    impl Reserved {
        fn new() -> Self {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: a new private mapping touches no existing memory.
            let base = unsafe { libc::mmap(ptr::null_mut(), 2 * PAGE_BYTES, libc::PROT_NONE, flags, -1, 0) };
            assert_ne!(base, libc::MAP_FAILED);
            Self(base.cast())
        }

        fn catch(&self) -> Aperture {
            // SAFETY: the mapping is this value's alone and outlives what the tests do with it.
            unsafe { Aperture::catch(self.0.cast(), 2 * PAGE_BYTES) }.unwrap()
        }
    }

    impl Drop for Reserved {
        fn drop(&mut self) {
            // SAFETY: maps nothing but what `new` mapped.
            unsafe { libc::munmap(self.0.cast(), 2 * PAGE_BYTES) };
        }
    }

    #[test]
    fn an_access_to_a_page_without_memory_reads_zero_and_is_told_with_its_address() {
        let reserved = Reserved::new();
        let _aperture = reserved.catch();
        let watch = Watch::this_thread().unwrap();
        // SAFETY: the net makes the page accessible.
        let value = unsafe { reserved.0.add(PAGE_BYTES + 8).cast::<u64>().read_volatile() };
        assert_eq!(value, 0);
        assert_eq!(watch.caught(), Some(Caught { va: GpuVa(PAGE_BYTES as u64 + 8), access: Access::Read }));
        assert_eq!(watch.caught(), None);
        // SAFETY: as above.
        unsafe { reserved.0.write_volatile(1) };
        let access = if cfg!(target_arch = "x86_64") { Access::Write } else { Access::Read };
        assert_eq!(watch.caught(), Some(Caught { va: GpuVa(0), access }));
    }

    /// Runs one test of this binary in a process of its own; gives the signal that ended it.
    fn signal_of(test: &str) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        let program = std::env::current_exe().unwrap();
        let mut command = std::process::Command::new(program);
        command.args(["--exact", "--ignored", &format!("model::net::tests::{test}")]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().unwrap().signal()
    }

    #[test]
    #[ignore = "ends its process; run by a_thread_that_does_not_work_for_the_device_is_not_caught"]
    fn touch_the_aperture_unwatched() {
        let reserved = Reserved::new();
        let _aperture = reserved.catch();
        // SAFETY: it is what the test is about: the process ends here.
        unsafe { reserved.0.read_volatile() };
    }

    #[test]
    #[ignore = "ends its process; run by an_access_outside_the_aperture_is_not_caught"]
    fn touch_memory_outside_the_aperture() {
        let (reserved, other) = (Reserved::new(), Reserved::new());
        let _aperture = reserved.catch();
        let _watch = Watch::this_thread().unwrap();
        // SAFETY: it is what the test is about: the process ends here.
        unsafe { other.0.read_volatile() };
    }

    #[test]
    #[ignore = "ends its process; run by a_signal_that_is_sent_ends_the_process_at_once"]
    fn send_itself_a_signal_once() {
        // SAFETY: the default action for the net to pass on to, as a program in C has it.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        let reserved = Reserved::new();
        let _aperture = reserved.catch();
        // SAFETY: it is what the test is about: the process ends here.
        unsafe { libc::raise(libc::SIGSEGV) };
    }

    #[test]
    fn a_signal_that_is_sent_ends_the_process_at_once() {
        assert_eq!(signal_of("send_itself_a_signal_once"), Some(libc::SIGSEGV));
    }

    #[test]
    fn a_thread_that_does_not_work_for_the_device_is_not_caught() {
        assert_eq!(signal_of("touch_the_aperture_unwatched"), Some(libc::SIGSEGV));
    }

    #[test]
    fn an_access_outside_the_aperture_is_not_caught() {
        assert_eq!(signal_of("touch_memory_outside_the_aperture"), Some(libc::SIGSEGV));
    }
}
