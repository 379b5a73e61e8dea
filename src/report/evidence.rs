//! What was seen, so that a verdict can be checked by its reader.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::runtime::Doorbell;
use super::style::thousands;

/// Everything seen in one case. What does not apply is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The completion signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<SignalEvidence>,
    /// The queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueEvidence>,
    /// The kernel's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputEvidence>,
    /// What the path did to the device's AtomicOps during the case, on beds that count it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fabric: Option<FabricCounters>,
    /// AtomicOps that the case asked of the device, where that is a number: decrements of completion signals and its kernels' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atomics_asked: Option<u64>,
    /// Updates that device and host made of one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<UpdateEvidence>,
    /// What a later look showed, where the first one did not add up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_look: Option<SecondLook>,
    /// Whether the device had fallen off the bus: its config space read all ones after the case.
    #[serde(default, skip_serializing_if = "is_false")]
    pub off_the_bus: bool,
    /// Bytes that a worker wrote which was killed for writing too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flood_bytes: Option<u64>,
    /// Observations in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A completion signal (`amd_signal_t`) around the case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalEvidence {
    /// Value when the packet was published.
    pub before: i64,
    /// Value at the end.
    pub after: i64,
    /// Value that means "fired".
    pub expected: i64,
    /// Event id in the signal; 0: no interrupt is asked for.
    pub event_id: u32,
    /// Address of the event mailbox, as hexadecimal; absent when the runtime's signals have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_mailbox: Option<String>,
    /// Device timestamps in ticks, 0 when not written.
    pub start_ts: u64,
    /// See `start_ts`.
    pub end_ts: u64,
}

/// A queue at the end of the case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEvidence {
    /// Packets in the ring.
    pub packets: u32,
    /// Index of the next packet to be written.
    pub write_index: u64,
    /// Index of the next packet to be read by the device.
    pub read_index: u64,
    /// The header word that was published last.
    pub header: u16,
    /// What rings it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doorbell: Option<Doorbell>,
    /// Whether the device was asked to stamp its packets with when they ran.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stamped: bool,
    /// Name of the queue's error status, if it reported one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The output of a kernel against what it must be. Each element was set to a canary before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputEvidence {
    /// Elements looked at.
    pub elements: u64,
    /// Elements that are right.
    pub right: u64,
    /// Elements that still hold the canary.
    pub untouched: u64,
    /// Elements that are neither.
    pub wrong: u64,
    /// Of those, elements made of bytes of the canary and of the right value.
    #[serde(default, skip_serializing_if = "is_none_counted")]
    pub torn: u64,
    /// Of the wrong ones, elements that show that their work was done more than once.
    #[serde(default, skip_serializing_if = "is_none_counted")]
    pub repeated: u64,
    /// Packets that the elements are spread over, where each is the work of a packet of its own.
    #[serde(default, skip_serializing_if = "is_none_counted")]
    pub packets: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_none_counted(count: &u64) -> bool {
    *count == 0
}

/// What became of updates that device and host made of one word at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateEvidence {
    /// Updates that both made together.
    pub made: u64,
    /// Updates of which the word shows nothing.
    pub missing: u64,
    /// Updates that the word shows although nobody made them, or that it shows twice.
    pub surplus: u64,
    /// Values whose 32-bit halves belong to different updates.
    pub torn: u64,
    /// Updates of the device that show in the word, whatever its kernel's output says of them: the device made at least these.
    #[serde(default, skip_serializing_if = "is_none_counted")]
    pub by_device: u64,
}

impl UpdateEvidence {
    /// Whether every update arrived once and whole.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.missing == 0 && self.surplus == 0 && self.torn == 0
    }
}

/// A look taken after a case had gone wrong, to tell what never happens from what only needs a push or some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondLook {
    /// What was done in between.
    pub after: Remedy,
    /// Whether the packet was taken by then.
    pub taken: bool,
    /// The output by then, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputEvidence>,
}

/// What was done between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// Nothing but waiting.
    Waiting,
    /// The doorbell was rung again, with the value it had and with the next one.
    RingingAgain,
    /// Packets without effect were added, so that the doorbell took further values.
    RingingFurther,
    /// The doorbell was rung with further values, as many as the ring has room for; then a queue with a known last value was destroyed and
    /// another created in its place, which heard nothing up to that value.
    RecyclingQueue,
}

impl OutputEvidence {
    /// Whether the kernel did all of its work.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.right == self.elements
    }

    /// Whether no work-item of the kernel left a trace.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.untouched == self.elements
    }
}

/// AtomicOps of the device by their fate (docs/architecture.md, "Model fabric").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FabricCounters {
    /// Arrived and performed.
    pub performed: u64,
    /// Dropped: AtomicOp Requester Enable is clear in the device.
    pub requester_disabled: u64,
    /// Dropped: Bus Master Enable is clear in the device.
    pub bus_master_disabled: u64,
    /// Dropped: the root port does not complete this width.
    pub unsupported_request: u64,
    /// Dropped: a switch port does not route AtomicOps.
    pub routing_unsupported: u64,
    /// Dropped: a switch port blocks AtomicOps on egress.
    pub egress_blocked: u64,
    /// Dropped: PCIe has no such operation (and, or, xor, min, max, inc, dec).
    pub not_a_pcie_operation: u64,
}

