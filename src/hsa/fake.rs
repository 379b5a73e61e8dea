//! A runtime for tests of the wrappers: it logs every call that creates or ends something, and fails where it is told to.
//!
//! It belongs to one thread, so every test has its own.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;

use super::api::{Api, Functions, Origin};
use super::sys::*;

const CPU: u64 = 1;
const GPU: u64 = 2;
const CPU_KERNARG: u64 = 10;
const CPU_FINE: u64 = 11;
const CPU_COARSE: u64 = 12;
const GPU_LOCAL: u64 = 20;
/// Where GPU 2 sits: 0000:0b:00.0.
const GPU_LOCATION: u32 = 0x0b00;

type ErrorCallback = unsafe extern "C" fn(hsa_status_t, *mut hsa_queue_t, *mut c_void);

thread_local! {
    static LOG: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    static FAULT: Cell<Option<(&'static str, hsa_status_t)>> = const { Cell::new(None) };
    static TIMESTAMP_HZ: Cell<u64> = const { Cell::new(1_000_000_000) };
    static RING_PACKETS: Cell<Option<u32>> = const { Cell::new(None) };
    static DOORBELL_KIND: Cell<Option<amd_signal_kind64_t>> = const { Cell::new(None) };
    static AGE: Cell<Age> = const { Cell::new(Age::Old) };
    static MISALIGNMENT: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: RefCell<HashMap<usize, Layout>> = RefCell::new(HashMap::new());
    static CALLBACK: Cell<Option<(ErrorCallback, usize)>> = const { Cell::new(None) };
}

/// Which runtimes the fake resembles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// ROCm 5.2 without what it may lack: no version of the extensions, no firmware, no optional function.
    Old,
    /// ROCm 7.2.
    New,
}

/// What the new runtime calls its build, with the quotation marks that ROCr's has.
const BUILD: &CStr = c"\"1.18.0-local-build-unknown\"";

/// The table of a runtime that has everything.
pub(super) fn new_api() -> Api {
    AGE.set(Age::New);
    Api::from_functions(NEW_FUNCTIONS, Origin::Library(PathBuf::from("fake")))
}

/// Gives the doorbell signals of new queues this kind, and a register at 0x7000.
pub(super) fn set_doorbell_kind(kind: i32) {
    DOORBELL_KIND.set(Some(kind.into()));
}

/// The fake's table.
pub(super) fn api() -> Api {
    Api::from_functions(FUNCTIONS, Origin::Library(PathBuf::from("fake")))
}

/// What was created and ended since the last call, in order.
pub(super) fn log() -> Vec<&'static str> {
    LOG.take()
}

/// Makes `call` return `status` from now on.
pub(super) fn fail(call: &'static str, status: hsa_status_t) {
    FAULT.set(Some((call, status)));
}

/// Makes the clock run at `hz`.
pub(super) fn set_timestamp_hz(hz: u64) {
    TIMESTAMP_HZ.set(hz);
}

/// Makes every queue claim this many packets.
pub(super) fn set_ring_packets(packets: u32) {
    RING_PACKETS.set(Some(packets));
}

/// Moves every allocation this many bytes off its alignment.
pub(super) fn set_misalignment(bytes: usize) {
    MISALIGNMENT.set(bytes);
}

/// Bytes that the fake still has allocated.
pub(super) fn live_bytes() -> usize {
    ALLOCATIONS.with_borrow(|live| live.values().map(Layout::size).sum())
}

/// Reports an error of the queue created last.
pub(super) fn report_queue_error(status: hsa_status_t) {
    let (callback, data) = CALLBACK.get().expect("a queue was created");
    // SAFETY: the queue is alive in the tests that call this, hence the data of its callback.
    unsafe { callback(status, std::ptr::null_mut(), data as *mut c_void) };
}

fn enter(call: &'static str) -> hsa_status_t {
    LOG.with_borrow_mut(|log| log.push(call));
    quiet(call)
}

fn quiet(call: &'static str) -> hsa_status_t {
    match FAULT.get() {
        Some((faulty, status)) if faulty == call => status,
        _ => HSA_STATUS_SUCCESS,
    }
}

/// Writes an info value.
///
/// # Safety
/// `out` has room for a `T`.
unsafe fn answer<T>(out: *mut c_void, value: T) -> hsa_status_t {
    // SAFETY: the caller's promise.
    unsafe { out.cast::<T>().write_unaligned(value) };
    HSA_STATUS_SUCCESS
}

fn name(text: &str) -> [u8; 64] {
    let mut field = [0; 64];
    field[..text.len()].copy_from_slice(text.as_bytes());
    field
}

