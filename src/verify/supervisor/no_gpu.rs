//! Why no GPU can be tested here, in one paragraph: which runtime was found, what it lacks, and what to do next.

use std::fmt;
use std::path::Path;

use crate::hsa::{ChoiceError, KfdAccess, RuntimeChoice};
use crate::pci::Bdf;
use crate::pci::guest::{self, Hypervisor, Machine};
use crate::pci::sysfs::SysfsRoot;

/// How far the runtime came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The library cannot be loaded, for this reason.
    NotLoaded(String),
    /// It loads, and was not initialised because the kernel driver cannot be reached.
    NotTried {
        /// The library and its version.
        library: String,
    },
    /// It loads and refuses to initialise.
    Refused {
        /// The library and its version.
        library: String,
        /// The call that failed, and its status.
        reason: String,
    },
    /// It is initialised and has no GPU.
    ListsNone {
        /// The library and its version.
        library: String,
    },
}

impl Finding {
    /// What a choice of runtime came to.
    pub fn of_choice(error: &ChoiceError) -> Self {
        match error {
            ChoiceError::Load(error) => Self::NotLoaded(error.to_string()),
            ChoiceError::NoDriver { library, .. } => Self::NotTried { library: library.clone() },
        }
    }

    /// What became of the system's runtime on a machine where nothing but that was looked at.
    pub fn of_system() -> Option<Self> {
        RuntimeChoice::System.resolve().err().map(|error| Self::of_choice(&error))
    }
}

/// Which library a choice comes to, with its version; by the name asked for where it cannot be loaded.
pub fn library(choice: &RuntimeChoice) -> String {
    let loaded = choice.resolve().ok().and_then(|resolved| resolved.api.library());
    loaded.map_or_else(|| choice.to_string(), |library| library.to_string())
}

/// What of the machine decides whether a GPU can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// What opening `/dev/kfd` gives.
    pub kfd: KfdAccess,
    /// AMD's display controllers and accelerators on the PCI bus; `None` when the bus cannot be listed.
    pub gpus: Option<Vec<Bdf>>,
    /// Whether the kernel has the amdgpu module.
    pub module: Module,
    /// Whether there is a kernel that others own around this process.
    pub container: Container,
    /// Real or virtual.
    pub machine: Machine,
}

/// The kernel's amdgpu module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// `/sys/module/amdgpu` exists.
    Loaded,
    /// It does not.
    Absent,
}

/// Whether this process runs in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// A container's engine left its mark.
    Inside,
    /// Nothing shows one.
    NotSeen,
}

/// Files that container engines leave: Docker, Podman and CRI-O, systemd-nspawn and LXC.
const CONTAINER_MARKS: [&str; 3] = [".dockerenv", "run/.containerenv", "run/systemd/container"];

impl Surroundings {
    /// Looks at this machine.
    pub fn look() -> Self {
        Self::below(Path::new("/"), KfdAccess::probe())
    }

    fn below(root: &Path, kfd: KfdAccess) -> Self {
        let module = if root.join("sys/module/amdgpu").exists() { Module::Loaded } else { Module::Absent };
        let marked = CONTAINER_MARKS.iter().any(|mark| root.join(mark).exists());
        Self {
            kfd,
            gpus: SysfsRoot::new(root.join("sys")).amd_display_functions().ok(),
            module,
            container: if marked { Container::Inside } else { Container::NotSeen },
            machine: guest::detect(root),
        }
    }

    fn seen(&self) -> String {
        let gpus = match self.gpus.as_deref() {
            None => "the PCI bus cannot be listed".to_owned(),
            Some([]) => "no AMD GPU is on the PCI bus".to_owned(),
            Some([one]) => format!("the AMD GPU {one} is on the PCI bus"),
            Some([first, more @ ..]) => format!("the AMD GPU {first} and {} more are on the PCI bus", more.len()),
        };
        let module = match self.module {
            Module::Loaded => "the amdgpu module is loaded",
            Module::Absent => "the amdgpu module is not loaded",
        };
        let hypervisor = |hypervisor: &Hypervisor| match hypervisor {
            Hypervisor::Other => String::new(),
            named => format!(" ({named})"),
        };
        let place = match (self.container, &self.machine) {
            (Container::Inside, Machine::Guest { hypervisor: host, .. }) => {
                format!(", and this is a container in a virtual machine{}", hypervisor(host))
            }
            (Container::Inside, _) => ", and this is a container".to_owned(),
            (Container::NotSeen, Machine::Guest { hypervisor: host, .. }) => {
                format!(", and this is a virtual machine{}", hypervisor(host))
            }
            (Container::NotSeen, Machine::BareMetal | Machine::Unknown) => String::new(),
        };
        let joint = if place.is_empty() { " and" } else { "," };
        format!("{gpus}{joint} {module}{place}")
    }

