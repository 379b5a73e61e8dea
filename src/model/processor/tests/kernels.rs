//! Packets that run kernels. The instruction words are llvm-mc's (`-arch=amdgcn -mcpu=gfx803`), the few descriptor fields as in
//! LLVM's AMDGPUUsage.

use std::sync::atomic::Ordering;

use super::rig::{BARRIER_AND, BARRIER_BIT, NO_SIGNAL, Rig, barrier, dispatch};
use crate::model::address::GpuVa;
use crate::model::queue_error::QueueError;

/// Descriptor property: the kernel wants the address of its dispatch packet.
const DISPATCH_POINTER: u64 = 1 << 1;
/// Descriptor property: the kernel wants the address of its arguments.
const KERNARG_POINTER: u64 = 1 << 3;

const S_ENDPGM: u32 = 0xbf81_0000;
const S_TRAP_2: u32 = 0xbf92_0002;
const NO_INSTRUCTION: u32 = 0xffff_ffff;
const S_WAITCNT_LGKM: u32 = 0xbf8c_007f;

/// Ends when the word that its argument points to is no longer zero.
const SPIN_ON_FLAG: [u32; 9] = [
    0xc006_0000, // s_load_dwordx2 s[0:1], s[0:1], 0x0
    0x0000_0000,
    S_WAITCNT_LGKM,
    0xc003_0080, // s_load_dword s2, s[0:1], 0x0 glc
    0x0000_0000,
    S_WAITCNT_LGKM,
    0xbf06_8002, // s_cmp_eq_u32 s2, 0
    0xbf85_fffb, // s_cbranch_scc1 to the load of s2
    S_ENDPGM,
];

/// Waits until the word that its argument points to is no longer zero, and then stores the kernel object that its dispatch packet
/// names into the word behind it.
const STORE_OWN_KERNEL_OBJECT: [u32; 20] = [
    0xc006_0101, // s_load_dwordx2 s[4:5], s[2:3], 0x0
    0x0000_0000,
    S_WAITCNT_LGKM,
    0xc003_0182, // s_load_dword s6, s[4:5], 0x0 glc
    0x0000_0000,
    S_WAITCNT_LGKM,
    0xbf06_8006, // s_cmp_eq_u32 s6, 0
    0xbf85_fffb, // s_cbranch_scc1 to the load of s6
    0xc006_0200, // s_load_dwordx2 s[8:9], s[0:1], 0x20
    0x0000_0020,
    0x8004_8804, // s_add_u32 s4, s4, 8
    0x8205_8005, // s_addc_u32 s5, s5, 0
    S_WAITCNT_LGKM,
    0x7e00_0204, // v_mov_b32 v0, s4
    0x7e02_0205, // v_mov_b32 v1, s5
    0x7e04_0208, // v_mov_b32 v2, s8
    0x7e06_0209, // v_mov_b32 v3, s9
    0xdc74_0000, // flat_store_dwordx2 v[0:1], v[2:3]
    0x0000_0200,
    S_ENDPGM,
];

/// Loads from address zero.
const LOAD_FROM_NULL: [u32; 6] = [
    0x7e00_0280, // v_mov_b32 v0, 0
    0x7e02_0280, // v_mov_b32 v1, 0
    0xdc50_0000, // flat_load_dword v2, v[0:1]
    0x0200_0000,
    0xbf8c_0f70, // s_waitcnt vmcnt(0)
    S_ENDPGM,
];

impl Rig {
    fn nop(&self) -> GpuVa {
        self.kernel(0, 0, &[S_ENDPGM])
    }

    fn spin_on_flag(&self) -> GpuVa {
        self.kernel(2, KERNARG_POINTER, &SPIN_ON_FLAG)
    }

    /// Two words, and a kernel argument segment that points to the first.
    fn word_and_kernarg(&self) -> (GpuVa, GpuVa) {
        let (word, kernarg) = (self.arena.take(16), self.arena.take(8));
        self.word(kernarg).store(word.0, Ordering::Release);
        (word, kernarg)
    }
}