fn allocate(bytes: usize) -> usize {
    let layout = Layout::from_size_align(bytes.max(1), 4096).expect("a small size");
    // SAFETY: the size is not zero.
    let base = unsafe { alloc_zeroed(layout) } as usize;
    ALLOCATIONS.with_borrow_mut(|live| live.insert(base, layout));
    base
}

fn release(base: usize) {
    let layout = ALLOCATIONS.with_borrow_mut(|live| live.remove(&base)).expect("freed once, at the address handed out");
    // SAFETY: allocated with this layout and removed from the list of live allocations just now.
    unsafe { dealloc(base as *mut u8, layout) };
}

unsafe extern "C" fn init() -> hsa_status_t {
    enter("hsa_init")
}

unsafe extern "C" fn shut_down() -> hsa_status_t {
    enter("hsa_shut_down")
}

unsafe extern "C" fn system_info(attribute: hsa_system_info_t, out: *mut c_void) -> hsa_status_t {
    let mut extensions = [0_u8; 128];
    // HSA_EXTENSION_IMAGES is 1.
    extensions[0] = 0b10;
    // SAFETY: each attribute with its type in hsa.h.
    unsafe {
        match (attribute, AGE.get()) {
            (HSA_SYSTEM_INFO_TIMESTAMP_FREQUENCY, _) => answer(out, TIMESTAMP_HZ.get()),
            (HSA_SYSTEM_INFO_SIGNAL_MAX_WAIT, _) => answer(out, u64::MAX),
            (HSA_SYSTEM_INFO_VERSION_MAJOR | HSA_SYSTEM_INFO_VERSION_MINOR, _) => answer(out, 1_u16),
            (HSA_AMD_SYSTEM_INFO_EXT_VERSION_MAJOR, Age::New) => answer(out, 1_u16),
            (HSA_AMD_SYSTEM_INFO_EXT_VERSION_MINOR, Age::New) => answer(out, 15_u16),
            (HSA_AMD_SYSTEM_INFO_BUILD_VERSION, Age::New) => answer(out, BUILD.as_ptr()),
            (HSA_SYSTEM_INFO_EXTENSIONS, Age::New) => answer(out, extensions),
            _ => HSA_STATUS_ERROR_INVALID_ARGUMENT,
        }
    }
}

unsafe extern "C" fn agents(
    callback: Option<unsafe extern "C" fn(hsa_agent_t, *mut c_void) -> hsa_status_t>,
    data: *mut c_void,
) -> hsa_status_t {
    for handle in [CPU, GPU] {
        // SAFETY: as the caller of hsa_iterate_agents promises.
        unsafe { callback.expect("a callback")(hsa_agent_t { handle }, data) };
    }
    quiet("hsa_iterate_agents")
}

unsafe extern "C" fn agent_info(agent: hsa_agent_t, attribute: hsa_agent_info_t, out: *mut c_void) -> hsa_status_t {
    let gpu = agent.handle == GPU;
    // SAFETY: each attribute with its type in hsa.h and hsa_ext_amd.h.
    unsafe {
        match attribute {
            HSA_AGENT_INFO_NAME => answer(out, name(if gpu { "gfx803" } else { "cpu" })),
            HSA_AGENT_INFO_DEVICE => answer(out, if gpu { HSA_DEVICE_TYPE_GPU } else { HSA_DEVICE_TYPE_CPU }),
            HSA_AGENT_INFO_QUEUES_MAX => answer(out, if gpu { 128_u32 } else { 0 }),
            HSA_AGENT_INFO_QUEUE_MIN_SIZE => answer(out, if gpu { 64_u32 } else { 0 }),
            HSA_AGENT_INFO_QUEUE_MAX_SIZE => answer(out, if gpu { 131_072_u32 } else { 0 }),
            HSA_AMD_AGENT_INFO_BDFID if gpu => answer(out, GPU_LOCATION),
            HSA_AMD_AGENT_INFO_DRIVER_NODE_ID => answer(out, u32::from(gpu)),
            HSA_AMD_AGENT_INFO_ASIC_FAMILY_ID if gpu && AGE.get() == Age::New => answer(out, 141_u32),
            HSA_AMD_AGENT_INFO_UCODE_VERSION if gpu && AGE.get() == Age::New => answer(out, 730_u32),
            // Wider than the header says, as a runtime to come might have it.
            HSA_AMD_AGENT_INFO_SDMA_UCODE_VERSION if gpu && AGE.get() == Age::New => answer(out, [58_u64, u64::MAX]),
            _ => HSA_STATUS_ERROR_INVALID_ARGUMENT,
        }
    }
}

