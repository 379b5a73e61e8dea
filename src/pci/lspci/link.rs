//! Speed and width of a link.

use crate::pci::registers::CapabilityRegister;
use crate::pci::{ConfigSpace, PcieCapability};

/// Link Capabilities (32 bits, PCIe 7.5.3.6): Max Link Speed in bits 3:0, Maximum Link Width in bits 9:4.
const LINK_CAPABILITIES: CapabilityRegister = CapabilityRegister(0x0c);
/// Link Status (16 bits, PCIe 7.5.3.8): Current Link Speed in bits 3:0, Negotiated Link Width in bits 9:4.
const LINK_STATUS: CapabilityRegister = CapabilityRegister(0x12);
/// Data rates by their number in the registers, in tenths of GT/s.
const RATES: [u16; 6] = [25, 50, 80, 160, 320, 640];

/// What a link can do and what it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// What the port is capable of.
    pub capable: Option<LinkState>,
    /// What the link was trained to.
    pub now: Option<LinkState>,
}

/// Speed and width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Data rate in tenths of GT/s (2.5 GT/s is 25), when the text has it.
    pub tenths_of_gt_per_s: Option<u16>,
    /// Number of lanes, when the text has it.
    pub lanes: Option<u8>,
}

impl Link {
    /// From config space; `None` when the registers are not known.
    pub(super) fn from_config(config: &ConfigSpace, capability: PcieCapability) -> Option<Self> {
        let capable = config.u32(capability.offset + LINK_CAPABILITIES).map(LinkState::from_bits);
        let now = config.u16(capability.offset + LINK_STATUS).map(|bits| LinkState::from_bits(bits.into()));
        (capable.is_some() || now.is_some()).then_some(Self { capable, now })
    }
}

impl LinkState {
    fn from_bits(bits: u32) -> Self {
        let rate = (bits & 0xf) as usize;
        let lanes = (bits >> 4 & 0x3f) as u8;
        Self { tenths_of_gt_per_s: rate.checked_sub(1).and_then(|at| RATES.get(at).copied()), lanes: (lanes != 0).then_some(lanes) }
    }

    /// Takes in a word of `lspci`: `8GT/s,`, `2.5Gb/s,` (pciutils 2.x) or `x16,`. Others change nothing.
    pub(super) fn word(&mut self, word: &str) {
        let word = word.trim_end_matches([',', ';']);
        if let Some(rate) = word.strip_suffix("GT/s").or_else(|| word.strip_suffix("Gb/s")) {
            self.tenths_of_gt_per_s = tenths(rate).or(self.tenths_of_gt_per_s);
        } else if let Some(lanes) = word.strip_prefix('x') {
            self.lanes = lanes.parse().ok().filter(|lanes| *lanes != 0).or(self.lanes);
        }
    }
}

fn tenths(rate: &str) -> Option<u16> {
    let (whole, tenth) = rate.split_once('.').unwrap_or((rate, "0"));
    let tenth: u16 = if tenth.len() == 1 { tenth.parse().ok()? } else { return None };
    whole.parse::<u16>().ok()?.checked_mul(10)?.checked_add(tenth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> LinkState {
        let mut state = LinkState::default();
        words.split(' ').for_each(|word| state.word(word));
        state
    }

    #[test]
    fn speed_and_width_are_read_in_old_and_new_wording() {
        let state = |tenths_of_gt_per_s, lanes| LinkState { tenths_of_gt_per_s, lanes };
        assert_eq!(read("Speed 16GT/s (ok), Width x4 (downgraded)"), state(Some(160), Some(4)));
        assert_eq!(read("Supported Speed 2.5Gb/s, Width x16, ASPM L0s L1, Port 0"), state(Some(25), Some(16)));
        assert_eq!(read("Port #8, Speed unknown, Width x32, ASPM L0s"), state(None, Some(32)));
        assert_eq!(read("Speed 99999999GT/s, Width x999"), state(None, None));
    }

    #[test]
    fn registers_give_speed_and_width_as_the_specification_numbers_them() {
        assert_eq!(LinkState::from_bits(0x1103), LinkState { tenths_of_gt_per_s: Some(80), lanes: Some(16) });
        assert_eq!(LinkState::from_bits(0), LinkState::default());
    }
}
