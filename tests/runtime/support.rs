//! An HSA application's view of the embedded runtime: only the C functions, and memory.

use std::ffi::{CString, c_void};
use std::path::Path;
use std::process::Command;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aqlprobe::hsa::sys::*;
use aqlprobe::kernels::{Arguments, DevicePtr, Kernel};
use aqlprobe::runtime::abi::{
    hsa_agent_get_info, hsa_amd_agent_iterate_memory_pools, hsa_amd_agents_allow_access, hsa_amd_memory_pool_allocate,
    hsa_amd_memory_pool_get_info, hsa_code_object_reader_create_from_memory, hsa_code_object_reader_destroy,
    hsa_executable_create_alt, hsa_executable_freeze, hsa_executable_get_symbol_by_name, hsa_executable_load_agent_code_object,
    hsa_executable_symbol_get_info, hsa_init, hsa_iterate_agents, hsa_queue_add_write_index_scacq_screl, hsa_queue_create,
    hsa_queue_destroy, hsa_queue_load_read_index_scacquire, hsa_shut_down, hsa_signal_create, hsa_signal_store_screlease,
    hsa_signal_wait_scacquire,
};

/// Set in a process that runs one test alone.
const ALONE: &str = "AQLPROBE_TEST_ALONE";

/// Whether this process runs one test alone, see [`run_alone`].
pub fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// Runs one test of this file once more, in a process of its own: for what is one per process, as the environment and the
/// number of queues are.
pub fn run_alone(test: &str, environment: &[(&str, &Path)]) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && stdout.contains("1 passed"), "{stdout}{}", String::from_utf8_lossy(&child.stderr));
}

/// Bounds every wait of these tests; none is expected to last anywhere near it.
pub const DEADLINE_TICKS: u64 = 30_000_000_000;

/// One use of the runtime: `hsa_init` to `hsa_shut_down`.
pub struct Session {
    pub cpu: hsa_agent_t,
    pub gpu: hsa_agent_t,
}

unsafe extern "C" fn collect_agents(agent: hsa_agent_t, data: *mut c_void) -> hsa_status_t {
    // SAFETY: data is the Vec that Session::open passes.
    unsafe { &mut *data.cast::<Vec<hsa_agent_t>>() }.push(agent);
    HSA_STATUS_SUCCESS
}

unsafe extern "C" fn collect_pools(pool: hsa_amd_memory_pool_t, data: *mut c_void) -> hsa_status_t {
    // SAFETY: data is the Vec that Session::pool passes.
    unsafe { &mut *data.cast::<Vec<hsa_amd_memory_pool_t>>() }.push(pool);
    HSA_STATUS_SUCCESS
}

impl Session {
    pub fn open() -> Self {
        // SAFETY: no pointer is passed.
        assert_eq!(unsafe { hsa_init() }, HSA_STATUS_SUCCESS);
        let mut agents: Vec<hsa_agent_t> = Vec::new();
        // SAFETY: the callback casts the data back to this Vec.
        assert_eq!(unsafe { hsa_iterate_agents(Some(collect_agents), (&raw mut agents).cast()) }, HSA_STATUS_SUCCESS);
        let of_type = |wanted: hsa_device_type_t| {
            let is = |agent: &&hsa_agent_t| {
                let mut kind: hsa_device_type_t = u32::MAX;
                // SAFETY: the attribute's type is hsa_device_type_t.
                let status = unsafe { hsa_agent_get_info(**agent, HSA_AGENT_INFO_DEVICE, (&raw mut kind).cast()) };
                assert_eq!(status, HSA_STATUS_SUCCESS);
                kind == wanted
            };
            *agents.iter().find(is).unwrap()
        };
        Self { cpu: of_type(HSA_DEVICE_TYPE_CPU), gpu: of_type(HSA_DEVICE_TYPE_GPU) }
    }

