//! The command line of QEMU.

use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::pci::guest::Functions;

use super::assets::{Assets, Kernel};
use super::options::{Accelerator, Hops, Switch, ports};

/// Memory of the guest, MiB.
const MEMORY_MIB: u32 = 768;
/// How long QEMU waits for an answer of the endpoint, milliseconds. Its default of 5 s is short on a loaded machine.
const MESSAGE_TIMEOUT_MS: u32 = 60_000;
/// What the kernel is told:
/// the IOMMU, so that vfio-pci has groups; no test of the timer through the IO-APIC, which a loaded host fails.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 panic=-1 quiet no_timer_check intel_iommu=on -- guest-init";

/// A guest before it is booted.
pub(super) struct Machine<'a> {
    pub assets: &'a Assets,
    pub kernel: &'a Kernel,
    pub initramfs: &'a Path,
    pub accelerator: Accelerator,
    pub processors: NonZeroU8,
    pub hops: Hops,
    /// The endpoint's socket.
    pub endpoint: &'a Path,
    /// Where the kernel's console goes.
    pub console: &'a Path,
    /// Where the guest's answers go.
    pub answers: &'a Path,
}

impl Machine<'_> {
    /// The command that boots it.
    pub fn command(&self) -> Command {
        let root = self.assets.qemu();
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        // Through the packages' own loader and libraries, which are newer than the host's.
        let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(&libraries);
        if self.hops.need_library() {
            command.arg("--preload").arg(self.assets.hops_library());
            command.env("AQLPROBE_ATOMIC_COMPLETERS", self.hops.vfio_atomic_completers().to_string());
            command.env("AQLPROBE_HOPS", self.hops.emulated_ports());
        }
        command.env("QEMU_MODULE_DIR", libraries.join("qemu")).arg(root.join("usr/bin/qemu-system-x86_64"));
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(root.join(data));
        }
        command.args(self.machine()).args(self.files()).args(self.devices());
        command
    }

    fn machine(&self) -> Vec<String> {
        let (accelerator, processor) = match self.accelerator {
            Accelerator::Tcg => ("tcg,thread=multi", "max"),
            Accelerator::Kvm => ("kvm", "host"),
        };
        let memory = format!("memory-backend-memfd,id=memory,size={MEMORY_MIB}M,share=on");
        let words = ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "q35,memory-backend=memory"];
        let mut line: Vec<String> = words.map(str::to_owned).into();
        line.extend(["-accel", accelerator, "-cpu", processor, "-object", &memory].map(str::to_owned));
        line.extend(["-m".to_owned(), MEMORY_MIB.to_string(), "-smp".to_owned(), self.processors.to_string()]);
        line
    }

    fn files(&self) -> Vec<PathBuf> {
        let with = |prefix: &str, path: &Path| PathBuf::from(format!("{prefix}{}", escaped(path)));
        vec![
            "-kernel".into(),
            self.kernel.image(),
            "-initrd".into(),
            self.initramfs.into(),
            "-append".into(),
            KERNEL_ARGUMENTS.into(),
            "-serial".into(),
            with("file:", self.console),
            "-serial".into(),
            with("file:", self.answers),
        ]
    }

    fn devices(&self) -> Vec<String> {
        let mut devices = vec![
            "intel-iommu,caching-mode=on,intremap=off".to_owned(),
            format!("pcie-root-port,id={},bus=pcie.0,chassis=1,slot=1", ports::ROOT),
        ];
        let mut bus = ports::ROOT;
        if self.hops.switch != Switch::Absent {
            devices.push(format!("x3130-upstream,id={},bus={}", ports::UPSTREAM, ports::ROOT));
            devices.push(format!("xio3130-downstream,id={},bus={},chassis=2,slot=0", ports::DOWNSTREAM, ports::UPSTREAM));
            bus = ports::DOWNSTREAM;
        }
        // The socket is an object, which only the JSON form of -device can say.
        let endpoint = serde_json::json!({
            "driver": "vfio-user-pci", "id": "gpu", "bus": bus, "addr": "00.0",
            "multifunction": self.hops.functions == Functions::Multifunction,
            "x-msg-timeout": MESSAGE_TIMEOUT_MS,
            "socket": {"type": "unix", "path": self.endpoint.to_string_lossy()},
        });
        devices.push(endpoint.to_string());
        devices.into_iter().flat_map(|device| ["-device".to_owned(), device]).collect()
    }
}

/// A comma in a value of QEMU's key=value lists is written twice.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::options::{EndpointCompleter, RootPortCompleters};

    fn line(hops: Hops) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("kernels/sid")).unwrap();
        std::fs::write(folder.path().join("kernels/sid/release"), "7.2").unwrap();
        let assets = Assets::at(folder.path());
        let kernel = assets.kernel("sid").unwrap();
        let machine = Machine {
            assets: &assets,
            kernel: &kernel,
            initramfs: Path::new("initramfs"),
            accelerator: Accelerator::Tcg,
            processors: NonZeroU8::new(2).unwrap(),
            hops,
            endpoint: Path::new("endpoint.sock"),
            console: Path::new("a,b"),
            answers: Path::new("answers"),
        };
        format!("{:?}", machine.command())
    }

    const DIRECT: Hops = Hops {
        root_port_completers: RootPortCompleters::None,
        switch: Switch::Absent,
        endpoint_completer: EndpointCompleter::On,
        functions: Functions::Single,
    };

    #[test]
    fn memory_is_shared_so_that_the_endpoint_can_map_it() {
        assert!(line(DIRECT).contains("memory-backend-memfd,id=memory,size=768M,share=on"));
    }

    #[test]
    fn the_endpoint_has_a_root_port_of_its_own_and_function_0() {
        let line = line(DIRECT);
        assert!(line.contains("pcie-root-port,id=root_port,bus=pcie.0"), "{line}");
        assert!(line.contains(r#"\"bus\":\"root_port\""#) && line.contains(r#"\"addr\":\"00.0\""#), "{line}");
        assert!(line.contains(r#"\"multifunction\":false"#) && !line.contains("--preload"), "{line}");
    }

    #[test]
    fn a_switch_stands_between_the_root_port_and_the_endpoint() {
        let line = line(Hops { switch: Switch::Routing, ..DIRECT });
        assert!(line.contains("x3130-upstream,id=switch_up,bus=root_port"), "{line}");
        assert!(line.contains("xio3130-downstream,id=switch_down,bus=switch_up"), "{line}");
        assert!(line.contains(r#"\"bus\":\"switch_down\""#) && line.contains("--preload"), "{line}");
    }

    #[test]
    fn a_comma_in_a_path_is_not_the_end_of_it() {
        assert!(line(DIRECT).contains("file:a,,b"));
    }
}
