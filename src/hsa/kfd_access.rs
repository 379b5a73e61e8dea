//! Whether this process may use the kernel's compute driver, and if not, what to do.

use std::env;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

const KFD: &str = "/dev/kfd";
/// Names another node than `/dev/kfd` to look at before a runtime is chosen: how tests have a machine without a GPU on any machine. It
/// changes nothing of what the runtime itself opens.
const KFD_INSTEAD: &str = "AQLPROBE_KFD";
const GROUPS: &str = "/etc/group";

/// What opening `/dev/kfd` for reading and writing gives. Displays as a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "access", rename_all = "kebab-case")]
pub enum KfdAccess {
    /// It opens.
    Usable,
    /// There is no such device node.
    Missing {
        /// The node looked for.
        path: PathBuf,
    },
    /// The node exists, but this user may not open it.
    NoPermission {
        /// The node.
        path: PathBuf,
        /// The group that owns it, by name or number.
        group: String,
    },
    /// The driver has no room for another process, or a reset is under way.
    Busy {
        /// The node.
        path: PathBuf,
        /// What the kernel said.
        message: String,
    },
    /// Anything else.
    Failed {
        /// The node.
        path: PathBuf,
        /// What the kernel said.
        message: String,
    },
}

impl KfdAccess {
    /// Tries `/dev/kfd`, or what `AQLPROBE_KFD` names in its place.
    #[must_use]
    pub fn probe() -> Self {
        Self::probe_at(&env::var_os(KFD_INSTEAD).map_or_else(|| KFD.into(), PathBuf::from))
    }

    /// Whether it opens.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        *self == Self::Usable
    }

    fn probe_at(path: &Path) -> Self {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(_) => Self::Usable,
            Err(error) => Self::classify(path, &error),
        }
    }

    fn classify(path: &Path, error: &io::Error) -> Self {
        let path_owned = path.to_owned();
        match Errno::from_io_error(error) {
            Some(Errno::NOENT) => Self::Missing { path: path_owned },
            Some(Errno::ACCESS | Errno::PERM) => Self::NoPermission { path: path_owned, group: owning_group(path) },
            Some(Errno::BUSY | Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => {
                Self::Busy { path: path_owned, message: error.to_string() }
            }
            _ => Self::Failed { path: path_owned, message: error.to_string() },
        }
    }
}

fn owning_group(path: &Path) -> String {
    let Ok(gid) = fs::metadata(path).map(|metadata| metadata.gid()) else { return "render".to_owned() };
    fs::read_to_string(GROUPS).ok().and_then(|groups| group_name(&groups, gid)).unwrap_or_else(|| gid.to_string())
}

/// The name of a group in the format of group(5): `name:password:gid:members`.
fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

impl KfdAccess {
    /// What is the matter, without what to do about it.
    #[must_use]
    pub fn state(&self) -> String {
        match self {
            Self::Usable => "/dev/kfd can be opened".to_owned(),
            Self::Missing { path } => format!("there is no {}", path.display()),
            Self::NoPermission { path, group } => format!("no permission to open {}: it belongs to group {group}", path.display()),
            Self::Busy { path, message } => format!("{} is busy ({message})", path.display()),
            Self::Failed { path, message } => format!("{} cannot be opened: {message}", path.display()),
        }
    }

    /// What to check or to run; `None` when nothing is wrong.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Usable => None,
            Self::Missing { .. } => Some(
                "the amdgpu driver is not loaded, has no supported GPU, or (in a container) the device was not passed in \
                 (--device /dev/kfd --device /dev/dri); check `lsmod | grep amdgpu` and `dmesg | grep -i kfd`"
                    .to_owned(),
            ),
            Self::NoPermission { group, .. } => Some(format!("run `sudo usermod -aG {group} $USER` and log in again")),
            Self::Busy { path, .. } => Some(format!(
                "a GPU reset may be under way, or other processes hold its resources; check `dmesg` and `fuser {}`",
                path.display()
            )),
            Self::Failed { .. } => Some("check `dmesg | grep -i kfd`".to_owned()),
        }
    }
}

impl fmt::Display for KfdAccess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.state())?;
        self.advice().map_or(Ok(()), |advice| write!(formatter, "; {advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(errno: Errno) -> KfdAccess {
        KfdAccess::classify(Path::new("/dev/kfd"), &io::Error::from(errno))
    }

    #[test]
    fn a_missing_node_points_at_the_driver_and_at_containers() {
        let access = KfdAccess::probe_at(Path::new("/nonexistent/kfd"));
        assert!(matches!(access, KfdAccess::Missing { .. }));
        assert!(access.to_string().contains("amdgpu") && access.to_string().contains("--device /dev/kfd"));
    }

    #[test]
    fn no_permission_names_the_group_and_the_command() {
        let access = KfdAccess::NoPermission { path: "/dev/kfd".into(), group: "render".to_owned() };
        assert!(access.to_string().contains("sudo usermod -aG render $USER"), "{access}");
        assert!(matches!(classified(Errno::ACCESS), KfdAccess::NoPermission { .. }));
    }

    #[test]
    fn every_other_refusal_keeps_the_kernels_words() {
        assert!(matches!(classified(Errno::BUSY), KfdAccess::Busy { .. }));
        assert!(matches!(classified(Errno::NODEV), KfdAccess::Failed { .. }));
    }

    #[test]
    fn a_node_that_opens_is_usable() {
        let node = tempfile::NamedTempFile::new().unwrap();
        assert!(KfdAccess::probe_at(node.path()).is_usable());
    }

    #[test]
    fn a_group_is_found_by_its_number_in_group_5_format() {
        let groups = "root:x:0:\nvideo:x:44:alice\nrender:x:105:alice,bob\nbroken\n";
        assert_eq!(group_name(groups, 105), Some("render".to_owned()));
        assert_eq!(group_name(groups, 106), None);
    }
}
