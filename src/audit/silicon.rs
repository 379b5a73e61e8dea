//! Which GPU target a device is, by the code name that the PCI ID list gives it.

use crate::kfd::GfxTarget;
use crate::pci::Hop;

/// What is known of a GPU's silicon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silicon {
    /// Its GPU target.
    pub target: GfxTarget,
    /// Whether it sits in the processor's package and reaches memory without PCIe.
    pub integration: Integration,
}

/// Where a GPU sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integration {
    /// Behind a PCIe link.
    Discrete,
    /// In the processor.
    Integrated,
}

use Integration::{Discrete, Integrated};

const AMD: u16 = 0x1002;

/// Code names with their targets (LLVM AMDGPUUsage, Processors; GC versions of amdgpu's IP discovery). A longer name stands
/// before its own beginning.
const CODE_NAMES: &[(&str, (u32, u32, u32), Integration)] = &[
    ("Kaveri", (7, 0, 0), Integrated),
    ("Hawaii", (7, 0, 1), Discrete),
    ("Vesuvius", (7, 0, 1), Discrete),
    ("Carrizo", (8, 0, 1), Integrated),
    ("Tonga", (8, 0, 2), Discrete),
    ("Amethyst", (8, 0, 2), Discrete),
    ("Fiji", (8, 0, 3), Discrete),
    ("Capsaicin", (8, 0, 3), Discrete),
    ("Ellesmere", (8, 0, 3), Discrete),
    ("Baffin", (8, 0, 3), Discrete),
    ("Lexa", (8, 0, 3), Discrete),
    ("Polaris", (8, 0, 3), Discrete),
    ("Vega 10", (9, 0, 0), Discrete),
    ("Vega 12", (9, 0, 4), Discrete),
    ("Vega 20", (9, 0, 6), Discrete),
    ("Arcturus", (9, 0, 8), Discrete),
    ("Aldebaran", (9, 0, 10), Discrete),
    ("Aqua Vanjaram", (9, 4, 2), Discrete),
    ("Raven Ridge", (9, 0, 2), Integrated),
    ("Picasso", (9, 0, 2), Integrated),
    ("Renoir", (9, 0, 12), Integrated),
    ("Lucienne", (9, 0, 12), Integrated),
    ("Cezanne", (9, 0, 12), Integrated),
    ("Barcelo", (9, 0, 12), Integrated),
    ("Navi 10", (10, 1, 0), Discrete),
    ("Navi 12", (10, 1, 1), Discrete),
    ("Navi 14", (10, 1, 2), Discrete),
    ("Navi 21", (10, 3, 0), Discrete),
    ("Navi 22", (10, 3, 1), Discrete),
    ("Navi 23", (10, 3, 2), Discrete),
    ("Navi 24", (10, 3, 4), Discrete),
    ("VanGogh", (10, 3, 3), Integrated),
    ("Rembrandt", (10, 3, 5), Integrated),
    ("Raphael", (10, 3, 6), Integrated),
    ("Navi 31", (11, 0, 0), Discrete),
    ("Navi 32", (11, 0, 1), Discrete),
    ("Navi 33", (11, 0, 2), Discrete),
    ("Phoenix", (11, 0, 3), Integrated),
    ("Strix Halo", (11, 5, 1), Integrated),
    ("Strix", (11, 5, 0), Integrated),
    ("Navi 44", (12, 0, 0), Discrete),
    ("Navi 48", (12, 0, 1), Discrete),
];

/// The silicon of a device, when the PCI ID list names it by a code name of the table.
pub fn silicon(device: &Hop) -> Option<Silicon> {
    let listed = match (device.vendor_id, device.device_id) {
        (Some(vendor), _) if vendor != AMD => return None,
        (Some(vendor), Some(id)) => pci_ids::Device::from_vid_pid(vendor, id).map(|listed| listed.name()),
        _ => None,
    };
    named(listed.unwrap_or(&device.name))
}

fn named(name: &str) -> Option<Silicon> {
    let (_, (major, minor, stepping), integration) = CODE_NAMES.iter().find(|(code_name, ..)| has_words(name, code_name))?;
    let target = GfxTarget { major: *major, minor: *minor, stepping: *stepping };
    Some(Silicon { target, integration: *integration })
}

/// Whether a name has the words in it, and not as parts of longer ones; "Polaris12" counts as Polaris.
fn has_words(name: &str, words: &str) -> bool {
    name.match_indices(words).any(|(at, found)| {
        let begins = !name[..at].ends_with(char::is_alphanumeric);
        let rest = &name[at + found.len()..];
        let ends_in_digit = found.ends_with(|last: char| last.is_ascii_digit());
        begins && !rest.starts_with(|next: char| if ends_in_digit { next.is_ascii_digit() } else { next.is_alphabetic() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Option<String> {
        named(name).map(|silicon| silicon.target.to_string())
    }

    #[test]
    fn code_names_of_the_pci_id_list_give_the_target() {
        for (name, expected) in [
            ("Fiji [Radeon R9 FURY / NANO Series]", "gfx803"),
            ("Polaris12 [Radeon RX 540]", "gfx803"),
            ("Lexa XT [Radeon PRO WX 3100]", "gfx803"),
            ("Vega 20 [Radeon VII]", "gfx906"),
            ("Aldebaran/MI200 [Instinct MI250X]", "gfx90a"),
            ("Aqua Vanjaram [Instinct MI300X]", "gfx942"),
            ("Navi 14 [Radeon RX 5500/5500M]", "gfx1012"),
            ("Navi 23 [Radeon RX 6600]", "gfx1032"),
            ("Strix Halo [Radeon 8060S]", "gfx1151"),
            ("Navi 48 [Radeon RX 9070]", "gfx1201"),
        ] {
            assert_eq!(target(name).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_name_without_a_known_code_name_gives_nothing() {
        for name in ["", "Tahiti XT [Radeon HD 7970]", "Navi 100", "Device 1234", "Fijian"] {
            assert_eq!(target(name), None, "{name}");
        }
    }
}