unsafe extern "C" fn isas(
    agent: hsa_agent_t,
    callback: Option<unsafe extern "C" fn(hsa_isa_t, *mut c_void) -> hsa_status_t>,
    data: *mut c_void,
) -> hsa_status_t {
    if agent.handle == CPU {
        return HSA_STATUS_ERROR_INVALID_AGENT;
    }
    // SAFETY: as the caller of hsa_agent_iterate_isas promises.
    unsafe { callback.expect("a callback")(hsa_isa_t { handle: 1 }, data) }
}

unsafe extern "C" fn isa_info(_isa: hsa_isa_t, attribute: hsa_isa_info_t, out: *mut c_void) -> hsa_status_t {
    const NAME: &[u8; 26] = b"amdgcn-amd-amdhsa--gfx803\0";
    // SAFETY: the length is a uint32_t, the name has that many bytes.
    unsafe {
        match attribute {
            HSA_ISA_INFO_NAME_LENGTH => answer(out, NAME.len() as u32),
            _ => answer(out, *NAME),
        }
    }
}

unsafe extern "C" fn pools(
    agent: hsa_agent_t,
    callback: Option<unsafe extern "C" fn(hsa_amd_memory_pool_t, *mut c_void) -> hsa_status_t>,
    data: *mut c_void,
) -> hsa_status_t {
    let handles: &[u64] = if agent.handle == CPU { &[CPU_KERNARG, CPU_FINE, CPU_COARSE] } else { &[GPU_LOCAL] };
    for handle in handles {
        // SAFETY: as the caller of hsa_amd_agent_iterate_memory_pools promises.
        unsafe { callback.expect("a callback")(hsa_amd_memory_pool_t { handle: *handle }, data) };
    }
    HSA_STATUS_SUCCESS
}

unsafe extern "C" fn pool_info(
    pool: hsa_amd_memory_pool_t,
    attribute: hsa_amd_memory_pool_info_t,
    out: *mut c_void,
) -> hsa_status_t {
    const KERNARG: u32 = HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_KERNARG_INIT;
    const FINE: u32 = HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_FINE_GRAINED;
    let flags = match pool.handle {
        CPU_KERNARG => KERNARG | FINE,
        CPU_FINE => FINE,
        _ => HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_COARSE_GRAINED,
    };
    // SAFETY: each attribute with its type in hsa_ext_amd.h.
    unsafe {
        match attribute {
            HSA_AMD_MEMORY_POOL_INFO_SEGMENT => answer(out, HSA_AMD_SEGMENT_GLOBAL),
            HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS => answer(out, flags),
            HSA_AMD_MEMORY_POOL_INFO_RUNTIME_ALLOC_ALLOWED => answer(out, 1_u8),
            HSA_AMD_MEMORY_POOL_INFO_SIZE => answer(out, 1_usize << 30),
            _ => answer(out, 4096_usize),
        }
    }
}

unsafe extern "C" fn pool_allocate(_pool: hsa_amd_memory_pool_t, bytes: usize, _flags: u32, out: *mut *mut c_void) -> hsa_status_t {
    let status = enter("hsa_amd_memory_pool_allocate");
    if status == HSA_STATUS_SUCCESS {
        // SAFETY: `out` receives the address.
        unsafe { *out = (allocate(bytes) + MISALIGNMENT.get()) as *mut c_void };
    }
    status
}

unsafe extern "C" fn pool_free(base: *mut c_void) -> hsa_status_t {
    release(base as usize - MISALIGNMENT.get());
    enter("hsa_amd_memory_pool_free")
}

unsafe extern "C" fn allow_access(
    _count: u32,
    _agents: *const hsa_agent_t,
    _flags: *const u32,
    _base: *const c_void,
) -> hsa_status_t {
    enter("hsa_amd_agents_allow_access")
}

unsafe extern "C" fn signal_create(
    initial: i64,
    _count: u32,
    _consumers: *const hsa_agent_t,
    out: *mut hsa_signal_t,
) -> hsa_status_t {
    let status = enter("hsa_signal_create");
    if status == HSA_STATUS_SUCCESS {
        let signal = allocate(size_of::<amd_signal_t>());
        // SAFETY: a fresh allocation of the right size; `out` receives the handle.
        unsafe {
            let fields = signal as *mut amd_signal_t;
            (*fields).kind = i64::from(AMD_SIGNAL_KIND_USER);
            (*fields).__bindgen_anon_1.value = initial;
            (*fields).event_id = 7;
            *out = hsa_signal_t { handle: signal as u64 };
        }
    }
    status
}

