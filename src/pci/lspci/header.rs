//! The device line: `[domain:]bus:device.function class: vendor and device`.

use crate::pci::Bdf;

/// Longer descriptions are cut: no device has one, and searching them stays cheap.
const DESCRIPTION_AT_MOST: usize = 512;

/// What a device line gives for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address<'t> {
    /// The address; with `lspci -PP` also that of the bridge above.
    Known { bdf: Bdf, above: Option<Bdf> },
    /// `lspci -P`: the path of the bridge above, then device and function on the bus below it, whose number is not given.
    BelowPath { above: &'t str, device: u8, function: u8 },
}

/// Splits a device line into address and rest.
pub(super) fn device_line(content: &str) -> Option<(Address<'_>, &str)> {
    let token = content.split_whitespace().next()?;
    let rest = &content[token.len()..];
    // `setpci -v` prints `0000:0b:00.0 @80 40`.
    if rest.trim_start().starts_with('@') {
        return None;
    }
    Some((address(token)?, rest))
}

fn address(token: &str) -> Option<Address<'_>> {
    let Some((path, last)) = token.rsplit_once('/') else {
        return Some(Address::Known { bdf: token.parse().ok()?, above: None });
    };
    let mut steps = path.split('/');
    let top: Bdf = steps.next()?.parse().ok()?;
    let mut above = Some(top);
    for step in steps {
        above = match in_domain(top.domain, step) {
            Some(bdf) => Some(bdf),
            None => device_function(step).map(|_| None)?,
        };
    }
    match in_domain(top.domain, last) {
        Some(bdf) => Some(Address::Known { bdf, above }),
        None => device_function(last).map(|(device, function)| Address::BelowPath { above: path, device, function }),
    }
}

/// Only the first step of a path has its domain.
fn in_domain(domain: u32, step: &str) -> Option<Bdf> {
    step.parse().ok().map(|bdf: Bdf| Bdf { domain, ..bdf })
}

/// `1c.4`, as paths and trees have it.
pub(super) fn device_function(text: &str) -> Option<(u8, u8)> {
    let bytes = text.as_bytes();
    if bytes.len() != 4 || bytes[2] != b'.' {
        return None;
    }
    let on_bus_0: Bdf = format!("00:{text}").parse().ok()?;
    Some((on_bus_0.device, on_bus_0.function))
}

/// Who a function is, from its device line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub class: Option<u16>,
    pub vendor_id: Option<u16>,
    pub device_id: Option<u16>,
    /// Vendor and device as the text has them; empty when it has numbers only.
    pub name: String,
}

impl Identity {
    /// From the device line without its address.
    pub fn of_function(description: &str) -> Self {
        let (class_words, device) = class_and_device(description);
        Self { class: class(class_words), ..Self::of_device(device) }
    }

    /// From what stands behind a device in a `lspci -tv` tree.
    pub fn of_tree(name: &str) -> Self {
        Self::of_device(cut(name).trim())
    }

    fn of_device(device: &str) -> Self {
        let name = device.split(" (rev ").next().unwrap_or_default().split(" (prog-if").next().unwrap_or_default();
        let bare = name.strip_prefix("Device ").unwrap_or(name);
        let bracketed = || device.match_indices('[').filter_map(|(at, _)| ids(device[at + 1..].split(']').next()?)).next_back();
        if let Some((vendor, product)) = ids(bare) {
            return Self { vendor_id: Some(vendor), device_id: Some(product), ..Self::default() };
        }
        let (vendor_id, device_id) = match bracketed() {
            Some((vendor, product)) => (Some(vendor), Some(product)),
            None => ids_by_name(name),
        };
        Self { class: None, vendor_id, device_id, name: name.to_owned() }
    }
}

/// The class a device line gives.
pub(super) fn class_of(description: &str) -> Option<u16> {
    class(class_and_device(description).0)
}

