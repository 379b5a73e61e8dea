use proptest::prelude::*;

use super::*;
use crate::model::test_path::{BUSES, TestPath};
use crate::pci::tree::{BridgeImage, Completers, EgressBlocking, Routing};

const PCIE_OPS: [RmwOp; 4] = [RmwOp::Add, RmwOp::Sub, RmwOp::Swap, RmwOp::CompareSwap];
const OTHER_OPS: [RmwOp; 9] = [
    RmwOp::And,
    RmwOp::Or,
    RmwOp::Xor,
    RmwOp::SignedMin,
    RmwOp::SignedMax,
    RmwOp::UnsignedMin,
    RmwOp::UnsignedMax,
    RmwOp::WrapInc,
    RmwOp::WrapDec,
];

fn root_port(completers: Completers) -> ConfigSpace {
    BridgeImage::root_port(BUSES).completers(completers).build()
}

/// Endpoint, downstream port, upstream port, root port: every bit that could matter, and some that must not.
#[derive(Clone, Copy, Debug)]
struct Bits {
    bus_master: bool,
    requester: bool,
    endpoint_egress: bool,
    downstream_routing: bool,
    downstream_egress: bool,
    upstream_routing: bool,
    upstream_egress: bool,
    completers: u8,
}

fn bits() -> impl Strategy<Value = Bits> {
    // Each bit that AtomicOps need is set most of the time, so that later conditions get their turn.
    let likely = || prop::bool::weighted(0.85);
    let flags = (likely(), likely(), any::<bool>(), likely(), any::<bool>(), likely(), prop::bool::weighted(0.2), 0..4u8);
    flags.prop_map(
        |(
            bus_master,
            requester,
            endpoint_egress,
            downstream_routing,
            downstream_egress,
            upstream_routing,
            upstream_egress,
            completers,
        )| Bits {
            bus_master,
            requester,
            endpoint_egress,
            downstream_routing,
            downstream_egress,
            upstream_routing,
            upstream_egress,
            completers,
        },
    )
}

impl Bits {
    fn path(self) -> (TestPath, PciPath) {
        let routing = |supported| if supported { Routing::Supported } else { Routing::Unsupported };
        let egress = |blocked| if blocked { EgressBlocking::Blocked } else { EgressBlocking::Open };
        let completers =
            [Completers::Neither, Completers::Only32, Completers::Only64, Completers::Both][usize::from(self.completers)];
        let files = TestPath::below(&[
            BridgeImage::switch_downstream(BUSES)
                .routing(routing(self.downstream_routing))
                .egress(egress(self.downstream_egress))
                .build(),
            BridgeImage::switch_upstream(BUSES)
                .routing(routing(self.upstream_routing))
                .egress(egress(self.upstream_egress))
                .build(),
            root_port(completers),
        ]);
        files.set_command(if self.bus_master { 0x0507 } else { 0x0503 });
        files.set_device_control_2(if self.requester { 0x40 } else { 0 } | if self.endpoint_egress { 0x80 } else { 0 });
        let path = files.open();
        (files, path)
    }

