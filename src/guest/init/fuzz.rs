//! A guest that follows no rules: random stores to everything that it has of the endpoint, for a while.
//!
//! Half of it is noise, which a check at the door refuses. The other half is nearly right: queues whose fields are addresses that exist,
//! packets of known types, code that is mapped, commands in their order; that is what gets past the door. What must come of it is
//! always the same: the endpoint lives, and serves the next who opens it.

use std::time::{Duration, Instant};

use thiserror::Error;

use crate::guest::options::Seconds;
use crate::model::endpoint_registers::{Command, MAGIC, Register};
use crate::pci::driver::{DriverError, VfioLease};
use crate::pci::registers as reg;
use crate::pci::sysfs::SysfsRoot;
use crate::runtime::device::vfio::VfioError;
use crate::runtime::device::vfio::hostile::{HostileDriver, Place};

use super::device;

const PAGE: u64 = 4096;
/// Where in the arena things lie that are nearly right.
const QUEUES: u64 = 0;
const RINGS: u64 = 64 * PAGE;
const CODE: u64 = 128 * PAGE;
/// Memory is taken away in pieces of this size: the IOMMU of a guest announces each page of it by itself.
const CHUNK: u64 = 16 * PAGE;
/// The power management capability of the founding config space.
const POWER_MANAGEMENT: u64 = 0x50;
/// Bytes of an AQL packet (HSA 1.2 §2.9).
const PACKET: u64 = 64;
/// Bytes of `amd_queue_t` (hsa/amd_hsa_queue.h), roughly: what is random need not be exact.
const QUEUE: u64 = 512;

/// Why it could not be tried.
#[derive(Debug, Error)]
pub enum FuzzError {
    /// There is no endpoint.
    #[error("there is no PCI device {vendor:04x}:{device:04x}")]
    NoDevice {
        /// Its vendor.
        vendor: u16,
        /// Its device id.
        device: u16,
    },
    /// vfio-pci cannot have it.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// It cannot be opened.
    #[error(transparent)]
    Vfio(#[from] VfioError),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FuzzOutcome {
    /// With which the same actions can be made again.
    pub seed: u64,
    /// How many things were done to the endpoint.
    pub actions: u64,
    /// How many of them started a queue, as the status register said.
    pub queues_created: u64,
    /// Whether the endpoint still says who it is.
    pub alive: bool,
}

/// Does random things to the first device with these ids.
///
/// # Errors
/// [`FuzzError`] when it cannot be opened.
pub fn fuzz(vendor: u16, device: u16, time: Seconds, seed: u64) -> Result<FuzzOutcome, FuzzError> {
    let root = SysfsRoot::default();
    let bdf = device::find(&root, vendor, device).ok_or(FuzzError::NoDevice { vendor, device })?;
    let _lease = VfioLease::take(&root, bdf)?;
    let driver = HostileDriver::open(&bdf)?;
    let mut fuzzer = Fuzzer { driver: &driver, random: Random(seed), queues_created: 0 };
    fuzzer.prepare();
    let started = Instant::now();
    let mut actions = 0;
    while started.elapsed() < time.duration() {
        for _ in 0..64 {
            fuzzer.act();
        }
        actions += 64;
    }
    // A moment for what is still running in the endpoint.
    std::thread::sleep(Duration::from_millis(100));
    let alive = driver.read_registers(Register::Magic.offset(), 8).is_some_and(|bytes| bytes == MAGIC.to_le_bytes());
    Ok(FuzzOutcome { seed, actions, queues_created: fuzzer.queues_created, alive })
}

/// SplitMix64 (Steele, Lea, Flood 2014): good enough, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// A value such as the edges of checks are made of.
    fn edge(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(16),
            1 => 1 << self.below(64),
            2 => (1 << self.below(64)) - 1,
            3 => self.below(8).wrapping_neg(),
            4 => self.below(64) * PAGE,
            _ => self.next(),
        }
    }
}

struct Fuzzer<'a> {
    driver: &'a HostileDriver,
    random: Random,
    queues_created: u64,
}

