use super::*;
use crate::audit::{FirmwareVerdict, Refusal};
use crate::kfd::topology::{Link, LinkAtomics, LinkKind, Node};
use crate::pci::tree::{BridgeImage, BusNumbers, Completers};
use crate::pci::{Completeness, ConfigSpace, dump};

const FIJI_BEFORE: &str = include_str!("../../../tests/data/lspci/01-fiji-before.txt");
const FIJI_AFTER: &str = include_str!("../../../tests/data/lspci/02-fiji-after.txt");
const NAVI_10: &str = include_str!("../../../tests/data/lspci/08-navi10-xxxx.txt");

fn gpu(text: &str) -> Hop {
    let function = dump::read(text).unwrap().remove(0);
    Hop::read(function.bdf, &function.config)
}

/// The GPU with another identity; its registers stay.
fn as_device(mut hop: Hop, device_id: u16) -> Hop {
    hop.device_id = Some(device_id);
    hop
}

fn behind(completers: Completers, device: Hop) -> Hierarchy {
    let image = BridgeImage::root_port(BusNumbers { primary: 0, secondary: device.bdf.bus, subordinate: device.bdf.bus });
    let root_port = Hop::read("00:03.0".parse().unwrap(), &image.completers(completers).build());
    Hierarchy { hops: vec![root_port, device], completeness: Completeness::Whole }
}

fn alone(device: Hop) -> Hierarchy {
    Hierarchy { hops: vec![device], completeness: Completeness::Partial }
}

fn audited(hierarchy: &Hierarchy) -> AuditedDevice {
    audit(hierarchy, &Facts::default()).unwrap()
}

fn with_firmware(hierarchy: &Hierarchy, version: u32) -> AuditedDevice {
    audit(hierarchy, &Facts { mec_firmware: Some(version), ..Facts::default() }).unwrap()
}

const NAVI_14: u16 = 0x7341;
const POLARIS_10: u16 = 0x67df;
const VEGA_10: u16 = 0x6863;

mod the_four_verdicts {
    use super::*;

    #[test]
    fn the_founding_dump_before_is_disabled_with_the_fix_at_its_own_offset() {
        let device = audited(&behind(Completers::Both, gpu(FIJI_BEFORE)));
        assert_eq!((device.path_capable, device.enabled, device.kfd.verdict), (Answer::Yes, Answer::No, Answer::Yes));
        assert_eq!(device.first_bad_hop, Some(device.bdf));
        assert_eq!(device.fixes[0].command.as_deref(), Some("setpci -s 0b:00.0 CAP_EXP+28.w=40:40"));
        assert_eq!(device.fixes[0].register.as_deref(), Some("Device Control 2 at 0x80, bit 6 (0x40)"));
        assert!(device.consequences[0].contains("never fires"), "{:?}", device.consequences);
        assert!(!device.is_in_order());
    }

    #[test]
    fn the_founding_dump_after_is_in_order_behind_a_root_port_and_unknown_alone() {
        let device = audited(&behind(Completers::Both, gpu(FIJI_AFTER)));
        assert!(device.is_in_order());
        assert_eq!((device.first_bad_hop, device.consequences.len(), device.fixes.len()), (None, 0, 0));
        let device = audited(&alone(gpu(FIJI_AFTER)));
        assert_eq!((device.path_capable, device.enabled, device.kfd.verdict), (Answer::Unknown, Answer::Yes, Answer::Unknown));
        assert_eq!(device.first_bad_hop, None, "what is not known is no bad hop");
        assert!(!device.is_in_order());
    }

    #[test]
    fn a_capability_elsewhere_moves_the_register_of_the_fix() {
        let mut navi = gpu(NAVI_10);
        navi.device_control_2 = navi.device_control_2.with(0x40, 0);
        let device = audited(&behind(Completers::Both, navi));
        assert_eq!(device.fixes[0].register.as_deref(), Some("Device Control 2 at 0x8c, bit 6 (0x40)"));
    }

