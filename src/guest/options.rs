//! What a guest can be given: the words are the same on the command lines of `aqlprobe guest run` and `aqlprobe endpoint`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::pci::guest::Functions;
use crate::pci::registers as reg;

/// A word that an option does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of {}", known.join(", "))]
pub struct UnknownValue {
    /// What was given.
    pub given: String,
    /// What there is.
    pub known: Vec<&'static str>,
}

/// Names the words of an enum once, for reading and for writing.
macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.word())
            }
        }

        impl FromStr for $type {
            type Err = UnknownValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.word() == text).ok_or_else(|| UnknownValue {
                    given: text.to_owned(),
                    known: Self::ALL.iter().map(|value| value.word()).collect(),
                })
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }
    };
}

/// A span of time in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl Seconds {
    /// The same span.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} s", self.0)
    }
}

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's translator: works everywhere.
    Tcg,
    /// The processor. Where the kernel does not come up in time, TCG takes over.
    Kvm,
}
words!(Accelerator { Tcg = "tcg", Kvm = "kvm" });

/// What becomes of a guest's writes to AtomicOp Requester Enable (Device Control 2, bit 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequesterEnable {
    /// The bit holds what is written.
    Writable,
    /// It stays clear, as behind a host that forbids it.
    StuckClear,
    /// It stays set.
    StuckSet,
}
words!(RequesterEnable { Writable = "writable", StuckClear = "stuck-clear", StuckSet = "stuck-set" });

/// What the root port completes (Device Capabilities 2, bits 7 and 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootPortCompleters {
    /// No AtomicOp.
    None,
    /// Of 32 bits.
    Bits32,
    /// Of 64 bits.
    Bits64,
    /// Of 32 and 64 bits.
    Bits32And64,
}
words!(RootPortCompleters { None = "none", Bits32 = "32", Bits64 = "64", Bits32And64 = "32+64" });

/// A switch above the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// There is none.
    Absent,
    /// Its ports route AtomicOps.
    Routing,
    /// They do not.
    NoRouting,
    /// They do, and the upstream port blocks them at its egress.
    EgressBlocked,
}
words!(Switch { Absent = "none", Routing = "routing", NoRouting = "no-routing", EgressBlocked = "egress-blocked" });

/// The completer bits of the endpoint's own Device Capabilities 2, which Linux' pci_enable_atomic_ops_to_root never looks at, and
/// its vfio-pci does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointCompleter {
    /// 32 and 64 bits.
    On,
    /// None, as the founding Fiji has it.
    Off,
}
words!(EndpointCompleter { On = "on", Off = "off" });

/// Whether the guest's runtime lets the device send requests (Command, bit 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusMaster {
    /// As every driver does.
    On,
    /// Not even packets are fetched then.
    Off,
}
words!(BusMaster { On = "on", Off = "off" });

/// What stands between the endpoint and host memory, and how the endpoint is put into its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hops {
    /// The top.
    pub root_port_completers: RootPortCompleters,
    /// Below it.
    pub switch: Switch,
    /// The endpoint's own completers.
    pub endpoint_completer: EndpointCompleter,
    /// Whether the endpoint's slot carries the multifunction flag.
    pub functions: Functions,
}

/// QEMU's ids of the ports that a guest has.
pub(super) mod ports {
    /// The root port.
    pub const ROOT: &str = "root_port";
    /// The switch's upstream port.
    pub const UPSTREAM: &str = "switch_up";
    /// The switch's downstream port.
    pub const DOWNSTREAM: &str = "switch_down";
}

impl Hops {
    /// What Linux' vfio-pci says to VFIO_DEVICE_GET_INFO about a device with this path: the mask of
    /// `vfio_device_info_cap_pci_atomic_comp`, nothing for an endpoint that completes nothing itself or a path that does not route.
    #[must_use]
    pub fn vfio_atomic_completers(&self) -> u32 {
        let routed = matches!(self.switch, Switch::Absent | Switch::Routing);
        if self.endpoint_completer == EndpointCompleter::Off || !routed {
            return 0;
        }
        match self.root_port_completers {
            RootPortCompleters::None => 0,
            RootPortCompleters::Bits32 => 1,
            RootPortCompleters::Bits64 => 2,
            RootPortCompleters::Bits32And64 => 3,
        }
    }