impl Fuzzer<'_> {
    fn prepare(&mut self) {
        self.map_all();
        self.allow_requests();
        for at in (0..self.driver.bytes(Place::Arena)).step_by(8) {
            let value = self.plausible();
            self.driver.store(Place::Arena, at, value);
        }
    }

    /// Memory space, Bus Master and AtomicOp Requester Enable (at 0x80 in the founding config space).
    fn allow_requests(&mut self) {
        self.driver.write_config(u64::from(reg::COMMAND.0), &0x0006_u16.to_le_bytes());
        self.driver.write_config(0x80, &reg::REQUESTER_ENABLE.to_le_bytes());
    }

    /// A word that may be an address of the arena, a small number, or anything.
    fn plausible(&mut self) -> u64 {
        match self.random.below(4) {
            0 | 1 => self.driver.arena_address() + (self.random.below(self.driver.bytes(Place::Arena)) & !7),
            2 => self.random.below(4096),
            _ => self.random.edge(),
        }
    }

    fn act(&mut self) {
        match self.random.below(100) {
            0..20 => self.write_any_register(),
            20..30 => self.create_queue(),
            30..34 => self.command(Command::DestroyQueue),
            34..64 => self.publish_packet(),
            64..76 => self.ring(),
            76..80 => self.write_any_config(),
            80..86 => self.store_anywhere(),
            86..90 => self.remap(),
            90..92 => self.allow_requests(),
            92 if self.random.below(64) == 0 => self.map_all(),
            92..95 => self.command(Command::CreateQueue),
            _ => self.read_any_register(),
        }
    }

    fn write(&mut self, register: Register, value: u64) {
        self.driver.write_registers(register.offset(), &value.to_le_bytes());
    }

    fn write_any_register(&mut self) {
        let (offset, value) = (self.random.below(PAGE), self.random.edge().to_le_bytes());
        let length = 1 << self.random.below(4);
        self.driver.write_registers(offset, &value[..length]);
    }

    fn read_any_register(&mut self) {
        let (offset, length) = (self.random.below(PAGE), 1 << self.random.below(4));
        // What it says is of no interest, only that it answers.
        let _ = self.driver.read_registers(offset, length);
    }

    fn command(&mut self, command: Command) {
        for register in [Register::Argument0, Register::Argument1, Register::Argument2] {
            let value = if self.random.below(2) == 0 { self.random.below(64) } else { self.plausible() };
            self.write(register, value);
        }
        self.write(Register::Command, command as u64);
    }

    /// A queue that could work: its fields are words such as [`Self::plausible`] makes them, its ring has a power of two of packets.
    fn create_queue(&mut self) {
        let slot = self.random.below(32);
        let arena = self.driver.arena_address();
        let queue = QUEUES + slot * QUEUE;
        for at in (0..QUEUE).step_by(8) {
            let value = if self.random.below(3) == 0 { 0 } else { self.plausible() };
            self.driver.store(Place::Arena, queue + at, value);
        }
        let ring = RINGS + slot * PAGE;
        let packets = 1 << self.random.below(7);
        self.write(Register::Argument0, arena + queue);
        self.write(Register::Argument1, arena + ring);
        self.write(Register::Argument2, packets);
        self.write(Register::Command, Command::CreateQueue as u64);
        let status = self.driver.read_registers(Register::Status.offset(), 8);
        self.queues_created += u64::from(status.is_some_and(|status| status == [0; 8]));
    }

    /// A packet of a known type (HSA 1.2 §2.9.1, bits 0 to 7 of the header) with plausible fields.
    fn publish_packet(&mut self) {
        let arena = self.driver.arena_address();
        let packet = RINGS + self.random.below(32 * PAGE / PACKET) * PACKET;
        for at in (8..PACKET).step_by(8) {
            let value = if self.random.below(3) == 0 { 0 } else { self.plausible() };
            self.driver.store(Place::Arena, packet + at, value);
        }
        if self.random.below(2) == 0 {
            // The kernel object of a dispatch, at offset 32: a descriptor somewhere in what passes for code.
            let kernel = CODE + self.random.below(64) * PACKET;
            self.driver.store(Place::Arena, packet + 32, arena + kernel);
        }
        let (kind, rest) = (self.random.below(7), self.random.next());
        let header = kind | (rest & 0x1f00);
        let setup = self.random.below(5);
        let sizes = (self.random.below(64) << 32) | (self.random.below(64) << 48);
        self.driver.store(Place::Arena, packet, header | (setup << 16) | sizes);
    }

    fn ring(&mut self) {
        let offset = self.random.below(self.driver.bytes(Place::Doorbells)) & !7;
        let index = if self.random.below(4) == 0 { self.random.edge() } else { self.random.below(128) };
        self.driver.store(Place::Doorbells, offset & 0xff, index);
        self.driver.store(Place::Doorbells, offset, index);
    }

    /// All but Command and power management: without memory space or in D3 the kernel takes the BARs away from this process, which ends
    /// the guest's program and tries nothing of the endpoint. Bus Master comes and goes by itself.
    fn write_any_config(&mut self) {
        if self.random.below(8) == 0 {
            let command: u16 = if self.random.below(2) == 0 { 0x0002 } else { 0x0006 };
            return self.driver.write_config(u64::from(reg::COMMAND.0), &command.to_le_bytes());
        }
        let (offset, value) = (self.random.below(PAGE), self.random.next().to_le_bytes());
        let length = 1_usize << self.random.below(3);
        let touches = |first: u64, bytes: u64| offset < first + bytes && first < offset + length as u64;
        if !touches(u64::from(reg::COMMAND.0), 2) && !touches(POWER_MANAGEMENT, 8) {
            self.driver.write_config(offset, &value[..length]);
        }
    }

    fn store_anywhere(&mut self) {
        for place in [Place::Arena, Place::Local] {
            let offset = self.random.below(self.driver.bytes(place)) & !7;
            let value = self.plausible();
            self.driver.store(place, offset, value);
        }
    }

    /// Takes memory away from under the device, and mostly gives it back.
    fn remap(&mut self) {
        let chunk = self.random.below(self.driver.bytes(Place::Arena) / CHUNK) * CHUNK;
        self.driver.unmap(chunk, CHUNK);
        if self.random.below(8) != 0 {
            self.driver.map(chunk, CHUNK);
        }
    }

    /// Gives back what was taken away.
    fn map_all(&mut self) {
        for chunk in (0..self.driver.bytes(Place::Arena)).step_by(CHUNK as usize) {
            self.driver.map(chunk, CHUNK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of SplitMix64 for seed 0, as published with its reference implementation.
    #[test]
    fn the_same_seed_gives_the_published_sequence() {
        let mut random = Random(0);
        assert_eq!([random.next(), random.next()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }
}
