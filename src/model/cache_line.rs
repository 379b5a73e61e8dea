//! Which core owns a cache line: hints that save a line its second journey.

use std::sync::atomic::AtomicU64;

/// Asks for the line of a word that will be read and then written, so that it comes for writing at once: a read first would fetch it
/// shared, and the write would have to ask the other core again.
#[inline(always)]
pub(super) fn fetch_for_writing(word: &AtomicU64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: PREFETCHW is a hint: it changes nothing that a program can see, never faults, and is a no-op on 64-bit processors that
    // do not know it (AMD64 manual vol. 3 and Intel SDM vol. 2, PREFETCHW).
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) word.as_ptr(), options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = word;
}
