use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Mutex;

use super::*;
use crate::model::address::GpuVa;
use crate::model::fabric::FabricCounters;

/// A device that is a table, and answers commands as its documentation says.
struct Fake {
    table: Mutex<BTreeMap<u64, u64>>,
    clock: Mutex<VecDeque<u64>>,
    status: Status,
}

impl Fake {
    fn new() -> Self {
        let fake = Self { table: Mutex::default(), clock: Mutex::default(), status: Status::Ok };
        fake.with(Register::Magic, u64::from_le_bytes(*b"AQLPROBE"))
            .with(Register::Version, 1)
            .with(Register::Target, 80003)
            .with(Register::QueueLimit, 128)
            .with(Register::VramBytes, 64 << 20)
    }

    fn with(self, register: Register, value: u64) -> Self {
        self.table.lock().unwrap().insert(register.offset(), value);
        self
    }

    fn get(&self, register: Register) -> u64 {
        self.table.lock().unwrap().get(&register.offset()).copied().unwrap_or(0)
    }
}

impl RegisterFile for Fake {
    fn read(&self, register: Register) -> io::Result<u64> {
        match register {
            Register::Clock => self.clock.lock().unwrap().pop_front().ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
            Register::Status => Ok(self.status.number()),
            other => Ok(self.get(other)),
        }
    }

    fn write(&self, register: Register, value: u64) -> io::Result<()> {
        self.table.lock().unwrap().insert(register.offset(), value);
        Ok(())
    }
}

fn descriptor() -> QueueDescriptor {
    QueueDescriptor { amd_queue: GpuVa(0x1000), ring: GpuVa(0x2000), packets: NonZeroU32::new(64).unwrap() }
}

#[test]
fn a_function_without_the_magic_is_not_touched_further() {
    let fake = Fake::new().with(Register::Magic, u64::MAX);
    let error = Control::open(fake).err().unwrap();
    assert!(matches!(error, VfioError::NotTheEndpoint { magic: u64::MAX }));
    assert!(error.to_string().contains("not aqlprobe's endpoint"), "{error}");
}

#[test]
fn a_newer_endpoint_and_one_with_other_shader_cores_are_refused_by_name() {
    assert!(matches!(Control::open(Fake::new().with(Register::Version, 2)).err(), Some(VfioError::Version { version: 2 })));
    let error = Control::open(Fake::new().with(Register::Target, 90402)).err().unwrap();
    assert!(error.to_string().contains("90402"), "{error}");
}

#[test]
fn creating_a_queue_passes_its_addresses_and_returns_its_id() {
    let control = Control::open(Fake::new().with(Register::Result, 5)).unwrap();
    assert_eq!(control.create_queue(&descriptor()).unwrap(), QueueId(5));
    let written = [Register::Argument0, Register::Argument1, Register::Argument2, Register::Command];
    assert_eq!(written.map(|register| control.registers.get(register)), [0x1000, 0x2000, 64, 1]);
}

#[test]
fn an_id_beyond_the_limit_would_be_a_doorbell_out_of_bounds_and_is_refused() {
    for id in [128, u64::MAX, 1 << 32] {
        let control = Control::open(Fake::new().with(Register::Result, id)).unwrap();
        assert!(matches!(control.create_queue(&descriptor()), Err(VfioError::QueueId { .. })), "{id}");
    }
}

#[test]
fn a_refusal_says_what_was_refused_and_why() {
    let control = Control::open(Fake { status: Status::BusMasterDisabled, ..Fake::new() }).unwrap();
    let error = control.create_queue(&descriptor()).unwrap_err().to_string();
    assert!(error.contains("to create a queue") && error.contains("Bus Master Enable is clear"), "{error}");
    assert!(control.destroy_queue(QueueId(0)).is_err());
}

#[test]
fn a_torn_reading_of_the_clock_is_never_returned() {
    const LATE: u64 = (7 << 32) | 0xffff_fff0;
    const WRAPPED: u64 = 8 << 32;
    const TORN: u64 = (8 << 32) | 0xffff_fff0;
    for (readings, right) in [
        (vec![LATE, LATE + 5], LATE + 5),
        (vec![LATE, WRAPPED + 5], WRAPPED + 5),
        (vec![TORN, WRAPPED + 5, WRAPPED + 9], WRAPPED + 9),
        (vec![LATE - 20, TORN, WRAPPED + 9], WRAPPED + 9),
    ] {
        let control = Control::open(Fake { clock: Mutex::new(readings.into()), ..Fake::new() }).unwrap();
        assert_eq!(control.clock().unwrap(), right);
    }
}

#[test]
fn the_fault_text_is_as_long_as_the_device_says_and_no_longer_than_its_registers() {
    let fault = |count: u64, length: u64| {
        let fake = Fake::new()
            .with(Register::FaultCount, count)
            .with(Register::FaultLength, length)
            .with(Register::FaultText(0), u64::from_le_bytes(*b"illegal "))
            .with(Register::FaultText(8), u64::from_le_bytes(*b"opcode.."));
        Control::open(fake).unwrap().fault().unwrap()
    };
    assert_eq!(fault(0, 14), None);
    assert_eq!(fault(1, 14).as_deref(), Some("illegal opcode"));
    assert_eq!(fault(1, u64::MAX).unwrap().len() as u64, FAULT_TEXT_BYTES);
}

#[test]
fn counters_keep_the_order_of_the_file() {
    let mut fake = Fake::new();
    for index in 0..7 {
        fake = fake.with(Register::Fabric(index), u64::from(index) + 10);
    }
    let counters = FabricCounters::from_file_order(Control::open(fake).unwrap().fabric().unwrap());
    assert_eq!((counters.performed, counters.requester_disabled, counters.not_a_pcie_operation), (10, 11, 16));
}