    fn pool(agent: hsa_agent_t, flag: u32) -> hsa_amd_memory_pool_t {
        let mut pools: Vec<hsa_amd_memory_pool_t> = Vec::new();
        // SAFETY: the callback casts the data back to this Vec.
        let status = unsafe { hsa_amd_agent_iterate_memory_pools(agent, Some(collect_pools), (&raw mut pools).cast()) };
        assert_eq!(status, HSA_STATUS_SUCCESS);
        let has = |pool: &&hsa_amd_memory_pool_t| {
            let mut flags = 0_u32;
            // SAFETY: the attribute's type is uint32_t.
            let status =
                unsafe { hsa_amd_memory_pool_get_info(**pool, HSA_AMD_MEMORY_POOL_INFO_GLOBAL_FLAGS, (&raw mut flags).cast()) };
            assert_eq!(status, HSA_STATUS_SUCCESS);
            flags & flag != 0
        };
        *pools.iter().find(has).unwrap()
    }

    /// Host memory that the GPU may use.
    pub fn host(&self, words: usize) -> Buffer {
        let buffer = self.host_unshared(words);
        // SAFETY: one agent, and an address that the pool gave.
        let status = unsafe { hsa_amd_agents_allow_access(1, &self.gpu, ptr::null(), buffer.base.as_ptr().cast()) };
        assert_eq!(status, HSA_STATUS_SUCCESS);
        buffer
    }

    /// Host memory that the GPU was not given.
    pub fn host_unshared(&self, words: usize) -> Buffer {
        Buffer::allocate(Self::pool(self.cpu, HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_FINE_GRAINED), words)
    }

    /// Device memory.
    pub fn device(&self, words: usize) -> Buffer {
        Buffer::allocate(Self::pool(self.gpu, HSA_AMD_MEMORY_POOL_GLOBAL_FLAG_COARSE_GRAINED), words)
    }

    pub fn signal(&self, initial: i64) -> hsa_signal_t {
        let mut signal = hsa_signal_t { handle: 0 };
        // SAFETY: no consumers, and a valid place for the result.
        assert_eq!(unsafe { hsa_signal_create(initial, 0, ptr::null(), &mut signal) }, HSA_STATUS_SUCCESS);
        signal
    }

    pub fn queue(&self, packets: u32) -> Queue {
        self.queue_with_callback(packets, None, ptr::null_mut())
    }

    pub fn queue_with_callback(&self, packets: u32, callback: Callback, data: *mut c_void) -> Queue {
        let mut queue = ptr::null_mut();
        // SAFETY: callback and data outlive the queue in every test.
        let status =
            unsafe { hsa_queue_create(self.gpu, packets, HSA_QUEUE_TYPE_MULTI, callback, data, u32::MAX, u32::MAX, &mut queue) };
        assert_eq!(status, HSA_STATUS_SUCCESS);
        Queue(NonNull::new(queue).unwrap())
    }

    /// Loads our kernels.
    pub fn load(&self) -> Executable {
        let file = aqlprobe::kernels::select("amdgcn-amd-amdhsa--gfx803").unwrap().bytes;
        let mut reader = hsa_code_object_reader_t { handle: 0 };
        let mut executable = hsa_executable_t { handle: 0 };
        // SAFETY: the file is readable for its length; every other pointer is to a local variable or null where that is allowed.
        unsafe {
            let status = hsa_code_object_reader_create_from_memory(file.as_ptr().cast(), file.len(), &mut reader);
            assert_eq!(status, HSA_STATUS_SUCCESS);
            let rounding = HSA_DEFAULT_FLOAT_ROUNDING_MODE_DEFAULT;
            assert_eq!(hsa_executable_create_alt(HSA_PROFILE_BASE, rounding, ptr::null(), &mut executable), HSA_STATUS_SUCCESS);
            let status = hsa_executable_load_agent_code_object(executable, self.gpu, reader, ptr::null(), ptr::null_mut());
            assert_eq!(status, HSA_STATUS_SUCCESS);
            assert_eq!(hsa_executable_freeze(executable, ptr::null()), HSA_STATUS_SUCCESS);
            assert_eq!(hsa_code_object_reader_destroy(reader), HSA_STATUS_SUCCESS);
        }
        Executable { handle: executable, gpu: self.gpu }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: the objects of this session are not used after it.
        let _ = unsafe { hsa_shut_down() };
    }
}

pub type Callback = Option<unsafe extern "C" fn(hsa_status_t, *mut hsa_queue_t, *mut c_void)>;

