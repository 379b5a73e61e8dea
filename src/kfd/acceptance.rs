//! Whether KFD accepts a GPU whose path gives no AtomicOps (Linux drivers/gpu/drm/amd/amdkfd/kfd_device.c, 6.12 and 7.1).

use super::gfx::GfxTarget;
use serde::Serialize;

/// What KFD demands of a GPU that it cannot enable AtomicOps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AtomicsRequirement {
    /// It demands nothing: the GPU's firmware and driver do without.
    None,
    /// It refuses the GPU whatever the firmware.
    Always,
    /// It refuses the GPU unless the MEC firmware has at least this version.
    UnlessFirmware(u32),
    /// The target is not in the table.
    Unknown,
}

/// What is expected of KFD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Enumeration {
    /// KFD takes the GPU: it appears in the topology.
    Enumerated,
    /// KFD skips it: no compute at all.
    NotEnumerated,
    /// Not decided by what is known.
    Unknown,
}

/// KFD's expected answer and its ground.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acceptance {
    /// Its answer.
    pub enumeration: Enumeration,
    /// Why, in a sentence.
    pub reason: String,
}

/// What KFD demands of a target, by the table of `kfd_device_info_init`. A virtual function of generation 8 is excepted
/// there; integrated GPUs are never asked.
pub fn requirement(target: GfxTarget) -> AtomicsRequirement {
    match (target.major, target.minor, target.stepping) {
        (7, 0, 1) => AtomicsRequirement::None,
        (7 | 8, ..) => AtomicsRequirement::Always,
        (9, ..) => AtomicsRequirement::None,
        (10, 1, _) => AtomicsRequirement::UnlessFirmware(145),
        (10, 3, 6) => AtomicsRequirement::UnlessFirmware(14),
        (10, 3, 7) => AtomicsRequirement::UnlessFirmware(3),
        (10, 3, _) => AtomicsRequirement::UnlessFirmware(92),
        (11, ..) => AtomicsRequirement::UnlessFirmware(509),
        (12, ..) => AtomicsRequirement::UnlessFirmware(2090),
        _ => AtomicsRequirement::Unknown,
    }
}

/// KFD's expected answer for a GPU without AtomicOps. `mec_firmware` is the MEC firmware version in decimal
/// (`fw_version/mec_fw_version` of the device in sysfs has it in hexadecimal), `None` when it is not known.
pub fn acceptance(target: GfxTarget, mec_firmware: Option<u32>) -> Acceptance {
    let answer = |enumeration, reason| Acceptance { enumeration, reason };
    match (requirement(target), mec_firmware) {
        (AtomicsRequirement::None, _) => {
            answer(Enumeration::Enumerated, format!("KFD does not require PCIe AtomicOps of {target}."))
        }
        (AtomicsRequirement::Always, _) => answer(
            Enumeration::NotEnumerated,
            format!("KFD requires PCIe AtomicOps of {target} and no firmware changes that: \"PCI rejects atomics\" in dmesg."),
        ),
        (AtomicsRequirement::UnlessFirmware(needed), None) => answer(
            Enumeration::Unknown,
            format!("KFD accepts {target} without PCIe AtomicOps from MEC firmware {needed} on; the version is not known."),
        ),
        (AtomicsRequirement::UnlessFirmware(needed), Some(found)) if found >= needed => answer(
            Enumeration::Enumerated,
            format!("KFD accepts {target} without PCIe AtomicOps from MEC firmware {needed} on; it has {found}."),
        ),
        // Linux 6.1 has no rule for generation 11 and accepts it; the rule came before 6.12.
        (AtomicsRequirement::UnlessFirmware(needed), Some(found)) if target.major == 11 => answer(
            Enumeration::Unknown,
            format!("Kernels up to 6.1 accept {target} in any case, 6.12 and later need MEC firmware {needed}; it has {found}."),
        ),
        (AtomicsRequirement::UnlessFirmware(needed), Some(found)) => answer(
            Enumeration::NotEnumerated,
            format!(
                "KFD accepts {target} without PCIe AtomicOps only from MEC firmware {needed} on; it has {found}: update linux-firmware."
            ),
        ),
        (AtomicsRequirement::Unknown, _) => {
            answer(Enumeration::Unknown, format!("What KFD requires of {target} is not known to this program."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enumeration(target: &str, mec_firmware: Option<u32>) -> Enumeration {
        acceptance(target.parse().unwrap(), mec_firmware).enumeration
    }

    #[test]
    fn generation_8_is_refused_whatever_the_firmware() {
        for target in ["gfx801", "gfx802", "gfx803", "gfx805", "gfx810"] {
            assert_eq!(enumeration(target, Some(u32::MAX)), Enumeration::NotEnumerated, "{target}");
        }
    }

    #[test]
    fn hawaii_and_generation_9_need_no_atomics() {
        for target in ["gfx701", "gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx950"] {
            assert_eq!(enumeration(target, None), Enumeration::Enumerated, "{target}");
        }
    }

    #[test]
    fn from_generation_10_on_the_firmware_decides() {
        for (target, needed) in [
            ("gfx1010", 145),
            ("gfx1012", 145),
            ("gfx1030", 92),
            ("gfx1034", 92),
            ("gfx1036", 14),
            ("gfx1037", 3),
            ("gfx1201", 2090),
        ] {
            assert_eq!(enumeration(target, Some(needed)), Enumeration::Enumerated, "{target}");
            assert_eq!(enumeration(target, Some(needed - 1)), Enumeration::NotEnumerated, "{target}");
            assert_eq!(enumeration(target, None), Enumeration::Unknown, "{target}");
        }
    }

    #[test]
    fn a_published_refusal_of_navi14_is_predicted() {
        assert_eq!(enumeration("gfx1012", Some(123)), Enumeration::NotEnumerated);
    }

    #[test]
    fn generation_11_with_old_firmware_depends_on_the_kernel() {
        assert_eq!(enumeration("gfx1100", Some(509)), Enumeration::Enumerated);
        assert_eq!(enumeration("gfx1100", Some(508)), Enumeration::Unknown);
    }

    #[test]
    fn targets_outside_the_table_are_unknown() {
        assert_eq!(enumeration("gfx1310", Some(1)), Enumeration::Unknown);
    }
}
