//! Is this machine one whose processor's atomic instructions are not atomic?
//!
//! QEMU's translator, TCG, runs the virtual processors of a guest that has several in threads of their own and translates their locked
//! instructions into locked instructions. With one virtual processor nobody else executes guest code, so it translates them into plain
//! loads and stores (CF_PARALLEL in QEMU's accel/tcg). A device in another process that updates the same memory is not guest code: updates of
//! one side overwrite updates of the other, and it looks as if the device's AtomicOps were not atomic.

use std::fs;

/// What QEMU's TCG says in CPUID leaf 0x4000_0000 (target/i386/cpu.c).
const TCG_SIGNATURE: &[u8; 12] = b"TCGTCGTCGTCG";

/// Whether atomic instructions of this machine's processor are plain ones to a device: one processor, translated by TCG.
#[must_use]
pub fn locked_instructions_are_plain() -> bool {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    is_plain(hypervisor_signature(), &online)
}

fn is_plain(signature: Option<[u8; 12]>, online: &str) -> bool {
    signature.as_ref() == Some(TCG_SIGNATURE) && online.trim() == "0"
}

/// The hypervisor's twelve letters, where a hypervisor says that it is there (CPUID leaf 1, ECX bit 31).
#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe, reason = "CPUID is a safe function in newer compilers")]
fn hypervisor_signature() -> Option<[u8; 12]> {
    use std::arch::x86_64::__cpuid;
    // SAFETY: every x86-64 processor has CPUID; it changes nothing.
    let features = unsafe { __cpuid(1) };
    if features.ecx >> 31 == 0 {
        return None;
    }
    // SAFETY: as above.
    let leaf = unsafe { __cpuid(0x4000_0000) };
    let mut letters = [0; 12];
    for (place, register) in letters.chunks_exact_mut(4).zip([leaf.ebx, leaf.ecx, leaf.edx]) {
        place.copy_from_slice(&register.to_le_bytes());
    }
    Some(letters)
}

#[cfg(not(target_arch = "x86_64"))]
const fn hypervisor_signature() -> Option<[u8; 12]> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tcg_with_one_processor_makes_plain_ones_of_them() {
        assert!(is_plain(Some(*TCG_SIGNATURE), "0\n"));
        assert!(!is_plain(Some(*TCG_SIGNATURE), "0-1\n"));
        assert!(!is_plain(Some(*b"KVMKVMKVM\0\0\0"), "0\n"));
        assert!(!is_plain(None, "0\n"));
    }
}
