//! Addresses of PCI functions.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Address of a PCI function: domain, bus, device, function. Ordered as `lspci` lists them.
///
/// Displayed with its domain (`0000:0b:00.0`), as sysfs names its directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bdf {
    /// PCI domain (segment); 32 bits because Linux numbers the domains behind Intel VMD from 0x10000.
    pub domain: u32,
    /// Bus number.
    pub bus: u8,
    /// Device number, below 32.
    pub device: u8,
    /// Function number, below 8.
    pub function: u8,
}

/// Text that is no address of a PCI function.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no PCI address; write it as lspci does, 0b:00.0 or 0000:0b:00.0")]
pub struct BdfError {
    /// The text as given.
    pub text: String,
}

impl Bdf {
    /// The form `lspci` and `setpci -s` use: without the domain when that is 0.
    pub fn short(&self) -> String {
        if self.domain == 0 { format!("{:02x}:{:02x}.{:x}", self.bus, self.device, self.function) } else { self.to_string() }
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl From<Bdf> for String {
    fn from(bdf: Bdf) -> Self {
        bdf.to_string()
    }
}

impl TryFrom<String> for Bdf {
    type Error = BdfError;

    fn try_from(text: String) -> Result<Self, BdfError> {
        text.parse()
    }
}

impl FromStr for Bdf {
    type Err = BdfError;

    fn from_str(text: &str) -> Result<Self, BdfError> {
        parse(text).ok_or_else(|| BdfError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Bdf> {
    let (address, function) = text.split_once('.')?;
    let mut from_the_right = address.rsplit(':');
    let device = hex(from_the_right.next()?, 2..=2)?;
    let bus = hex(from_the_right.next()?, 2..=2)?;
    let domain = from_the_right.next().map_or(Some(0), |domain| hex(domain, 4..=8))?;
    let function = hex(function, 1..=1)?;
    let fits = device < 32 && function < 8 && from_the_right.next().is_none();
    fits.then_some(Bdf { domain, bus: bus.try_into().ok()?, device: device.try_into().ok()?, function: function.try_into().ok()? })
}

/// `from_str_radix` alone would take a sign.
fn hex(digits: &str, length: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let well_formed = length.contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    well_formed.then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIJI: Bdf = Bdf { domain: 0, bus: 0x0b, device: 0, function: 0 };

    #[test]
    fn is_read_with_and_without_its_domain() {
        assert_eq!("0b:00.0".parse(), Ok(FIJI));
        assert_eq!("0000:0b:00.0".parse(), Ok(FIJI));
        assert_eq!("10000:E1:1f.7".parse(), Ok(Bdf { domain: 0x10000, bus: 0xe1, device: 0x1f, function: 7 }));
    }

    #[test]
    fn is_displayed_as_sysfs_and_shortened_as_lspci() {
        assert_eq!((FIJI.to_string().as_str(), FIJI.short().as_str()), ("0000:0b:00.0", "0b:00.0"));
        let behind_vmd = Bdf { domain: 0x10000, ..FIJI };
        assert_eq!((behind_vmd.to_string().as_str(), behind_vmd.short().as_str()), ("10000:0b:00.0", "10000:0b:00.0"));
    }

    #[test]
    fn what_pci_has_no_room_for_is_refused() {
        for text in
            ["", "0b", "0b:00", "0b:20.0", "0b:00.8", "00:0b:00.0", "b:0.0", "0b:00.0 ", "+b:00.0", "0000:0000:0b:00.0", "::."]
        {
            assert!(text.parse::<Bdf>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn is_a_string_in_json() {
        assert_eq!(serde_json::to_string(&FIJI).unwrap(), "\"0000:0b:00.0\"");
        assert_eq!(serde_json::from_str::<Bdf>("\"0b:00.0\"").unwrap(), FIJI);
    }

    proptest! {
        #[test]
        fn display_and_short_form_are_read_back(domain: u32, bus: u8, device in 0_u8..32, function in 0_u8..8) {
            let bdf = Bdf { domain, bus, device, function };
            prop_assert_eq!(bdf.to_string().parse(), Ok(bdf));
            prop_assert_eq!(bdf.short().parse(), Ok(bdf));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = text.parse::<Bdf>();
        }
    }
}
