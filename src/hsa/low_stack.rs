//! `hsa_init` on a stack of our choice.
//!
//! In model mode ROCr 7.2 opens the kernel driver's interface with a node count that nobody sets (`hsaKmtOpenKFD`): it allocates
//! and writes eight bytes and more for each of as many nodes as the low half of some stack address says, up to 4 GiB in ten
//! seconds. On a stack whose addresses have a small low half the count is small. What is left on the stack depends on the build, so
//! this is a help and no guarantee; without it ROCr is slow but right.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::sys::{HSA_STATUS_ERROR, hsa_status_t};

/// Bytes of the stack. Its addresses' low halves are below this.
const STACK_BYTES: usize = 1 << 20;
/// The high halves that are tried, where neither the heap nor libraries usually lie.
const HIGH_HALVES: std::ops::Range<usize> = 0x700..0x740;

/// A mapping that holds the stack of one thread, and is unmapped when that has ended.
///
/// Invariant: `base` is the start of `STACK_BYTES` bytes of private anonymous memory that this value alone owns.
struct LowStack {
    base: *mut c_void,
}

impl LowStack {
    fn map() -> Option<Self> {
        HIGH_HALVES.map(|high| high << 32).find_map(|wanted| {
            let wanted = ptr::without_provenance_mut::<c_void>(wanted);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE | libc::MAP_STACK;
            // SAFETY: a new anonymous mapping; NOREPLACE keeps it from taking the place of another.
            let base = unsafe { libc::mmap(wanted, STACK_BYTES, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
            if base == libc::MAP_FAILED {
                return None;
            }
            // A kernel before 4.17 takes the address as a hint only: the value unmaps it again.
            Some(Self { base }).filter(|stack| stack.base == wanted)
        })
    }
}

impl Drop for LowStack {
    fn drop(&mut self) {
        // SAFETY: the invariant of the type; the thread that ran on it was joined.
        unsafe { libc::munmap(self.base, STACK_BYTES) };
    }
}

struct Job<F, T> {
    work: Option<F>,
    result: Option<Result<T, Box<dyn Any + Send>>>,
}

/// Runs `work` to its end on a thread with a low stack; where there is none to be had, says so on stderr and runs it here. One at a time:
/// a hundred threads at once would need as many low addresses, and whoever got none might be the one that opens the driver.
pub(super) fn run<T: Send, F: FnOnce() -> T + Send>(work: F) -> T {
    static TURN: Mutex<()> = Mutex::new(());
    if is_low(stack_address()) {
        return work();
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut job = Job { work: Some(work), result: None };
    let problem = match LowStack::map() {
        Some(stack) => start(&stack, &mut job).err(),
        None => Some("no address below is free".to_owned()),
    };
    if let Some(problem) = problem {
        tell(&format!("hsa_init runs on an ordinary stack, which makes ROCr slow in model mode: {problem}"));
    }
    match (job.result, job.work) {
        (Some(Ok(result)), _) => result,
        (Some(Err(panic)), _) => resume_unwind(panic),
        (None, Some(work)) => work(),
        (None, None) => unreachable!("work that was taken leaves its result"),
    }
}

/// An address on this thread's stack.
fn stack_address() -> usize {
    let local = 0_u8;
    ptr::from_ref(std::hint::black_box(&local)).addr()
}

const fn is_low(address: usize) -> bool {
    address & 0xffff_ffff < STACK_BYTES
}

/// On stderr; nobody is left to tell when that is gone.
fn tell(sentence: &str) {
    let _ = writeln!(io::stderr().lock(), "aqlprobe: {sentence}");
}

fn start<T: Send, F: FnOnce() -> T + Send>(stack: &LowStack, job: &mut Job<F, T>) -> Result<(), String> {
    extern "C" fn entry<T: Send, F: FnOnce() -> T + Send>(job: *mut c_void) -> *mut c_void {
        // SAFETY: the job of `start` below, which waits for this thread and does not touch it meanwhile.
        let job = unsafe { &mut *job.cast::<Job<F, T>>() };
        if let Some(work) = job.work.take() {
            job.result = Some(catch_unwind(AssertUnwindSafe(work)));
        }
        ptr::null_mut()
    }
    let check = |call: &str, error: c_int| match error {
        0 => Ok(()),
        number => Err(format!("{call}: {}", std::io::Error::from_raw_os_error(number))),
    };
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the attributes that the calls below use, and which are destroyed at the end.
    check("pthread_attr_init", unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) })?;
    // SAFETY: attributes initialised above; the stack is owned by `stack`, which outlives the thread because it is joined here.
    let set =
        check("pthread_attr_setstack", unsafe { libc::pthread_attr_setstack(attributes.as_mut_ptr(), stack.base, STACK_BYTES) });
    let mut thread = std::mem::MaybeUninit::<libc::pthread_t>::uninit();
    let started = set.and_then(|()| {
        // SAFETY: as above; `entry` gets the job of its own type, which lives until the join below. F and T are Send.
        check("pthread_create", unsafe {
            libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), entry::<T, F>, ptr::from_mut(job).cast())
        })
    });
    // SAFETY: initialised above, not used afterwards.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    started?;
    // SAFETY: created above, joined once. A failure is impossible for a joinable thread that is not this one.
    check("pthread_join", unsafe { libc::pthread_join(thread.assume_init(), ptr::null_mut()) })
}