#[test]
fn a_kernel_dispatch_completes_its_signal() {
    let rig = Rig::new();
    let (queue, done) = (rig.queue(16), rig.signal(1));
    rig.submit(&queue, dispatch(BARRIER_BIT, rig.nop(), GpuVa::NULL, done));
    rig.wait_for(done, 0);
}

#[test]
fn a_kernel_reads_its_dispatch_packet_although_the_slot_has_been_reused() {
    let rig = Rig::new();
    let (queue, done, other) = (rig.queue(1), rig.signal(1), rig.signal(1));
    let (flag, kernarg) = rig.word_and_kernarg();
    let kernel = rig.kernel(4, DISPATCH_POINTER | KERNARG_POINTER, &STORE_OWN_KERNEL_OBJECT);
    rig.submit(&queue, dispatch(0, kernel, kernarg, done));
    rig.submit(&queue, barrier(BARRIER_AND, &[], other));
    rig.wait_for(other, 0);
    assert_eq!(rig.value(done), 1);
    rig.word(flag).store(1, Ordering::Release);
    rig.wait_for(done, 0);
    assert_eq!(rig.word(flag + 8).load(Ordering::Acquire), kernel.0);
}

#[test]
fn without_atomic_ops_a_kernel_writes_its_output_and_its_completion_is_lost() {
    let rig = Rig::without_atomic_ops();
    let (queue, done) = (rig.queue(16), rig.signal(1));
    let (flag, kernarg) = rig.word_and_kernarg();
    rig.word(flag).store(1, Ordering::Release);
    let kernel = rig.kernel(4, DISPATCH_POINTER | KERNARG_POINTER, &STORE_OWN_KERNEL_OBJECT);
    rig.submit(&queue, dispatch(BARRIER_BIT, kernel, kernarg, done));
    rig.eventually("the drop", || rig.gpu.fabric_counters().requester_disabled == 1);
    assert_eq!((rig.word(flag + 8).load(Ordering::Acquire), rig.value(done)), (kernel.0, 1));
}

#[test]
fn packets_without_barrier_bit_overlap_and_complete_in_any_order() {
    let rig = Rig::new();
    let (queue, slow, fast) = (rig.queue(16), rig.signal(1), rig.signal(1));
    let (flag, kernarg) = rig.word_and_kernarg();
    rig.submit(&queue, dispatch(0, rig.spin_on_flag(), kernarg, slow));
    rig.submit(&queue, dispatch(0, rig.nop(), GpuVa::NULL, fast));
    rig.wait_for(fast, 0);
    assert_eq!(rig.value(slow), 1);
    rig.word(flag).store(1, Ordering::Release);
    rig.wait_for(slow, 0);
}

#[test]
fn a_packet_with_barrier_bit_launches_when_all_before_it_have_completed() {
    let rig = Rig::new();
    let (queue, slow, behind) = (rig.queue(16), rig.signal(1), rig.signal(1));
    let (flag, kernarg) = rig.word_and_kernarg();
    rig.submit(&queue, dispatch(0, rig.spin_on_flag(), kernarg, slow));
    rig.submit(&queue, dispatch(BARRIER_BIT, rig.nop(), GpuVa::NULL, behind));
    rig.let_every_queue_have_a_turn();
    assert_eq!((rig.value(slow), rig.value(behind), rig.read_index(&queue)), (1, 1, 1));
    rig.word(flag).store(1, Ordering::Release);
    rig.wait_for(behind, 0);
    assert_eq!(rig.value(slow), 0);
}

#[test]
fn a_full_complement_of_spinning_kernels_starves_no_other_queue() {
    let rig = Rig::new();
    let (spinning, other) = (rig.queue(16), rig.queue(16));
    let (flag, kernarg) = rig.word_and_kernarg();
    let (spun, done) = (rig.signal(12), rig.signal(100));
    let spin = rig.spin_on_flag();
    for _ in 0..12 {
        rig.submit(&spinning, dispatch(0, spin, kernarg, spun));
    }
    rig.wait_until_read(&spinning, super::super::MAX_IN_FLIGHT as u64);
    let nop = rig.nop();
    for _ in 0..100 {
        rig.submit(&other, dispatch(BARRIER_BIT, nop, GpuVa::NULL, done));
    }
    rig.wait_for(done, 0);
    assert_eq!(rig.value(spun), 12);
    rig.word(flag).store(1, Ordering::Release);
    rig.wait_for(spun, 0);
}