    /// The rule of the specification, written down a second time: the conditions in order, each with what its failure is called.
    fn expected(self, op: RmwOp, width: OperandWidth) -> Option<DropReason> {
        let completes_width = match width {
            OperandWidth::Bits32 => self.completers & 1 != 0,
            OperandWidth::Bits64 => self.completers & 2 != 0,
        };
        [
            (PCIE_OPS.contains(&op), DropReason::NotAPcieOperation),
            (self.bus_master, DropReason::BusMasterDisabled),
            (self.requester, DropReason::RequesterDisabled),
            (self.downstream_routing, DropReason::RoutingUnsupported),
            (self.upstream_routing, DropReason::RoutingUnsupported),
            (!self.upstream_egress, DropReason::EgressBlocked),
            (completes_width, DropReason::UnsupportedRequest),
        ]
        .into_iter()
        .find_map(|(holds, reason)| (!holds).then_some(reason))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_atomic_op_is_performed_exactly_when_every_hop_lets_it_and_is_counted_once(
        bits in bits(),
        op in prop::sample::select([PCIE_OPS.as_slice(), OTHER_OPS.as_slice()].concat()),
        wide: bool,
    ) {
        let width = if wide { OperandWidth::Bits64 } else { OperandWidth::Bits32 };
        let (_files, path) = bits.path();
        let expected = bits.expected(op, width);
        prop_assert_eq!(path.admit(op, width), if expected.is_none() { Admission::Performed } else { Admission::Dropped });
        let counters = path.counters();
        let counted = FabricCounters {
            performed: u64::from(expected.is_none()),
            requester_disabled: u64::from(expected == Some(DropReason::RequesterDisabled)),
            bus_master_disabled: u64::from(expected == Some(DropReason::BusMasterDisabled)),
            unsupported_request: u64::from(expected == Some(DropReason::UnsupportedRequest)),
            routing_unsupported: u64::from(expected == Some(DropReason::RoutingUnsupported)),
            egress_blocked: u64::from(expected == Some(DropReason::EgressBlocked)),
            not_a_pcie_operation: u64::from(expected == Some(DropReason::NotAPcieOperation)),
        };
        prop_assert_eq!(counters, counted);
    }
}

#[test]
fn the_requester_bit_counts_as_it_is_at_the_moment_of_the_atomic_op() {
    let files = TestPath::below_root_port();
    let path = files.open();
    assert_eq!(path.admit(RmwOp::Add, OperandWidth::Bits64), Admission::Dropped);
    files.enable_requester();
    assert_eq!(path.admit(RmwOp::Add, OperandWidth::Bits64), Admission::Performed);
    files.set_device_control_2(0);
    assert_eq!(path.admit(RmwOp::Add, OperandWidth::Bits64), Admission::Dropped);
    assert_eq!(path.counters(), FabricCounters { performed: 1, requester_disabled: 2, ..FabricCounters::default() });
}

#[test]
fn the_counters_file_holds_seven_words_in_the_documented_order() {
    let files = TestPath::below(&[root_port(Completers::Only32)]);
    let path = files.open();
    for (command, control, op, times) in [
        (0x0507, 0x40, RmwOp::Swap, 1),
        (0x0507, 0x00, RmwOp::Swap, 2),
        (0x0503, 0x40, RmwOp::Swap, 3),
        (0x0507, 0x40, RmwOp::Xor, 7),
    ] {
        files.set_command(command);
        files.set_device_control_2(control);
        for _ in 0..times {
            path.admit(op, OperandWidth::Bits32);
        }
    }
    for _ in 0..4 {
        path.admit(RmwOp::Swap, OperandWidth::Bits64);
    }
    let words: Vec<u64> = files.counters_file().chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    assert_eq!(words, [1, 2, 3, 4, 0, 0, 7]);
}

#[test]
fn without_a_root_port_atomic_ops_are_unsupported_requests() {
    let files = TestPath::below(&[]);
    files.enable_requester();
    let path = files.open();
    assert_eq!(path.judge(RmwOp::Add, OperandWidth::Bits32), Err(DropReason::UnsupportedRequest));
}

#[test]
fn a_root_port_completes_each_width_for_itself() {
    for (completers, narrow, wide) in [
        (Completers::Neither, false, false),
        (Completers::Only32, true, false),
        (Completers::Only64, false, true),
        (Completers::Both, true, true),
    ] {
        let files = TestPath::below(&[root_port(completers)]);
        files.enable_requester();
        let path = files.open();
        assert_eq!(path.judge(RmwOp::CompareSwap, OperandWidth::Bits32).is_ok(), narrow, "{completers:?}");
        assert_eq!(path.judge(RmwOp::CompareSwap, OperandWidth::Bits64).is_ok(), wide, "{completers:?}");
    }
}

#[test]
fn a_bridge_that_is_no_switch_port_routes_no_atomic_ops() {
    let mut conventional = root_port(Completers::Both).bytes().to_vec();
    // No capability list: the Status register's bit 4.
    conventional[6] &= !0x10;
    let files = TestPath::below(&[ConfigSpace::from_bytes(conventional), root_port(Completers::Both)]);
    files.enable_requester();
    assert_eq!(files.open().judge(RmwOp::Add, OperandWidth::Bits32), Err(DropReason::RoutingUnsupported));
}

#[test]
fn a_version_1_capability_has_no_second_registers_to_look_at() {
    let mut old = root_port(Completers::Both).bytes().to_vec();
    let capability = usize::from(old[0x34]);
    old[capability + 2] = old[capability + 2] & 0xf0 | 1;
    let files = TestPath::below(&[ConfigSpace::from_bytes(old)]);
    files.enable_requester();
    assert_eq!(files.open().judge(RmwOp::Add, OperandWidth::Bits32), Err(DropReason::UnsupportedRequest));
}
