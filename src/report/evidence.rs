//! What was seen, so that a verdict can be checked by its reader.

use serde::{Deserialize, Serialize};

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

    /// What was counted since `before`; the counters only grow.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            performed: self.performed.wrapping_sub(before.performed),
            requester_disabled: self.requester_disabled.wrapping_sub(before.requester_disabled),
            bus_master_disabled: self.bus_master_disabled.wrapping_sub(before.bus_master_disabled),
            unsupported_request: self.unsupported_request.wrapping_sub(before.unsupported_request),
            routing_unsupported: self.routing_unsupported.wrapping_sub(before.routing_unsupported),
            egress_blocked: self.egress_blocked.wrapping_sub(before.egress_blocked),
            not_a_pcie_operation: self.not_a_pcie_operation.wrapping_sub(before.not_a_pcie_operation),
        }
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