    #[test]
    fn a_root_port_without_completers_is_the_first_bad_hop_and_kfd_refuses_generation_8() {
        let device = audited(&behind(Completers::Only32, gpu(FIJI_BEFORE)));
        assert_eq!((device.path_capable, device.kfd.verdict), (Answer::No, Answer::No));
        assert_eq!(device.first_bad_hop, Some("00:03.0".parse().unwrap()));
        assert!(device.kfd.cure.unwrap().contains("No firmware helps"));
    }

    #[test]
    fn a_clear_bus_master_is_not_in_order() {
        let mut fiji = gpu(FIJI_AFTER);
        fiji.command = fiji.command.with(0x4, 0);
        let device = audited(&behind(Completers::Both, fiji));
        assert_eq!((device.path_capable, device.enabled), (Answer::Yes, Answer::Yes));
        assert!(!device.is_in_order());
        assert_eq!(device.first_bad_hop, Some(device.bdf));
    }

    #[test]
    fn an_integrated_gpu_reaches_memory_without_pcie() {
        const RENOIR: u16 = 0x1636;
        let device = audited(&behind(Completers::Neither, as_device(gpu(FIJI_BEFORE), RENOIR)));
        assert!(device.is_in_order() && device.reaches_memory_without_pcie());
        assert_eq!((device.kfd.verdict, device.first_bad_hop), (Answer::Yes, None));
        assert!(device.findings.is_empty() && device.fixes.is_empty() && device.consequences.is_empty());
    }
}

mod kfd {
    use super::*;

    #[test]
    fn firmware_at_the_threshold_makes_kfd_accept_navi_14_and_then_hostcall_is_missing() {
        let path = behind(Completers::Neither, as_device(gpu(FIJI_BEFORE), NAVI_14));
        let refused = with_firmware(&path, 123);
        assert_eq!(refused.kfd.verdict, Answer::No);
        assert!(refused.kfd.cure.unwrap().contains("MEC firmware 145"));
        assert_eq!(refused.consequences, ["ROCm does not see the GPU: no compute at all."]);
        let accepted = with_firmware(&path, 145);
        assert_eq!((accepted.kfd.verdict, accepted.kfd.cure), (Answer::Yes, None));
        for word in ["hostcall", "printf", "RCCL"] {
            assert!(accepted.consequences.iter().any(|sentence| sentence.contains(word)), "{word}");
        }
        let unknown = audited(&path);
        assert_eq!(unknown.kfd.verdict, Answer::Unknown);
        assert!(unknown.kfd.cure.is_some());
    }

    #[test]
    fn generation_9_is_accepted_without_atomics() {
        let device = audited(&behind(Completers::Neither, as_device(gpu(FIJI_BEFORE), VEGA_10)));
        assert_eq!((device.path_capable, device.kfd.verdict), (Answer::No, Answer::Yes));
        assert!(device.consequences.iter().any(|sentence| sentence.contains("hostcall")));
    }

    #[test]
    fn a_refusal_in_the_log_decides_and_tells_the_firmware() {
        let refusal =
            |device_id, found, needed| Refusal { vendor_id: 0x1002, device_id, firmware: Some(FirmwareVerdict { found, needed }) };
        let facts = Facts { refusals: vec![refusal(POLARIS_10, 730, 0), refusal(NAVI_14, 123, 145)], ..Facts::default() };
        let navi = audit(&alone(as_device(gpu(FIJI_BEFORE), NAVI_14)), &facts).unwrap().kfd;
        assert_eq!((navi.verdict, navi.mec_firmware), (Answer::No, Some(123)));
        assert!(navi.reason.contains("123<145") && navi.cure.unwrap().contains("linux-firmware"));
        let polaris = audit(&alone(as_device(gpu(FIJI_BEFORE), POLARIS_10)), &facts).unwrap().kfd;
        assert!(polaris.cure.unwrap().contains("No firmware helps"));
        let other = audit(&alone(gpu(FIJI_BEFORE)), &facts).unwrap().kfd;
        assert_eq!(other.verdict, Answer::Unknown, "a refusal of another GPU says nothing of this one");
    }

