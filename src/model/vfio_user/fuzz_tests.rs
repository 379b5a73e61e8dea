//! A guest and a client that do anything at all to the endpoint.
//!
//! The endpoint must neither panic nor reach memory outside its maps: around those, its addresses are inaccessible, so that a
//! stray access ends the test by a signal. Afterwards the device must still work. `AQLPROBE_FUZZ_CASES` asks for more than the few cases of
//! an ordinary run.

use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::pages::{PAGE_BYTES, SharedMemory};
use super::tests::{RAM, RAM_BYTES, Rig, direct};
use super::*;
use crate::model::address::GpuVa;
use crate::model::endpoint_registers::{Command, Status};
use crate::pci::tree::Completers;

/// Memory that the device may only read.
const CONSTANT: GpuVa = GpuVa(0x180_0000_0000);
const CONSTANT_WORD: u64 = 0x0123_4567_89ab_cdef;
// Places in the guest's memory: the ring of the queue that is there from the start, and kernels.
const RING: u64 = 0x1000;
const KERNELS: u64 = 0x8000;
/// The instruction that ends a wave.
const S_ENDPGM: u32 = 0xbf81_0000;
/// `HSA_PACKET_TYPE_KERNEL_DISPATCH`.
const KERNEL_DISPATCH: u16 = 2;

#[derive(Clone, Debug)]
enum Act {
    Read {
        region: Region,
        offset: u64,
        bytes: usize,
    },
    Write {
        region: Region,
        offset: u64,
        data: Vec<u8>,
    },
    Map {
        iova: u64,
        bytes: u64,
        file_offset: u64,
        access: DmaAccess,
        has_file: bool,
    },
    Unmap {
        iova: u64,
        bytes: u64,
    },
    UnmapAll,
    Reset,
    Interrupts {
        kind: u32,
        flags: u32,
        start: u32,
        count: u32,
    },
    /// Arguments that make sense more often than not, then any command.
    Order {
        command: u64,
        amd_queue: u64,
        ring: u64,
        packets: u64,
    },
    /// A packet of a type, with fields that point anywhere.
    Packet {
        slot: u64,
        header: u16,
        setup: u16,
        words: [u64; 7],
    },
    /// A kernel descriptor and code.
    Kernel {
        at: u64,
        words: Vec<u32>,
    },
    Ring {
        queue: u64,
        index: u64,
    },
    Enable,
    /// Time for the device to meet what is there.
    Wait,
}

/// Addresses near what is mapped, near limits, and anywhere.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => (0..RAM_BYTES / 64).prop_map(|line| RAM.0 + line * 64),
        4 => (0_u64..16).prop_map(|kernel| RAM.0 + KERNELS + kernel * 1024),
        2 => prop::sample::select(vec![RAM.0, RAM.0 + RING, RAM.0 + KERNELS - 64]),
        2 => (0..RAM_BYTES).prop_map(|offset| RAM.0 + offset),
        1 => (0..PAGE_BYTES).prop_map(|offset| CONSTANT.0 + offset),
        1 => (0_u64..200).prop_map(|back| (RAM.0 + RAM_BYTES).wrapping_sub(back)),
        1 => (0_u64..200).prop_map(|back| u64::MAX - back),
        1 => (0_u64..0x2000).prop_map(|offset| (1 << 48) + offset),
        1 => any::<u64>(),
        1 => Just(0),
    ]
}

fn pages() -> impl Strategy<Value = u64> {
    prop_oneof![4 => (0..80_u64).prop_map(|pages| pages * PAGE_BYTES), 1 => any::<u64>(), 1 => (0_u64..64).prop_map(|bits| 1 << bits)]
}

fn region() -> impl Strategy<Value = Region> {
    prop::sample::select(Region::ALL.to_vec())
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..0x420, 2 => (0_u64..0x84).prop_map(|word| word * 8), 1 => 0xff0_u64..0x1010, 1 => any::<u64>()]
}