#[test]
fn a_queue_can_be_destroyed_and_the_device_powered_down_in_the_middle_of_a_spin() {
    let rig = Rig::new();
    let (first, second, done) = (rig.queue(16), rig.queue(16), rig.signal(1));
    let (flag, kernarg) = rig.word_and_kernarg();
    let spin = rig.spin_on_flag();
    for queue in [&first, &second] {
        rig.submit(queue, dispatch(0, spin, kernarg, done));
        rig.wait_until_read(queue, 1);
    }
    rig.gpu.destroy_queue(first.id);
    rig.gpu.destroy_queue(second.id);
    rig.word(flag).store(1, Ordering::Release);
    rig.let_every_queue_have_a_turn();
    assert_eq!(rig.value(done), 1);
    let third = rig.queue(16);
    rig.word(flag).store(0, Ordering::Release);
    rig.submit(&third, dispatch(0, spin, kernarg, done));
    rig.wait_until_read(&third, 1);
    drop(rig);
}

#[test]
fn a_wave_that_fails_stops_its_queue_with_the_cause_and_the_kernel() {
    for (instructions, error, mentions) in [
        (&[NO_INSTRUCTION, NO_INSTRUCTION][..], QueueError::IllegalInstruction, "ffffffff"),
        (&[S_TRAP_2, S_ENDPGM][..], QueueError::Trap, "s_trap 2"),
        (&LOAD_FROM_NULL[..], QueueError::MemoryViolation, "0x0"),
    ] {
        let rig = Rig::without_atomic_ops();
        let (queue, done) = (rig.queue(16), rig.signal(1));
        let kernel = rig.kernel(0, 0, instructions);
        rig.submit(&queue, dispatch(0, kernel, GpuVa::NULL, done));
        rig.wait_for(queue.inactive, error.signal_value());
        let fault = rig.gpu.last_fault().unwrap();
        assert_eq!((fault.error, fault.kernel_object), (error, Some(kernel)));
        assert!(fault.to_string().contains(mentions), "{fault}");
        assert_eq!(rig.value(done), 1);
    }
}

#[test]
fn a_kernel_object_that_is_null_or_not_mapped_is_invalid_code() {
    for kernel in [GpuVa::NULL, GpuVa(0x40)] {
        let rig = Rig::new();
        let queue = rig.queue(16);
        rig.submit(&queue, dispatch(0, kernel, GpuVa::NULL, NO_SIGNAL));
        rig.wait_for(queue.inactive, QueueError::InvalidCode.signal_value());
    }
}

#[test]
fn a_workgroup_has_at_most_1024_work_items_64_kib_of_lds_and_no_private_memory() {
    let founding_word = |workgroup_x: u64, workgroup_y: u64| 2 | 2 << 16 | workgroup_x << 32 | workgroup_y << 48;
    for (word, value, outcome) in [
        (0, founding_word(32, 32), None),
        (0, founding_word(41, 25), Some(QueueError::WorkgroupTooLarge)),
        (3, 0x0001_0000 << 32, None),
        (3, 0x0001_0001 << 32, Some(QueueError::InvalidGroupSegment)),
        (3, 4, Some(QueueError::InsufficientScratch)),
    ] {
        let rig = Rig::new();
        let (queue, done) = (rig.queue(16), rig.signal(1));
        let mut packet = dispatch(0, rig.nop(), GpuVa::NULL, done);
        packet[word] = value;
        rig.submit(&queue, packet);
        match outcome {
            None => rig.wait_for(done, 0),
            Some(error) => rig.wait_for(queue.inactive, error.signal_value()),
        }
    }
}