    #[test]
    fn a_virtual_function_of_generation_8_is_excepted_and_newer_ones_are_the_hosts_to_answer() {
        let virtual_function = |device_id| {
            let mut hop = as_device(gpu(FIJI_BEFORE), device_id);
            hop.physical_function = Some("0a:00.0".parse().unwrap());
            audited(&behind(Completers::Both, hop))
        };
        assert_eq!(virtual_function(0x7300).kfd.verdict, Answer::Yes);
        assert_eq!(virtual_function(NAVI_14).kfd.verdict, Answer::Unknown);
        assert_eq!(virtual_function(0x7300).enabled, Answer::Unknown);
    }

    #[test]
    fn a_device_of_another_vendor_is_none_of_kfds() {
        let mut hop = gpu(FIJI_AFTER);
        hop.vendor_id = Some(0x10de);
        let device = audited(&behind(Completers::Both, hop));
        assert_eq!(device.kfd.verdict, Answer::No);
        assert!(device.is_in_order(), "its path is judged all the same");
    }
}

mod link_flags {
    use super::*;

    fn nodes(gpu_to_cpu: LinkAtomics, cpu_to_gpu: LinkAtomics) -> Vec<Node> {
        let link = |to, atomics| vec![Link { to, kind: LinkKind::Pcie, atomics }];
        let cpu = Node { index: 0, target: None, pci_address: None, mec_firmware: None, links: link(1, cpu_to_gpu) };
        let target = Some("gfx803".parse().unwrap());
        vec![cpu, Node { index: 1, target, pci_address: None, mec_firmware: Some(730), links: link(0, gpu_to_cpu) }]
    }

    fn with_flags(hierarchy: &Hierarchy, gpu_to_cpu: LinkAtomics, cpu_to_gpu: LinkAtomics) -> AuditedDevice {
        let nodes = nodes(gpu_to_cpu, cpu_to_gpu);
        audit(hierarchy, &Facts { kfd_node: Some(nodes[1].clone()), kfd_nodes: nodes, ..Facts::default() }).unwrap()
    }

    #[test]
    fn flags_that_agree_with_config_space_are_no_contradiction() {
        // Fiji completes nothing itself: the flags from the CPU to it say so on every path.
        let device = with_flags(&behind(Completers::Both, gpu(FIJI_AFTER)), LinkAtomics::Both, LinkAtomics::Neither);
        assert_eq!(device.contradictions, Vec::<String>::new());
        assert!(device.kfd.reason.contains("node 1") && device.kfd.mec_firmware == Some(730));
    }

    #[test]
    fn flags_that_contradict_requester_enable_are_reported_in_both_directions() {
        let cleared = with_flags(&behind(Completers::Both, gpu(FIJI_BEFORE)), LinkAtomics::Both, LinkAtomics::Neither);
        assert!(cleared.contradictions[0].contains("cleared"), "{:?}", cleared.contradictions);
        let set = with_flags(&behind(Completers::Both, gpu(FIJI_AFTER)), LinkAtomics::Neither, LinkAtomics::Neither);
        assert!(set.contradictions[0].contains("by hand"), "{:?}", set.contradictions);
    }

    #[test]
    fn flags_of_the_cpu_that_contradict_the_gpus_own_completers_are_reported() {
        let device = with_flags(&behind(Completers::Both, gpu(FIJI_AFTER)), LinkAtomics::Both, LinkAtomics::Both);
        assert!(device.contradictions[0].contains("completes AtomicOps of the CPU"), "{:?}", device.contradictions);
    }

    #[test]
    fn flags_tell_whether_it_is_enabled_where_config_space_is_not_readable() {
        let function = dump::read(FIJI_AFTER).unwrap().remove(0);
        let cut = Hop::read(function.bdf, &ConfigSpace::from_bytes(function.config.bytes()[..64].to_vec()));
        let enabled = |flags| with_flags(&alone(cut.clone()), flags, LinkAtomics::Neither).enabled;
        let flags = [LinkAtomics::Both, LinkAtomics::Neither, LinkAtomics::NotSaid];
        assert_eq!(flags.map(enabled), [Answer::Yes, Answer::No, Answer::Unknown]);
    }
}
