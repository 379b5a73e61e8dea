//! An initialised runtime.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::agent::{Agent, AgentKind};
use super::api::{Api, Functions, Origin};
use super::error::{HsaError, check};
use super::kfd_access::KfdAccess;
use super::low_stack;
use super::pool::{Pool, PoolUse};
use super::status::Status;
use super::sys::*;

/// A time stamp or distance in units of [`Runtime::timestamp_hz`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Ticks(pub u64);

/// An initialised runtime. Clones share one initialisation; it ends when the last clone and everything made from it is gone.
#[derive(Clone, Debug)]
pub struct Runtime(Arc<Session>);

/// One `hsa_init`. While a value exists the runtime is initialised: what every call in this room rests on.
#[derive(Debug)]
struct Session {
    api: Api,
    timestamp_hz: u64,
    longest_wait: Ticks,
    init_took: Duration,
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: pairs with the `hsa_init` that made this session; everything made from it held the session and is gone.
        unsafe { (self.api.functions().hsa_shut_down)() };
    }
}

/// The stack that `hsa_init` runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitStack {
    /// The caller's.
    Callers,
    /// One at an address with a small low half, which keeps ROCr's model mode from allocating gigabytes (see `low_stack`).
    Low,
}

impl Runtime {
    /// Initialises the runtime on the caller's stack.
    ///
    /// # Errors
    /// As [`Self::start_on`].
    pub fn start(api: Api) -> Result<Self, HsaError> {
        Self::start_on(api, InitStack::Callers)
    }

    /// Initialises the runtime.
    ///
    /// # Errors
    /// [`HsaError::Failed`]; for a runtime library the hint says what is wrong with `/dev/kfd`, if anything is.
    pub fn start_on(api: Api, stack: InitStack) -> Result<Self, HsaError> {
        let init = api.functions().hsa_init;
        let started = Instant::now();
        let status = match stack {
            // SAFETY: hsa_init has no precondition.
            InitStack::Callers => unsafe { init() },
            InitStack::Low => low_stack::init(init),
        };
        let init_took = started.elapsed();
        check("hsa_init", status).map_err(|error| match api.origin() {
            Origin::Library(_) => error.hinting(init_hint(&KfdAccess::probe())),
            Origin::Embedded => error,
        })?;
        let mut session = Session { api, timestamp_hz: 0, longest_wait: Ticks(0), init_took };
        session.timestamp_hz = system_info(&session.api, HSA_SYSTEM_INFO_TIMESTAMP_FREQUENCY)?;
        session.longest_wait = Ticks(system_info(&session.api, HSA_SYSTEM_INFO_SIGNAL_MAX_WAIT)?);
        if session.timestamp_hz == 0 {
            return Err(HsaError::Defective { call: "hsa_system_get_info", problem: "the timestamp frequency is 0".to_owned() });
        }
        Ok(Self(Arc::new(session)))
    }

    /// The table behind it.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.0.api
    }

    /// How long `hsa_init` took.
    #[must_use]
    pub fn init_took(&self) -> Duration {
        self.0.init_took
    }

    pub(super) fn functions(&self) -> &Functions {
        self.0.api.functions()
    }

    /// Every agent, in the runtime's order.
    ///
    /// # Errors
    /// The iteration or a query failed.
    pub fn agents(&self) -> Result<Vec<Agent>, HsaError> {
        let handles: Vec<hsa_agent_t> = collect("hsa_iterate_agents", |callback, data| {
            // SAFETY: the runtime is initialised; `collect` passes a matching callback and data that outlive the call.
            unsafe { (self.functions().hsa_iterate_agents)(Some(callback), data) }
        })?;
        handles.into_iter().map(|handle| Agent::query(self, handle)).collect()
    }

    /// The agents of one kind, in the runtime's order.
    ///
    /// # Errors
    /// As [`Self::agents`].
    pub fn agents_of_kind(&self, kind: AgentKind) -> Result<Vec<Agent>, HsaError> {
        Ok(self.agents()?.into_iter().filter(|agent| agent.kind() == kind).collect())
    }

    /// The first CPU agent's pool for this use: memory that host and devices share.
    ///
    /// # Errors
    /// There is none.
    pub fn host_pool(&self, wanted: PoolUse) -> Result<Pool, HsaError> {
        let cpu = self.agents_of_kind(AgentKind::Cpu)?.into_iter().next().ok_or(HsaError::NoCpuAgent)?;
        cpu.pool(wanted)
    }

    /// Ticks per second of the system clock that waits and dispatch times are in (`HSA_SYSTEM_INFO_TIMESTAMP_FREQUENCY`).
    #[must_use]
    pub fn timestamp_hz(&self) -> u64 {
        self.0.timestamp_hz
    }

    /// The system clock now (`HSA_SYSTEM_INFO_TIMESTAMP`).
    ///
    /// # Errors
    /// The query failed.
    pub fn timestamp(&self) -> Result<Ticks, HsaError> {
        system_info(&self.0.api, HSA_SYSTEM_INFO_TIMESTAMP).map(Ticks)
    }

    /// What a number of ticks is in time, rounded down to nanoseconds.
    #[must_use]
    pub fn duration(&self, ticks: Ticks) -> Duration {
        let nanoseconds = u128::from(ticks.0) * 1_000_000_000 / u128::from(self.0.timestamp_hz);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// A timeout hint for `duration`: at least one tick, at most what the runtime allows, never "for ever".
    #[must_use]
    pub(super) fn timeout_hint(&self, duration: Duration) -> Ticks {
        timeout_hint(duration, self.0.timestamp_hz, self.0.longest_wait)
    }
}