unsafe extern "C" fn signal_destroy(signal: hsa_signal_t) -> hsa_status_t {
    release(signal.handle as usize);
    enter("hsa_signal_destroy")
}

unsafe extern "C" fn signal_load(signal: hsa_signal_t) -> i64 {
    // SAFETY: a live signal of this fake.
    unsafe { (*(signal.handle as *const amd_signal_t)).__bindgen_anon_1.value }
}

unsafe extern "C" fn signal_store(signal: hsa_signal_t, value: i64) {
    // SAFETY: a live signal of this fake.
    unsafe { (*(signal.handle as *mut amd_signal_t)).__bindgen_anon_1.value = value };
}

/// Comes back at once whatever the timeout: HSA allows it.
unsafe extern "C" fn signal_wait(signal: hsa_signal_t, _condition: u32, _value: i64, timeout: u64, _state: u32) -> i64 {
    assert_ne!(timeout, u64::MAX, "no wait may be for ever");
    // SAFETY: a live signal of this fake.
    unsafe { signal_load(signal) }
}

unsafe extern "C" fn queue_create(
    _agent: hsa_agent_t,
    packets: u32,
    type_: u32,
    callback: Option<ErrorCallback>,
    data: *mut c_void,
    _private_bytes: u32,
    _group_bytes: u32,
    out: *mut *mut hsa_queue_t,
) -> hsa_status_t {
    let status = enter("hsa_queue_create");
    if status == HSA_STATUS_SUCCESS {
        CALLBACK.set(callback.map(|callback| (callback, data as usize)));
        let queue = allocate(size_of::<hsa_queue_t>()) as *mut hsa_queue_t;
        let fields = hsa_queue_t {
            type_,
            features: 1,
            base_address: allocate(packets as usize * 64) as *mut c_void,
            doorbell_signal: hsa_signal_t { handle: DOORBELL_KIND.get().map_or(0, doorbell) },
            size: RING_PACKETS.get().unwrap_or(packets),
            reserved1: 0,
            id: 3,
        };
        // SAFETY: a fresh allocation of the right size; `out` receives it.
        unsafe {
            queue.write(fields);
            *out = queue;
        }
    }
    status
}

/// A doorbell signal of this kind, with a register.
fn doorbell(kind: amd_signal_kind64_t) -> u64 {
    let signal = allocate(size_of::<amd_signal_t>());
    // SAFETY: a fresh allocation of the right size.
    unsafe {
        let fields = signal as *mut amd_signal_t;
        (*fields).kind = kind;
        (*fields).__bindgen_anon_1.hardware_doorbell_ptr = 0x7000 as *mut u64;
    }
    signal as u64
}

unsafe extern "C" fn queue_destroy(queue: *mut hsa_queue_t) -> hsa_status_t {
    let status = enter("hsa_queue_destroy");
    if status == HSA_STATUS_SUCCESS {
        // SAFETY: a live queue of this fake.
        let hsa_queue_t { base_address, doorbell_signal, .. } = unsafe { *queue };
        release(base_address as usize);
        if doorbell_signal.handle != 0 {
            release(doorbell_signal.handle as usize);
        }
        release(queue as usize);
    }
    status
}

unsafe extern "C" fn reader_create(_code: *const c_void, _bytes: usize, _out: *mut hsa_code_object_reader_t) -> hsa_status_t {
    enter("hsa_code_object_reader_create_from_memory")
}

unsafe extern "C" fn reader_destroy(_reader: hsa_code_object_reader_t) -> hsa_status_t {
    enter("hsa_code_object_reader_destroy")
}

unsafe extern "C" fn executable_create(
    _profile: u32,
    _rounding: u32,
    _options: *const c_char,
    _out: *mut hsa_executable_t,
) -> hsa_status_t {
    enter("hsa_executable_create_alt")
}

unsafe extern "C" fn executable_destroy(_executable: hsa_executable_t) -> hsa_status_t {
    enter("hsa_executable_destroy")
}

unsafe extern "C" fn executable_load(
    _executable: hsa_executable_t,
    _agent: hsa_agent_t,
    _reader: hsa_code_object_reader_t,
    _options: *const c_char,
    _out: *mut hsa_loaded_code_object_t,
) -> hsa_status_t {
    enter("hsa_executable_load_agent_code_object")
}

unsafe extern "C" fn executable_freeze(_executable: hsa_executable_t, _options: *const c_char) -> hsa_status_t {
    enter("hsa_executable_freeze")
}

