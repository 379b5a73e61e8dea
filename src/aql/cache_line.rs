//! Which core owns a cache line: hints that save a line its second journey.

/// Asks for the first line of a value that will be written, so that it comes for writing at once: a read first would fetch it shared,
/// and the write would have to ask the other core again. Early enough, the write does not wait at all.
#[inline(always)]
pub(crate) fn fetch_for_writing<T>(value: &T) {
    #[cfg(all(target_arch = "x86_64", not(any(miri, loom))))]
    // SAFETY: PREFETCHW is a hint: it changes nothing that a program can see, never faults, and is a no-op on 64-bit processors that
    // do not know it (AMD64 manual vol. 3 and Intel SDM vol. 2, PREFETCHW).
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) std::ptr::from_ref(value), options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(miri, loom)))))]
    let _ = value;
}