    fn next(&self) -> String {
        const PASS_IN: &str = "start the container with `--device /dev/kfd --device /dev/dri`";
        const PASS_THROUGH: &str = "pass one through to this virtual machine (`aqlprobe path --guest-plan` on its host says how)";
        let present = self.gpus.as_ref().is_some_and(|gpus| !gpus.is_empty());
        let virtual_machine = matches!(self.machine, Machine::Guest { .. });
        if !matches!(self.kfd, KfdAccess::Missing { .. }) {
            return self.kfd.advice().unwrap_or_else(|| {
                "see what `dmesg | grep -iE 'kfd|amdgpu'` and `aqlprobe path` say of it, and whether ROCR_VISIBLE_DEVICES hides it"
                    .to_owned()
            });
        }
        match (self.container, present, self.module) {
            (Container::Inside, true, Module::Loaded) => PASS_IN.to_owned(),
            (Container::Inside, true, Module::Absent) => format!("load the driver on its host (`modprobe amdgpu`) and {PASS_IN}"),
            (Container::Inside, false, _) if virtual_machine => format!("{PASS_THROUGH}, load amdgpu in it, and {PASS_IN}"),
            (Container::Inside, false, _) => format!("run on a host with an AMD GPU whose amdgpu driver is loaded, and {PASS_IN}"),
            (Container::NotSeen, true, Module::Loaded) => {
                "find out why the driver offers no compute: `aqlprobe path` says whether the PCIe path is the reason, \
                 `dmesg | grep -i kfd` what the kernel said"
                    .to_owned()
            }
            (Container::NotSeen, true, Module::Absent) => {
                "load its driver with `sudo modprobe amdgpu`, and see `dmesg | grep -i amdgpu` if that fails".to_owned()
            }
            (Container::NotSeen, false, _) if virtual_machine => PASS_THROUGH.to_owned(),
            (Container::NotSeen, false, _) => "check with `lspci -d 1002:` that one is installed and powered".to_owned(),
        }
    }
}

/// The paragraph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// How far the runtime came.
    pub finding: Finding,
    /// Where.
    pub surroundings: Surroundings,
}