/// Knows the kernel `copy` under its descriptor's name, and the variable `table`.
unsafe extern "C" fn executable_symbol(
    _executable: hsa_executable_t,
    symbol_name: *const c_char,
    _agent: *const hsa_agent_t,
    out: *mut hsa_executable_symbol_t,
) -> hsa_status_t {
    // SAFETY: the name is a C string, and `out` receives the symbol.
    unsafe {
        let handle = match CStr::from_ptr(symbol_name).to_bytes() {
            b"copy.kd" => 1,
            b"table" => 2,
            _ => return HSA_STATUS_ERROR_INVALID_SYMBOL_NAME,
        };
        *out = hsa_executable_symbol_t { handle };
    }
    HSA_STATUS_SUCCESS
}

unsafe extern "C" fn symbol_info(symbol: hsa_executable_symbol_t, attribute: u32, out: *mut c_void) -> hsa_status_t {
    let kernel = symbol.handle == 1;
    // SAFETY: each attribute with its type in hsa.h.
    unsafe {
        match attribute {
            HSA_EXECUTABLE_SYMBOL_INFO_TYPE => answer(out, if kernel { HSA_SYMBOL_KIND_KERNEL } else { HSA_SYMBOL_KIND_VARIABLE }),
            HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_OBJECT => answer(out, 0x1_0000_0040_u64),
            HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_KERNARG_SEGMENT_SIZE => answer(out, 16_u32),
            HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_KERNARG_SEGMENT_ALIGNMENT => answer(out, 8_u32),
            HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_GROUP_SEGMENT_SIZE => answer(out, 1024_u32),
            HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_PRIVATE_SEGMENT_SIZE => answer(out, 32_u32),
            _ => HSA_STATUS_ERROR_INVALID_ARGUMENT,
        }
    }
}

unsafe extern "C" fn queue_inactivate(_queue: *mut hsa_queue_t) -> hsa_status_t {
    enter("hsa_queue_inactivate")
}

unsafe extern "C" fn set_profiler_enabled(_queue: *mut hsa_queue_t, _enable: i32) -> hsa_status_t {
    enter("hsa_amd_profiling_set_profiler_enabled")
}

unsafe extern "C" fn get_dispatch_time(
    _agent: hsa_agent_t,
    _signal: hsa_signal_t,
    _out: *mut hsa_amd_profiling_dispatch_time_t,
) -> hsa_status_t {
    enter("hsa_amd_profiling_get_dispatch_time")
}

unsafe extern "C" fn amd_signal_create(
    initial: i64,
    count: u32,
    consumers: *const hsa_agent_t,
    _attributes: u64,
    out: *mut hsa_signal_t,
) -> hsa_status_t {
    // SAFETY: as the caller of hsa_amd_signal_create promises.
    unsafe { signal_create(initial, count, consumers, out) }
}

const NEW_FUNCTIONS: Functions = Functions {
    hsa_queue_inactivate: Some(queue_inactivate),
    hsa_amd_profiling_set_profiler_enabled: Some(set_profiler_enabled),
    hsa_amd_profiling_get_dispatch_time: Some(get_dispatch_time),
    hsa_amd_signal_create: Some(amd_signal_create),
    ..FUNCTIONS
};

const FUNCTIONS: Functions = Functions {
    hsa_init: init,
    hsa_shut_down: shut_down,
    hsa_system_get_info: system_info,
    hsa_iterate_agents: agents,
    hsa_agent_get_info: agent_info,
    hsa_agent_iterate_isas: isas,
    hsa_isa_get_info_alt: isa_info,
    hsa_queue_create: queue_create,
    hsa_queue_destroy: queue_destroy,
    hsa_signal_create: signal_create,
    hsa_signal_destroy: signal_destroy,
    hsa_signal_load_scacquire: signal_load,
    hsa_signal_store_screlease: signal_store,
    hsa_signal_wait_scacquire: signal_wait,
    hsa_code_object_reader_create_from_memory: reader_create,
    hsa_code_object_reader_destroy: reader_destroy,
    hsa_executable_create_alt: executable_create,
    hsa_executable_destroy: executable_destroy,
    hsa_executable_load_agent_code_object: executable_load,
    hsa_executable_freeze: executable_freeze,
    hsa_executable_get_symbol_by_name: executable_symbol,
    hsa_executable_symbol_get_info: symbol_info,
    hsa_amd_agent_iterate_memory_pools: pools,
    hsa_amd_memory_pool_get_info: pool_info,
    hsa_amd_memory_pool_allocate: pool_allocate,
    hsa_amd_memory_pool_free: pool_free,
    hsa_amd_agents_allow_access: allow_access,
    ..Functions::UNEXPECTED
};