/// Words of pool memory. Leaked at the end of a test: the shut-down takes it.
pub struct Buffer {
    base: NonNull<u32>,
    words: usize,
}

impl Buffer {
    fn allocate(pool: hsa_amd_memory_pool_t, words: usize) -> Self {
        let mut base = ptr::null_mut();
        // SAFETY: a valid place for the result.
        assert_eq!(unsafe { hsa_amd_memory_pool_allocate(pool, words * 4, 0, &mut base) }, HSA_STATUS_SUCCESS);
        Self { base: NonNull::new(base.cast()).unwrap(), words }
    }

    pub fn ptr(&self) -> DevicePtr {
        DevicePtr(self.base.as_ptr() as u64)
    }

    pub fn raw(&self) -> *mut c_void {
        self.base.as_ptr().cast()
    }

    pub fn word(&self, index: usize) -> &AtomicU32 {
        assert!(index < self.words);
        // SAFETY: inside the allocation, aligned, and only accessed atomically here and by the device.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(index)) }
    }

    pub fn load(&self, index: usize) -> u32 {
        self.word(index).load(Ordering::Acquire)
    }

    pub fn store(&self, index: usize, value: u32) {
        self.word(index).store(value, Ordering::Release);
    }

    pub fn fill(&self, value: impl Fn(usize) -> u32) {
        (0..self.words).for_each(|index| self.store(index, value(index)));
    }
}

pub struct Executable {
    handle: hsa_executable_t,
    gpu: hsa_agent_t,
}

/// What a dispatch packet needs of a kernel.
pub struct Loaded {
    pub object: u64,
    pub kernarg_bytes: u32,
    pub group_bytes: u32,
}

impl Executable {
    pub fn kernel(&self, kernel: Kernel) -> Loaded {
        let name = CString::new(format!("{kernel}.kd")).unwrap();
        let mut symbol = hsa_executable_symbol_t { handle: 0 };
        // SAFETY: a terminated name, an agent and a place for the result.
        let status = unsafe { hsa_executable_get_symbol_by_name(self.handle, name.as_ptr(), &self.gpu, &mut symbol) };
        assert_eq!(status, HSA_STATUS_SUCCESS, "{kernel}");
        let info = |attribute, value: *mut c_void| {
            // SAFETY: the callers below pass variables of the attributes' types.
            assert_eq!(unsafe { hsa_executable_symbol_get_info(symbol, attribute, value) }, HSA_STATUS_SUCCESS);
        };
        let mut loaded = Loaded { object: 0, kernarg_bytes: 0, group_bytes: 0 };
        info(HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_OBJECT, (&raw mut loaded.object).cast());
        info(HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_KERNARG_SEGMENT_SIZE, (&raw mut loaded.kernarg_bytes).cast());
        info(HSA_EXECUTABLE_SYMBOL_INFO_KERNEL_GROUP_SEGMENT_SIZE, (&raw mut loaded.group_bytes).cast());
        loaded
    }
}

/// Type, barrier bit, acquire and release at system scope.
pub const fn header(kind: hsa_packet_type_t) -> u16 {
    (kind
        | 1 << HSA_PACKET_HEADER_BARRIER
        | HSA_FENCE_SCOPE_SYSTEM << HSA_PACKET_HEADER_SCACQUIRE_FENCE_SCOPE
        | HSA_FENCE_SCOPE_SYSTEM << HSA_PACKET_HEADER_SCRELEASE_FENCE_SCOPE) as u16
}

pub struct Queue(NonNull<hsa_queue_t>);

impl Queue {
    pub fn as_ptr(&self) -> *mut hsa_queue_t {
        self.0.as_ptr()
    }

    pub fn description(&self) -> hsa_queue_t {
        // SAFETY: the queue is alive, and these fields do not change.
        unsafe { self.0.as_ptr().read() }
    }