impl Explanation {
    /// Of `finding` on this machine.
    pub fn here(finding: Finding) -> Self {
        Self { finding, surroundings: Surroundings::look() }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { finding, surroundings } = self;
        let kfd = surroundings.kfd.state();
        match finding {
            Finding::NotLoaded(reason) => write!(formatter, "{reason}; {kfd}")?,
            Finding::NotTried { library } => write!(formatter, "the HSA runtime {library} loads, but {kfd}")?,
            Finding::Refused { library, reason } => {
                write!(formatter, "the HSA runtime {library} loads, but {reason}")?;
                if !reason.contains(&kfd) {
                    write!(formatter, "; {kfd}")?;
                }
            }
            Finding::ListsNone { library } => write!(formatter, "the HSA runtime {library} opens but lists no GPU; {kfd}")?,
        }
        write!(formatter, ". Here {}. To test a GPU, {}.", surroundings.seen(), surroundings.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LIBRARY: &str = "/usr/lib/libhsa-runtime64.so.1.5.0 (ROCr 1.5.0)";

    fn missing() -> KfdAccess {
        KfdAccess::Missing { path: "/dev/kfd".into() }
    }

    fn bare() -> Surroundings {
        Surroundings {
            kfd: missing(),
            gpus: Some(Vec::new()),
            module: Module::Absent,
            container: Container::NotSeen,
            machine: Machine::BareMetal,
        }
    }

    fn one_gpu() -> Option<Vec<Bdf>> {
        Some(vec!["0b:00.0".parse().unwrap()])
    }

    fn guest() -> Machine {
        Machine::Guest { hypervisor: Hypervisor::Kvm, machine_type: None, evidence: Vec::new() }
    }

    fn told(finding: Finding, surroundings: Surroundings) -> String {
        let text = Explanation { finding, surroundings }.to_string();
        assert!(!text.contains('\n'), "one paragraph: {text}");
        assert!(text.matches("/dev/kfd").count() <= 2, "nothing is said twice: {text}");
        text
    }

    fn not_tried() -> Finding {
        Finding::NotTried { library: LIBRARY.to_owned() }
    }

    #[test]
    fn the_paragraph_names_library_version_what_is_missing_and_what_to_do() {
        assert_eq!(
            told(not_tried(), bare()),
            "the HSA runtime /usr/lib/libhsa-runtime64.so.1.5.0 (ROCr 1.5.0) loads, but there is no /dev/kfd. Here no AMD GPU is on the \
             PCI bus and the amdgpu module is not loaded. To test a GPU, check with `lspci -d 1002:` that one is installed and powered."
        );
    }

    #[test]
    fn a_refused_initialisation_keeps_the_status_and_says_nothing_twice() {
        let reason = "hsa_init failed with HSA_STATUS_ERROR_OUT_OF_RESOURCES (0x1008): no driver; there is no /dev/kfd";
        let text = told(Finding::Refused { library: LIBRARY.to_owned(), reason: reason.to_owned() }, bare());
        assert!(text.contains("HSA_STATUS_ERROR_OUT_OF_RESOURCES (0x1008)") && text.contains("1.5.0"), "{text}");
        assert_eq!(text.matches("there is no /dev/kfd").count(), 1, "{text}");
    }

    #[test]
    fn the_next_step_is_that_of_the_place() {
        type Change<'a> = &'a dyn Fn(&mut Surroundings);
        let step = |change: Change<'_>| {
            let mut surroundings = bare();
            change(&mut surroundings);
            told(not_tried(), surroundings)
        };
        let rows: [(Change<'_>, &str); 7] = [
            (&|here| here.gpus = one_gpu(), "sudo modprobe amdgpu"),
            (&|here| (here.gpus, here.module) = (one_gpu(), Module::Loaded), "aqlprobe path"),
            (
                &|here| (here.gpus, here.module, here.container) = (one_gpu(), Module::Loaded, Container::Inside),
                "To test a GPU, start the container with `--device /dev/kfd --device /dev/dri`",
            ),
            (&|here| (here.gpus, here.container) = (one_gpu(), Container::Inside), "modprobe amdgpu"),
            (&|here| here.container = Container::Inside, "run on a host with an AMD GPU"),
            (&|here| here.machine = guest(), "aqlprobe path --guest-plan"),
            (
                &|here| here.kfd = KfdAccess::NoPermission { path: "/dev/kfd".into(), group: "render".to_owned() },
                "sudo usermod -aG render $USER",
            ),
        ];
        for (change, wanted) in rows {
            let text = step(change);
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(step(&|here| here.machine = guest()).contains("this is a virtual machine (QEMU/KVM)"));
    }

    #[test]
    fn a_runtime_that_opens_without_a_gpu_points_at_what_may_hide_it() {
        let surroundings = Surroundings { kfd: KfdAccess::Usable, gpus: one_gpu(), module: Module::Loaded, ..bare() };
        let text = told(Finding::ListsNone { library: LIBRARY.to_owned() }, surroundings);
        assert!(text.contains("lists no GPU") && text.contains("ROCR_VISIBLE_DEVICES") && text.contains("0000:0b:00.0"), "{text}");
    }

    #[test]
    fn a_library_that_is_not_there_says_where_it_was_looked_for() {
        let error = RuntimeChoice::Path("/nonexistent/libhsa-runtime64.so.1".into()).resolve().unwrap_err();
        let text = told(Finding::of_choice(&error), bare());
        assert!(text.contains("/nonexistent/libhsa-runtime64.so.1 was not found") && text.contains("install ROCm"), "{text}");
    }

    #[test]
    fn surroundings_are_read_below_a_root() {
        let place = tempfile::tempdir().unwrap();
        let nothing = Surroundings::below(place.path(), missing());
        assert_eq!((nothing.gpus, nothing.module, nothing.container), (None, Module::Absent, Container::NotSeen));
        let device = place.path().join("sys/bus/pci/devices/0000:0b:00.0");
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("vendor"), "0x1002\n").unwrap();
        fs::write(device.join("class"), "0x120000\n").unwrap();
        fs::create_dir_all(place.path().join("sys/module/amdgpu")).unwrap();
        fs::write(place.path().join(".dockerenv"), "").unwrap();
        let found = Surroundings::below(place.path(), missing());
        assert_eq!((found.gpus, found.module, found.container), (one_gpu(), Module::Loaded, Container::Inside));
    }
}