impl FabricCounters {
    /// AtomicOps that did not arrive.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.requester_disabled
            + self.bus_master_disabled
            + self.unsupported_request
            + self.routing_unsupported
            + self.egress_blocked
            + self.not_a_pcie_operation
    }

    /// The counters in the order of the fields.
    #[must_use]
    pub const fn from_counts(counts: [u64; 7]) -> Self {
        let [
            performed,
            requester_disabled,
            bus_master_disabled,
            unsupported_request,
            routing_unsupported,
            egress_blocked,
            not_a_pcie_operation,
        ] = counts;
        Self {
            performed,
            requester_disabled,
            bus_master_disabled,
            unsupported_request,
            routing_unsupported,
            egress_blocked,
            not_a_pcie_operation,
        }
    }

    /// What was counted since `before`. Counters only grow, except that a device which is opened anew counts from zero again: one
    /// that went back tells so, and then everything in `self` is new.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        if self.is_behind(before) {
            return *self;
        }
        Self {
            performed: self.performed - before.performed,
            requester_disabled: self.requester_disabled - before.requester_disabled,
            bus_master_disabled: self.bus_master_disabled - before.bus_master_disabled,
            unsupported_request: self.unsupported_request - before.unsupported_request,
            routing_unsupported: self.routing_unsupported - before.routing_unsupported,
            egress_blocked: self.egress_blocked - before.egress_blocked,
            not_a_pcie_operation: self.not_a_pcie_operation - before.not_a_pcie_operation,
        }
    }

    const fn is_behind(&self, before: &Self) -> bool {
        self.performed < before.performed
            || self.requester_disabled < before.requester_disabled
            || self.bus_master_disabled < before.bus_master_disabled
            || self.unsupported_request < before.unsupported_request
            || self.routing_unsupported < before.routing_unsupported
            || self.egress_blocked < before.egress_blocked
            || self.not_a_pcie_operation < before.not_a_pcie_operation
    }

    /// The counters of the file `aqlprobe_fabric`, which a bed that counts AtomicOps keeps in the endpoint's sysfs directory:
    /// seven little-endian 64-bit words in the order of the fields. `None` when it is shorter.
    #[must_use]
    pub fn from_file_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |index: usize| Some(u64::from_le_bytes(bytes.get(index * 8..index * 8 + 8)?.try_into().ok()?));
        Some(Self {
            performed: word(0)?,
            requester_disabled: word(1)?,
            bus_master_disabled: word(2)?,
            unsupported_request: word(3)?,
            routing_unsupported: word(4)?,
            egress_blocked: word(5)?,
            not_a_pcie_operation: word(6)?,
        })
    }
}

/// `5 performed, 2 dropped (2 requester disabled)`.
impl fmt::Display for FabricCounters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = [
            (self.requester_disabled, "requester disabled"),
            (self.bus_master_disabled, "bus master disabled"),
            (self.unsupported_request, "not completed by the root port"),
            (self.routing_unsupported, "not routed by a switch"),
            (self.egress_blocked, "blocked on egress"),
            (self.not_a_pcie_operation, "no such PCIe operation"),
        ];
        write!(formatter, "{} performed, {} dropped", thousands(self.performed), thousands(self.dropped()))?;
        let reasons: Vec<String> = reasons
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, reason)| format!("{} {reason}", thousands(*count)))
            .collect();
        if reasons.is_empty() { Ok(()) } else { write!(formatter, " ({})", reasons.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER_ANOTHER_RUN: FabricCounters = FabricCounters {
        performed: 5,
        requester_disabled: 100,
        bus_master_disabled: 0,
        unsupported_request: 0,
        routing_unsupported: 0,
        egress_blocked: 0,
        not_a_pcie_operation: 7,
    };

    #[test]
    fn counts_are_taken_since_the_sample_before() {
        let now = FabricCounters { performed: 9, not_a_pcie_operation: 8, ..AFTER_ANOTHER_RUN };
        let wanted = FabricCounters { performed: 4, not_a_pcie_operation: 1, ..FabricCounters::default() };
        assert_eq!(now.since(&AFTER_ANOTHER_RUN), wanted);
    }

    #[test]
    fn a_device_that_counts_from_zero_again_never_counts_below_zero() {
        let now = FabricCounters { performed: 27_206, ..FabricCounters::default() };
        assert_eq!(now.since(&AFTER_ANOTHER_RUN), now);
    }

    #[test]
    fn the_counters_file_is_seven_little_endian_words_in_the_order_of_the_fields() {
        let bytes: Vec<u8> = [5_u64, 100, 0, 0, 0, 0, 7].iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(FabricCounters::from_file_bytes(&bytes), Some(AFTER_ANOTHER_RUN));
        assert_eq!(FabricCounters::from_file_bytes(&bytes[..55]), None);
        assert_eq!(AFTER_ANOTHER_RUN.dropped(), 107);
    }
}
