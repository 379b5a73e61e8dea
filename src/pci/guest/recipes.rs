//! Lines that place a GPU so that QEMU gives its root port completers: alone, at function 0, behind a port of its own.

use crate::pci::Bdf;
use serde::Serialize;

/// How to pass a GPU, for three ways to run a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recipes {
    /// Arguments of `qemu-system-x86_64`.
    pub qemu: String,
    /// Elements of libvirt's domain XML.
    pub libvirt: String,
    /// Lines of a Proxmox VM's configuration file.
    pub proxmox: String,
}

/// The lines for the GPU at this address of the host.
pub fn recipes(gpu: &Bdf) -> Recipes {
    let Bdf { domain, bus, device, function } = gpu;
    Recipes {
        qemu: format!(
            "-machine q35,accel=kvm \\\n\
             -device pcie-root-port,id=gpu_port,bus=pcie.0,chassis=1,slot=1 \\\n\
             -device vfio-pci,host={gpu},bus=gpu_port,addr=00.0"
        ),
        libvirt: format!(
            "<os><type arch='x86_64' machine='q35'>hvm</type></os>\n\
             <!-- No guest <address>: libvirt then makes a pcie-root-port of its own for it, at function 0, without multifunction. -->\n\
             <hostdev mode='subsystem' type='pci' managed='yes'>\n  \
               <source><address domain='{domain:#06x}' bus='{bus:#04x}' slot='{device:#04x}' function='{function:#x}'/></source>\n\
             </hostdev>"
        ),
        proxmox: format!("machine: q35\nhostpci0: {gpu},pcie=1"),
    }
}