/// `hsa_init` for programs that this library is preloaded into (`aqlprobe run`): the next `hsa_init` in the order of libraries, on a
/// low stack. In the program `aqlprobe` itself it is an ordinary function that nobody calls: an executable exports no symbol.
///
/// # Safety
/// That of `hsa_init`: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hsa_init() -> hsa_status_t {
    // SAFETY: a constant name; the answer is checked.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"hsa_init".as_ptr()) };
    if next.is_null() {
        tell("no HSA runtime stands behind this library, so there is no hsa_init to call");
        return HSA_STATUS_ERROR;
    }
    // SAFETY: whatever exports `hsa_init` is an HSA runtime, so it has the signature of hsa.h.
    let next: unsafe extern "C" fn() -> hsa_status_t = unsafe { std::mem::transmute(next) };
    // SAFETY: hsa_init has no precondition, and may be called on any thread (HSA 1.2 §2.1).
    let call = || unsafe { next() };
    match catch_unwind(AssertUnwindSafe(|| run(call))) {
        Ok(status) => status,
        Err(_) => HSA_STATUS_ERROR,
    }
}

/// Calls a runtime's `hsa_init` on a low stack.
pub(super) fn init(function: unsafe extern "C" fn() -> hsa_status_t) -> hsa_status_t {
    // SAFETY: hsa_init has no precondition, and may be called on any thread (HSA 1.2 §2.1).
    run(|| unsafe { function() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_runs_on_a_stack_whose_addresses_have_a_small_low_half() {
        let address = run(stack_address);
        assert!(is_low(address), "{address:#x}");
    }

    #[test]
    fn many_at_once_take_turns_and_each_has_such_a_stack() {
        let threads = 2 * HIGH_HALVES.len();
        let together = std::sync::Barrier::new(threads);
        let stay = || {
            std::thread::sleep(std::time::Duration::from_millis(1));
            is_low(stack_address())
        };
        let one = || {
            together.wait();
            run(stay)
        };
        let low = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).filter(|low| *low).count()
        });
        assert_eq!(low, threads);
    }

    #[test]
    fn work_on_such_a_stack_may_ask_for_it_again() {
        assert_eq!(run(|| run(|| 7)), 7);
    }

    #[test]
    fn it_can_be_run_many_times_and_borrow_from_its_caller() {
        let mut sum = 0;
        for value in 0..200 {
            run(|| sum += value);
        }
        assert_eq!(sum, 19_900);
    }

    #[test]
    fn a_panic_of_the_work_is_its_callers() {
        let caught = catch_unwind(|| run(|| panic!("in the work")));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"in the work"));
    }
}