fn timeout_hint(duration: Duration, timestamp_hz: u64, longest: Ticks) -> Ticks {
    let ticks = (duration.as_nanos() * u128::from(timestamp_hz)).div_ceil(1_000_000_000);
    let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
    Ticks(ticks.min(longest.0).clamp(1, u64::MAX - 1))
}

/// Why `hsa_init` may have failed on a machine whose KFD answers like this. What to do about it depends on more of the machine
/// than this room knows.
fn init_hint(access: &KfdAccess) -> Option<String> {
    (!access.is_usable()).then(|| access.state())
}

fn system_info(api: &Api, attribute: hsa_system_info_t) -> Result<u64, HsaError> {
    // SAFETY: every attribute asked for here is a uint64_t (hsa.h).
    let value = unsafe { query(|out| (api.functions().hsa_system_get_info)(attribute, out)) };
    value.map_err(|status| failed("hsa_system_get_info", status))
}

/// Values that an info query writes; any bit pattern is one.
///
/// # Safety
/// All-zero bytes and any other bytes are a valid value.
pub(super) unsafe trait Plain: Copy {}
// SAFETY: integers, arrays and handles of integers.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for usize {}
// SAFETY: as above.
unsafe impl<const N: usize> Plain for [u8; N] {}

/// Runs a `*_get_info` call on a zeroed value.
///
/// # Safety
/// `call` writes at most `size_of::<T>()` bytes, and 64 more, through its argument, and only on success reads nothing else of this process.
pub(super) unsafe fn query<T: Plain>(call: impl FnOnce(*mut c_void) -> hsa_status_t) -> Result<T, Status> {
    /// Room behind the value: a runtime whose idea of the type is wider than these headers' does no harm.
    #[repr(C)]
    struct Roomy<T> {
        value: T,
        slack: [u64; 8],
    }
    let mut answer = MaybeUninit::<Roomy<T>>::zeroed();
    match Status::from(call(answer.as_mut_ptr().cast())) {
        // SAFETY: zeroed above, written by the runtime since; T is Plain and integers are anything.
        Status::Success => Ok(unsafe { answer.assume_init() }.value),
        status => Err(status),
    }
}

/// The error of a failed query.
pub(super) fn failed(call: &'static str, status: Status) -> HsaError {
    HsaError::Failed { call, status, hint: status.what_to_check().map(str::to_owned) }
}

/// The handles that an iteration names.
pub(super) fn collect<T: Copy>(
    call: &'static str,
    iterate: impl FnOnce(unsafe extern "C" fn(T, *mut c_void) -> hsa_status_t, *mut c_void) -> hsa_status_t,
) -> Result<Vec<T>, HsaError> {
    unsafe extern "C" fn push<T: Copy>(item: T, data: *mut c_void) -> hsa_status_t {
        // SAFETY: `data` is the vector below, which nothing else touches while the iteration runs.
        unsafe { (*data.cast::<Vec<T>>()).push(item) };
        HSA_STATUS_SUCCESS
    }
    let mut items = Vec::new();
    let status = iterate(push::<T>, (&raw mut items).cast());
    check(call, status)?;
    Ok(items)
}

/// The text in a NUL-padded field.
pub(super) fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNBOUNDED: Ticks = Ticks(u64::MAX);

    #[test]
    fn a_timeout_is_never_zero_ticks_and_never_for_ever() {
        assert_eq!(timeout_hint(Duration::ZERO, 1_000_000_000, UNBOUNDED), Ticks(1));
        assert_eq!(timeout_hint(Duration::MAX, 1_000_000_000, UNBOUNDED), Ticks(u64::MAX - 1));
        assert_eq!(timeout_hint(Duration::from_secs(9), 1_000, Ticks(50)), Ticks(50));
    }

    #[test]
    fn a_timeout_is_converted_to_the_system_clock_and_rounded_up() {
        assert_eq!(timeout_hint(Duration::from_millis(5), 100_000_000, UNBOUNDED), Ticks(500_000));
        assert_eq!(timeout_hint(Duration::from_nanos(11), 100_000_000, UNBOUNDED), Ticks(2));
    }

    #[test]
    fn a_text_field_ends_at_its_first_nul() {
        assert_eq!(text(b"gfx803\0garbage"), "gfx803");
        assert_eq!(text(b"gfx803"), "gfx803");
        assert_eq!(text(b""), "");
    }

    #[test]
    fn hsa_init_without_dev_kfd_says_so() {
        let missing = KfdAccess::Missing { path: "/dev/kfd".into() };
        let error = failed("hsa_init", Status::from(4104)).hinting(init_hint(&missing)).to_string();
        assert!(error.contains("HSA_STATUS_ERROR_OUT_OF_RESOURCES (0x1008)") && error.contains("there is no /dev/kfd"), "{error}");
        assert_eq!(init_hint(&KfdAccess::Usable), None);
    }
}