    /// Publishes a packet of 16 words and rings the doorbell; returns its index.
    pub fn submit(&self, packet: [u32; 16]) -> u64 {
        let queue = self.description();
        // SAFETY: the queue is alive; each word written lies in the ring, which these tests never overfill.
        unsafe {
            let index = hsa_queue_add_write_index_scacq_screl(self.0.as_ptr(), 1);
            let slot = queue.base_address.cast::<u32>().add((index % u64::from(queue.size)) as usize * 16);
            for (word, value) in packet.into_iter().enumerate().skip(1) {
                AtomicU32::from_ptr(slot.add(word)).store(value, Ordering::Relaxed);
            }
            AtomicU32::from_ptr(slot).store(packet[0], Ordering::Release);
            hsa_signal_store_screlease(queue.doorbell_signal, index as i64);
            index
        }
    }

    pub fn barrier(&self, kind: hsa_packet_type_t, dependencies: &[hsa_signal_t], completion: hsa_signal_t) -> u64 {
        let mut packet = [0; 16];
        packet[0] = header(kind).into();
        for (index, signal) in dependencies.iter().enumerate() {
            put_u64(&mut packet, 2 + 2 * index, signal.handle);
        }
        put_u64(&mut packet, 14, completion.handle);
        self.submit(packet)
    }

    /// Dispatches a one-dimensional grid.
    pub fn dispatch<Args: Arguments>(
        &self,
        session: &Session,
        code: &Executable,
        kernel: Kernel,
        items: u32,
        arguments: &Args,
        completion: hsa_signal_t,
    ) -> u64 {
        assert!(Args::KERNELS.contains(&kernel));
        let [x, y, z] = kernel.workgroup();
        assert_eq!((y, z), (1, 1));
        let loaded = code.kernel(kernel);
        let bytes = arguments.to_bytes();
        let kernarg = session.host((loaded.kernarg_bytes as usize).max(bytes.len()).max(4).div_ceil(4));
        for (index, chunk) in bytes.chunks(4).enumerate() {
            kernarg.store(index, u32::from_le_bytes(chunk.try_into().unwrap()));
        }
        let mut packet = [0; 16];
        packet[0] = u32::from(header(HSA_PACKET_TYPE_KERNEL_DISPATCH)) | 1 << 16;
        packet[1] = u32::from(x) | u32::from(y) << 16;
        packet[2] = z.into();
        packet[3..6].copy_from_slice(&[items, 1, 1]);
        packet[7] = loaded.group_bytes;
        put_u64(&mut packet, 8, loaded.object);
        put_u64(&mut packet, 10, kernarg.ptr().0);
        put_u64(&mut packet, 14, completion.handle);
        self.submit(packet)
    }

    pub fn read_index(&self) -> u64 {
        // SAFETY: the queue is alive.
        unsafe { hsa_queue_load_read_index_scacquire(self.0.as_ptr()) }
    }

    pub fn destroy(self) {
        // SAFETY: taken by value, so not used after this.
        assert_eq!(unsafe { hsa_queue_destroy(self.0.as_ptr()) }, HSA_STATUS_SUCCESS);
    }
}

fn put_u64(packet: &mut [u32; 16], word: usize, value: u64) {
    packet[word] = value as u32;
    packet[word + 1] = (value >> 32) as u32;
}

/// Waits until the signal is below `compare`; the value last seen.
pub fn wait_below(signal: hsa_signal_t, compare: i64, ticks: u64, state: hsa_wait_state_t) -> i64 {
    // SAFETY: no pointer is passed.
    unsafe { hsa_signal_wait_scacquire(signal, HSA_SIGNAL_CONDITION_LT, compare, ticks, state) }
}

/// The fields of an `amd_signal_t` that tell how it was completed: mailbox contents and event id.
pub fn mailbox(signal: hsa_signal_t) -> (u64, u32) {
    let base = signal.handle as usize;
    // SAFETY: the signal is alive; both words are in host memory that the device only writes atomically.
    unsafe {
        let address = AtomicU64::from_ptr(ptr::with_exposed_provenance_mut(base + 16)).load(Ordering::Acquire);
        let mailbox = AtomicU64::from_ptr(ptr::with_exposed_provenance_mut(address as usize)).load(Ordering::Acquire);
        (mailbox, AtomicU32::from_ptr(ptr::with_exposed_provenance_mut(base + 24)).load(Ordering::Acquire))
    }
}