    /// The value of `AQLPROBE_HOPS` (hops.c): what the emulated ports must show so that the guest sees this path.
    ///
    /// Empty without a switch and with completers that QEMU's own rule gives the root port.
    #[must_use]
    pub fn emulated_ports(&self) -> String {
        if self.switch == Switch::Absent {
            return String::new();
        }
        let completers = match self.root_port_completers {
            RootPortCompleters::None => 0,
            RootPortCompleters::Bits32 => reg::COMPLETER_32,
            RootPortCompleters::Bits64 => reg::COMPLETER_64,
            RootPortCompleters::Bits32And64 => reg::COMPLETER_32 | reg::COMPLETER_64,
        };
        let routing = if self.switch == Switch::NoRouting { 0 } else { reg::ATOMIC_ROUTING };
        let egress = if self.switch == Switch::EgressBlocked { reg::EGRESS_BLOCK } else { 0 };
        format!("{}:{completers:x}:0,{}:{routing:x}:{egress:x},{}:{routing:x}:0", ports::ROOT, ports::UPSTREAM, ports::DOWNSTREAM)
    }

    /// Whether the guest can be shown this path only with the library beside QEMU.
    #[must_use]
    pub fn need_library(&self) -> bool {
        !self.emulated_ports().is_empty() || self.vfio_atomic_completers() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: Hops = Hops {
        root_port_completers: RootPortCompleters::Bits32And64,
        switch: Switch::Absent,
        endpoint_completer: EndpointCompleter::On,
        functions: Functions::Single,
    };

    #[test]
    fn every_word_reads_back_and_others_are_refused_with_the_list() {
        for value in Switch::ALL {
            assert_eq!(value.word().parse(), Ok(*value));
        }
        let error = "both".parse::<RequesterEnable>().unwrap_err();
        assert_eq!(error.to_string(), "`both` is none of writable, stuck-clear, stuck-set");
    }

    /// vfio_pci_core.c tests the endpoint's own DevCap2 first, then each hop; linux/vfio.h: 32 bit is 1, 64 bit is 2.
    #[test]
    fn vfio_reports_completers_only_for_a_capable_path_and_a_completing_endpoint() {
        assert_eq!(DIRECT.vfio_atomic_completers(), 3);
        assert_eq!(Hops { root_port_completers: RootPortCompleters::Bits64, ..DIRECT }.vfio_atomic_completers(), 2);
        assert_eq!(Hops { endpoint_completer: EndpointCompleter::Off, ..DIRECT }.vfio_atomic_completers(), 0);
        assert_eq!(Hops { switch: Switch::Routing, ..DIRECT }.vfio_atomic_completers(), 3);
        assert_eq!(Hops { switch: Switch::NoRouting, ..DIRECT }.vfio_atomic_completers(), 0);
        assert_eq!(Hops { switch: Switch::EgressBlocked, ..DIRECT }.vfio_atomic_completers(), 0);
    }

    /// PCIe 7.5.3.15 and 7.5.3.16: routing is bit 6, completers are bits 7 and 8 of DevCap2; Egress Blocking is bit 7 of DevCtl2.
    #[test]
    fn the_ports_of_a_switch_are_given_the_bits_of_the_modelled_path() {
        assert_eq!(DIRECT.emulated_ports(), "");
        let ports = |switch| Hops { switch, ..DIRECT }.emulated_ports();
        assert_eq!(ports(Switch::Routing), "root_port:180:0,switch_up:40:0,switch_down:40:0");
        assert_eq!(ports(Switch::NoRouting), "root_port:180:0,switch_up:0:0,switch_down:0:0");
        assert_eq!(ports(Switch::EgressBlocked), "root_port:180:0,switch_up:40:80,switch_down:40:0");
    }
}