fn class_and_device(description: &str) -> (&str, &str) {
    let description = cut(description);
    match description.split_once(": ") {
        Some((class, device)) => (class.trim(), device.trim()),
        None => (description.trim_end_matches(':').trim(), ""),
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=DESCRIPTION_AT_MOST.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

fn hex16(text: &str) -> Option<u16> {
    (text.len() == 4 && text.bytes().all(|digit| digit.is_ascii_hexdigit())).then(|| u16::from_str_radix(text, 16).ok())?
}

/// `1002:7300`.
fn ids(text: &str) -> Option<(u16, u16)> {
    let (vendor, device) = text.split_once(':')?;
    Some((hex16(vendor)?, hex16(device)?))
}

/// Names of classes as the PCI ID list has them, for those the project looks at.
const CLASSES: [(&str, u16); 8] = [
    ("VGA compatible controller", 0x0300),
    ("XGA compatible controller", 0x0301),
    ("3D controller", 0x0302),
    ("Display controller", 0x0380),
    ("Processing accelerators", 0x1200),
    ("Host bridge", 0x0600),
    ("ISA bridge", 0x0601),
    ("PCI bridge", 0x0604),
];

/// `PCI bridge`, `PCI bridge [0604]`, `Class 0604`, `Class [0604]` or `0604`.
fn class(words: &str) -> Option<u16> {
    let last = words.rsplit(' ').next()?;
    let number = hex16(last.trim_matches(['[', ']']));
    let is_number = last.starts_with('[') || words == last || words.strip_prefix("Class ") == Some(last);
    if let (Some(number), true) = (number, is_number) {
        return Some(number);
    }
    CLASSES.iter().find(|(name, _)| *name == words).map(|(_, class)| *class)
}

/// `lspci` took the name from the list by the numbers; where the list has the name once, that leads back. Some vendors are in
/// the list more than once, under the same name.
fn ids_by_name(name: &str) -> (Option<u16>, Option<u16>) {
    let of_vendor = |vendor: &&pci_ids::Vendor| name.strip_prefix(vendor.name()).is_some_and(|rest| rest.starts_with(' '));
    let Some(longest) = pci_ids::Vendors::iter().filter(of_vendor).map(|vendor| vendor.name()).max_by_key(|name| name.len()) else {
        return (None, None);
    };
    let device = name[longest.len()..].trim();
    let vendors = || pci_ids::Vendors::iter().filter(|vendor| vendor.name() == longest);
    if let Some(number) = device.strip_prefix("Device ").and_then(hex16) {
        return only(vendors().map(|vendor| vendor.id())).map_or((None, None), |vendor| (Some(vendor), Some(number)));
    }
    let devices = vendors().flat_map(|vendor| vendor.devices().map(move |known| (vendor.id(), known)));
    // Where a line was wrapped there may be a space too many.
    let device: String = device.chars().filter(|letter| !letter.is_whitespace()).collect();
    let is_named = |name: &str| name.chars().filter(|letter| !letter.is_whitespace()).eq(device.chars());
    match only(devices.filter(|(_, known)| is_named(known.name())).map(|(vendor, known)| (vendor, known.id()))) {
        Some((vendor, device)) => (Some(vendor), Some(device)),
        None => (only(vendors().map(|vendor| vendor.id())), None),
    }
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next();
    first.filter(|_| items.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bdf(text: &str) -> Bdf {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_come_plain_with_domain_and_as_paths() {
        let known = |bdf, above| Some(Address::Known { bdf, above });
        assert_eq!(address("0b:00.0"), known(bdf("0b:00.0"), None));
        assert_eq!(address("0002:00:01.0/01:00.0/02:00.0"), known(bdf("0002:02:00.0"), Some(bdf("0002:01:00.0"))));
        assert_eq!(address("00:01.0/00.0"), Some(Address::BelowPath { above: "00:01.0", device: 0, function: 0 }));
        assert_eq!(address("00:01.0/00.0/1f.7"), Some(Address::BelowPath { above: "00:01.0/00.0", device: 0x1f, function: 7 }));
        for text in ["", "/", "00:01.0/", "/00.0", "00:01.0/x/00.0", "0000:0b:00.0:", "00.0"] {
            assert_eq!(address(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_setpci_prints_is_no_device_line() {
        assert_eq!(device_line("0000:0b:00.0 @80 40"), None);
        assert_eq!(device_line("0b:00.0 Display controller: x").unwrap().1, " Display controller: x");
    }

    #[test]
    fn class_and_ids_are_read_from_every_form_of_the_device_line() {
        let read = |text| {
            let identity = Identity::of_function(text);
            (identity.class, identity.vendor_id, identity.device_id)
        };
        let polaris = (Some(0x0300), Some(0x1002), Some(0x67df));
        assert_eq!(read("Class 0300: Device 1002:67df (rev cf)"), polaris);
        assert_eq!(read("Class [0300]: Device [1002:67df] (rev cf)"), polaris);
        assert_eq!(read("0300: 1002:67df (rev cf)"), polaris);
        assert_eq!(read("Class 0300: 1002:67df"), polaris);
        assert_eq!(
            read(
                "VGA compatible controller [0300]: Advanced Micro Devices, Inc. [AMD/ATI] Ellesmere [Radeon] [1002:67df] (rev e7)"
            ),
            polaris
        );
        assert_eq!(read("VGA compatible controller: Advanced Micro Devices, Inc. [AMD/ATI] Device 67df (rev ef)"), polaris);
        assert_eq!(read("PCI bridge: Red Hat, Inc. QEMU PCIe Root port"), (Some(0x0604), Some(0x1b36), Some(0x000c)));
        assert_eq!(read("is where the card sits"), (None, None, None));
    }
}
