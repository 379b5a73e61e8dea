//! What stands between the endpoint and host memory: the modelled path.

use std::path::Path;

use crate::faults::BlockedHop;
use crate::pci::tree::{BridgeImage, BusNumbers, Completers, EgressBlocking, Routing, TreeBuilder, TreeError};
use crate::pci::{Bdf, ConfigSpace};

/// A switch above the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Both ports route AtomicOps.
    Routing,
    /// Neither port does.
    NoRouting,
    /// Both ports route them, and the upstream port blocks them at its egress.
    EgressBlocked,
}

/// The hops above the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelledPath {
    /// What the root port completes.
    pub root_port: Completers,
    /// The switch, if one is there.
    pub switch: Option<Switch>,
}

const fn bdf(bus: u8, device: u8) -> Bdf {
    Bdf { domain: 0, bus, device, function: 0 }
}

impl ModelledPath {
    /// The same path with a hop in the way of AtomicOps. Where that is a port of a switch and there is none, there is one now; a
    /// switch that does not route does so at neither port.
    #[must_use]
    pub fn with_blocked(self, blocked: Option<BlockedHop>) -> Self {
        match blocked {
            None | Some(BlockedHop::Endpoint) => self,
            Some(BlockedHop::SwitchDownstreamRouting | BlockedHop::SwitchUpstreamRouting) => {
                Self { switch: Some(Switch::NoRouting), ..self }
            }
            Some(BlockedHop::SwitchUpstreamEgress) => Self { switch: Some(Switch::EgressBlocked), ..self },
            Some(BlockedHop::RootPort) => Self { root_port: Completers::Neither, ..self },
            Some(BlockedHop::RootPort64) => Self { root_port: Completers::Only32, ..self },
        }
    }

    /// Writes the tree with this endpoint at its end, and says where the endpoint is.
    pub(super) fn write(self, folder: &Path, endpoint: ConfigSpace) -> Result<Bdf, TreeError> {
        let last_bus = if self.switch.is_some() { 3 } else { 1 };
        let buses = |primary, secondary| BusNumbers { primary, secondary, subordinate: last_bus };
        let root_port = BridgeImage::root_port(buses(0, 1)).completers(self.root_port).build();
        let mut tree = TreeBuilder::new(folder).root_port(bdf(0, 1), root_port);
        if let Some(switch) = self.switch {
            let routing = if switch == Switch::NoRouting { Routing::Unsupported } else { Routing::Supported };
            let egress = if switch == Switch::EgressBlocked { EgressBlocking::Blocked } else { EgressBlocking::Open };
            let upstream = BridgeImage::switch_upstream(buses(1, 2)).routing(routing).egress(egress).build();
            let downstream = BridgeImage::switch_downstream(buses(2, 3)).routing(routing).build();
            tree = tree.switch_port(bdf(1, 0), upstream).switch_port(bdf(2, 0), downstream);
        }
        let at = bdf(last_bus, 0);
        tree.endpoint(at, endpoint).write()?;
        Ok(at)
    }
}