/// What code is made of: real instructions (LLVM AMDGPUUsage; s_endpgm, s_branch backwards, flat loads, stores and atomics) and anything.
fn instruction() -> impl Strategy<Value = u32> {
    prop_oneof![
        2 => Just(S_ENDPGM),
        1 => Just(0xbf82_ffff),
        2 => (0_u32..0x80, 0_u32..4).prop_map(|(op, bits)| 0xdc00_0000 | op << 18 | bits << 16),
        1 => any::<u8>().prop_map(|registers| u32::from(registers) << 8 | 0x0000_0001),
        3 => any::<u32>(),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let access = prop::sample::select(vec![DmaAccess::ReadOnly, DmaAccess::ReadWrite]);
    prop_oneof![
        2 => (region(), offset(), 0_usize..20).prop_map(|(region, offset, bytes)| Act::Read { region, offset, bytes }),
        3 => (region(), offset(), prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(region, offset, data)| Act::Write { region, offset, data }),
        2 => (address(), pages(), pages(), access, any::<bool>()).prop_map(|(iova, bytes, file_offset, access, has_file)| Act::Map {
            iova: iova / PAGE_BYTES * PAGE_BYTES, bytes, file_offset, access, has_file
        }),
        1 => (address(), pages()).prop_map(|(iova, bytes)| Act::Unmap { iova, bytes }),
        1 => Just(Act::UnmapAll),
        1 => Just(Act::Reset),
        1 => (0_u32..7, any::<u32>(), 0_u32..3, 0_u32..3)
            .prop_map(|(kind, flags, start, count)| Act::Interrupts { kind, flags, start, count }),
        5 => (0_u64..5, address(), address(), prop_oneof![4 => (0_u32..8).prop_map(|bits| 1_u64 << bits), 1 => any::<u64>()])
            .prop_map(|(command, amd_queue, ring, packets)| Act::Order { command, amd_queue, ring, packets }),
        6 => (0_u64..64, any::<u16>(), 0_u16..5, prop::array::uniform7(address()))
            .prop_map(|(slot, header, setup, words)| Act::Packet { slot, header, setup, words }),
        6 => (0_u64..8, 1_u16..4, prop::array::uniform7(address()))
            .prop_map(|(slot, setup, words)| Act::Packet { slot, header: KERNEL_DISPATCH, setup, words }),
        4 => (0_u64..16, prop::collection::vec(instruction(), 0..24)).prop_map(|(at, words)| Act::Kernel { at: at * 1024, words }),
        5 => (0_u64..4, prop_oneof![4 => 0_u64..128, 1 => any::<u64>()]).prop_map(|(queue, index)| Act::Ring { queue, index }),
        3 => Just(Act::Enable),
        8 => Just(Act::Wait),
    ]
}

struct World {
    rig: Rig,
    constant: SharedMemory,
}

impl World {
    fn new() -> Self {
        let constant = SharedMemory::new("constant", PAGE_BYTES).unwrap();
        (0..512).for_each(|index| constant.word(index).unwrap().store(CONSTANT_WORD, Ordering::Relaxed));
        let mut world = Self { rig: Rig::without_maps(direct(Completers::Both)), constant };
        world.map_memory();
        world.enable();
        world.rig.queue();
        (0..16).for_each(|kernel| world.perform(Act::Kernel { at: kernel * 1024, words: vec![S_ENDPGM] }));
        world
    }

    fn map_memory(&mut self) {
        self.rig.map(RAM, RAM_BYTES, 0).unwrap();
        let map = DmaMap { iova: CONSTANT, bytes: PAGE_BYTES, file_offset: 0, access: DmaAccess::ReadOnly };
        self.rig.endpoint.map_dma(map, Some(self.constant.file().try_clone_to_owned().unwrap())).unwrap();
    }

    fn enable(&mut self) {
        self.rig.config(0x04, 0x0006);
        self.rig.config(0x80, 0x0040);
    }

    /// What is refused is as good as what is done: the answer does not matter, that there is one does.
    fn perform(&mut self, act: Act) {
        let rig = &mut self.rig;
        match act {
            Act::Read { region, offset, bytes } => {
                let inside = offset.checked_add(bytes as u64).is_some_and(|end| end <= region.bytes());
                assert_eq!(rig.endpoint.read(region, offset, &mut vec![0; bytes]).is_ok(), inside);
            }
            Act::Write { region, offset, data } => {
                let inside = offset.checked_add(data.len() as u64).is_some_and(|end| end <= region.bytes());
                assert_eq!(rig.endpoint.write(region, offset, &data).is_ok(), inside);
            }
            Act::Map { iova, bytes, file_offset, access, has_file } => {
                let file = has_file.then(|| rig.ram.file().try_clone_to_owned().unwrap());
                let _ = rig.endpoint.map_dma(DmaMap { iova: GpuVa(iova), bytes, file_offset, access }, file);
            }
            Act::Unmap { iova, bytes } => drop(rig.endpoint.unmap_dma(GpuVa(iova), bytes)),
            Act::UnmapAll => {
                rig.endpoint.unmap_all_dma();
                self.map_memory();
            }
            Act::Reset => {
                rig.endpoint.reset().unwrap();
                self.enable();
                self.rig.lay_out_queue();
                let _ = self.rig.command(Command::CreateQueue);
            }
            Act::Interrupts { kind, flags, start, count } => {
                let _ = rig.endpoint.set_interrupts(kind, flags, start, count, Vec::new());
            }
            Act::Order { command, amd_queue, ring, packets } => {
                use crate::model::endpoint_registers::Register as R;
                let values = [(R::Argument0, amd_queue), (R::Argument1, ring), (R::Argument2, packets), (R::Command, command)];
                values.into_iter().for_each(|(register, value)| rig.set(register, value));
            }
            Act::Packet { slot, header, setup, words } => {
                let at = RING + slot * 64;
                words.iter().enumerate().for_each(|(index, word)| rig.put(at + 8 + index as u64 * 8, *word));
                if header & 7 == KERNEL_DISPATCH {
                    // Small grids of small workgroups, or nothing would ever end.
                    rig.put(at + 8, words[0] & 0x0000_0006_0000_0002 | 0x0000_0001_0000_0001);
                    rig.put(at + 16, words[1] & 0x0000_0002_0000_0002 | 0x0000_0001_0000_0001);
                    rig.put(at + 24, words[2] & 0x0000_0010_0000_0000);
                    if words[6] & 0x80 != 0 {
                        rig.put(at + 32, RAM.0 + KERNELS + words[3] / 64 % 16 * 1024);
                    }
                }
                let workgroup = words[0] & 0x0002_0000_0000_0000 | 0x0001_0002_0000_0000;
                rig.put(at, u64::from(header & 0x7f07) | u64::from(setup) << 16 | workgroup);
            }
            Act::Kernel { at, words } => {
                let at = KERNELS + at;
                // Entry 256 bytes behind the descriptor; registers as a small kernel has them.
                [(8, 8), (16, 256), (48, 0x0000_0010_00ac_0040), (56, 9)]
                    .iter()
                    .for_each(|(field, value)| rig.put(at + field, *value));
                for (index, pair) in words.chunks(2).enumerate() {
                    let word = u64::from(pair[0]) | u64::from(pair.get(1).copied().unwrap_or_default()) << 32;
                    rig.put(at + 256 + index as u64 * 8, word);
                }
            }
            Act::Ring { queue, index } => rig.ring(queue, index),
            Act::Enable => self.enable(),
            Act::Wait => std::thread::sleep(Duration::from_millis(1)),
        }
    }

    /// The device still does what it is there for, and has not written what it may only read.
    fn check(&mut self) {
        self.rig.endpoint.forget_client().unwrap();
        self.map_memory();
        self.enable();
        self.rig.lay_out_queue();
        assert_eq!(self.rig.command(Command::CreateQueue), Status::Ok);
        let signal = self.rig.host_signal();
        self.rig.submit_barrier(0, 0, signal);
        self.rig.eventually_completed();
        self.rig.eventually_read(1);
        assert!((0..512).all(|index| self.constant.word(index).unwrap().load(Ordering::Relaxed) == CONSTANT_WORD));
    }
}

fn cases() -> u32 {
    std::env::var("AQLPROBE_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_a_guest_does_breaks_the_endpoint(acts in prop::collection::vec(act(), 1..80)) {
        let mut world = World::new();
        acts.into_iter().for_each(|act| world.perform(act));
        world.check();
    }
}
