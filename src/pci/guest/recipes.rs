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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_passes_one_function_behind_a_root_port_of_q35_without_multifunction() {
        let recipes = recipes(&"0000:0b:00.0".parse().unwrap());
        assert!(recipes.qemu.contains("-device vfio-pci,host=0000:0b:00.0,bus=gpu_port,addr=00.0"), "{}", recipes.qemu);
        assert!(recipes.qemu.contains("-device pcie-root-port,id=gpu_port,bus=pcie.0"));
        assert!(!recipes.qemu.contains("multifunction"));
        let source = "<address domain='0x0000' bus='0x0b' slot='0x00' function='0x0'/>";
        assert!(recipes.libvirt.contains(source) && !recipes.libvirt.contains("multifunction='on'"), "{}", recipes.libvirt);
        assert_eq!(recipes.proxmox, "machine: q35\nhostpci0: 0000:0b:00.0,pcie=1");
    }

    #[test]
    fn addresses_keep_their_domain() {
        let recipes = recipes(&"0001:c1:00.0".parse().unwrap());
        assert!(recipes.libvirt.contains("domain='0x0001' bus='0xc1'") && recipes.proxmox.contains("0001:c1:00.0,pcie=1"));
    }
}
