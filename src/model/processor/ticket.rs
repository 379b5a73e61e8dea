//! A packet between launch and completion, and what is told when it ends.

use std::sync::atomic::{Ordering, fence};

use super::fault::Refusal;
use super::packet::RawPacket;
use super::signal::{self, Delivery, Times};
use crate::faults::Injector;
use crate::model::address::GpuVa;
use crate::model::bus::Bus;
use crate::model::device::device_clock;
use crate::model::host::HostLine;

/// Whether a queue's packets say when they ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamps {
    Wanted,
    Unwanted,
}

/// A packet between launch and completion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) packet_index: u64,
    kernel_object: Option<GpuVa>,
    pub(super) completion: Option<GpuVa>,
    /// When the packet entered its active phase, if anybody will ask.
    start: Option<u64>,
}

impl Ticket {
    pub(super) fn new(packet_index: u64, packet: &RawPacket, stamps: Stamps) -> Self {
        let completion = packet.completion_signal();
        // Nobody could read the time of a packet that has no signal.
        let start = (stamps == Stamps::Wanted && completion.is_some()).then(device_clock);
        Self { packet_index, kernel_object: packet.kernel_object(), completion, start }
    }

    /// When the packet ran, if it ends now.
    pub(super) fn times(&self) -> Option<Times> {
        self.start.map(|start| Times { start, end: device_clock() })
    }

    /// Tells everybody that the packet ended now.
    pub(super) fn complete(&self, bus: &Bus<'_>, faults: Option<&Injector>, host: &mut HostLine) -> Result<(), Failure> {
        self.signal(bus, faults, self.times(), host)
    }

    /// Tells the completion signal that the packet ended.
    pub(super) fn signal(
        &self,
        bus: &Bus<'_>,
        faults: Option<&Injector>,
        times: Option<Times>,
        host: &mut HostLine,
    ) -> Result<(), Failure> {
        let Some(handle) = self.completion else { return Ok(()) };
        // The release fence of the packet (HSA 1.2 §2.9): what the kernel wrote is there before the signal moves.
        fence(Ordering::Release);
        signal::complete(bus, handle, times, Delivery::with(faults), host).map_err(|fault| self.failed(fault.into()))
    }

    /// Says when the packet ran, if it ends now and anybody will ask.
    pub(super) fn stamp(&self, bus: &Bus<'_>) -> Result<(), Failure> {
        let Some((handle, times)) = self.completion.zip(self.times()) else { return Ok(()) };
        signal::stamp(bus, handle, times).map_err(|fault| self.failed(fault.into()))
    }

    pub(super) fn failed(&self, refusal: Refusal) -> Failure {
        Failure { packet_index: self.packet_index, kernel_object: self.kernel_object, refusal }
    }
}

/// Why a packet stopped its queue.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) packet_index: u64,
    pub(super) kernel_object: Option<GpuVa>,
    pub(super) refusal: Refusal,
}
