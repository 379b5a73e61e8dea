//! KFD's refusals in the kernel's log: `kfd kfd: amdgpu: skipped device 1002:7341, PCI rejects atomics 123<145`.

use serde::Serialize;

const PHRASE: &str = "PCI rejects atomics";

/// One GPU that KFD refused over AtomicOps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Vendor ID.
    pub vendor_id: u16,
    /// Device ID.
    pub device_id: u16,
    /// The two firmware versions, which old kernels do not print.
    pub firmware: Option<FirmwareVerdict>,
}

/// `A<B` of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FirmwareVerdict {
    /// Version of the MEC firmware the GPU runs.
    pub found: u32,
    /// Version from which KFD does without AtomicOps; 0 when no firmware helps.
    pub needed: u32,
}

impl FirmwareVerdict {
    /// Whether newer firmware would make KFD take the GPU.
    #[must_use]
    pub const fn is_curable(self) -> bool {
        self.needed != 0
    }
}

/// The refusals in a text, which may be the whole of `dmesg` or anything with such lines in it.
pub fn refusals(text: &str) -> Vec<Refusal> {
    text.lines().filter_map(refusal).collect()
}

fn refusal(line: &str) -> Option<Refusal> {
    let (before, after) = line.split_once(PHRASE)?;
    let (_, device) = before.rsplit_once("skipped device ")?;
    let (vendor, device) = device.trim_end().trim_end_matches(',').split_once(':')?;
    let id = |text: &str| u16::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    Some(Refusal { vendor_id: id(vendor)?, device_id: id(device)?, firmware: firmware(after) })
}

fn firmware(text: &str) -> Option<FirmwareVerdict> {
    let (found, rest) = text.trim_start().split_once('<')?;
    let needed = rest.split(|character: char| !character.is_ascii_digit()).next()?;
    Some(FirmwareVerdict { found: found.trim().parse().ok()?, needed: needed.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_versions_are_decimal_and_the_ids_hexadecimal() {
        let line = "[   12.3] kfd kfd: amdgpu: skipped device 1002:7341, PCI rejects atomics 123<145\r";
        let firmware = Some(FirmwareVerdict { found: 123, needed: 145 });
        assert_eq!(refusals(line), [Refusal { vendor_id: 0x1002, device_id: 0x7341, firmware }]);
    }

    #[test]
    fn old_kernels_print_no_versions() {
        let line = "kfd kfd: skipped device 1002:67df, PCI rejects atomics";
        assert_eq!(refusals(line), [Refusal { vendor_id: 0x1002, device_id: 0x67df, firmware: None }]);
    }

    #[test]
    fn a_threshold_of_zero_means_that_no_firmware_helps() {
        let found = refusals("kfd kfd: amdgpu: skipped device 1002:67df, PCI rejects atomics 730<0");
        assert!(!found[0].firmware.unwrap().is_curable());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            let _ = refusals(&text);
            let _ = refusals(&format!("skipped device {text}, PCI rejects atomics {text}<{text}"));
        }
    }
}
