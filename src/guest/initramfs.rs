//! The guest's first and only file system: this program, what it is linked to, the kernel's modules and the workload.
//!
//! The program takes itself along as it runs: its file, and the shared libraries that are mapped into it. A static build takes
//! nothing but itself, a dynamic one needs no second build for the guest.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};

use super::answer::{MODULES, WORKLOAD_FILE, Workload};
use super::cpio::{Archive, Device};
use super::run::Program;

/// Writes the archive.
///
/// # Errors
/// When the program or a library of it cannot be read, or the archive cannot be written.
pub(super) fn write(to: &Path, program: &Program, modules: &[(String, Vec<u8>)], workload: &Workload) -> io::Result<()> {
    let mut archive = Archive::new(BufWriter::new(File::create(to)?));
    let mut directories = BTreeSet::new();
    for directory in ["dev", "proc", "sys", "tmp", "run"] {
        add_directories(&mut archive, &mut directories, &Path::new("/").join(directory))?;
    }
    archive.character_device("dev/console", Device { major: 5, minor: 1 })?;
    archive.character_device("dev/null", Device { major: 1, minor: 3 })?;
    let bytes = fs::read(program.path())?;
    archive.file("init", 0o755, &bytes)?;
    for library in libraries(program, &bytes)? {
        let parent = library.parent().unwrap_or(Path::new("/"));
        add_directories(&mut archive, &mut directories, parent)?;
        archive.file(relative(&library)?, 0o755, &fs::read(&library)?)?;
    }
    add_directories(&mut archive, &mut directories, Path::new(MODULES))?;
    let mut order = String::new();
    for (name, module) in modules {
        archive.file(&format!("{}/{name}", &MODULES[1..]), 0o644, module)?;
        order.push_str(name);
        order.push('\n');
    }
    archive.file(&format!("{}/order", &MODULES[1..]), 0o644, order.as_bytes())?;
    archive.file(&WORKLOAD_FILE[1..], 0o644, &serde_json::to_vec(workload)?)?;
    archive.finish()?;
    Ok(())
}

fn relative(path: &Path) -> io::Result<&str> {
    path.strip_prefix("/").ok().and_then(Path::to_str).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("the library {} is not at an absolute path in UTF-8", path.display()))
    })
}

fn add_directories<W: io::Write>(archive: &mut Archive<W>, known: &mut BTreeSet<PathBuf>, path: &Path) -> io::Result<()> {
    let above: Vec<&Path> = path.ancestors().collect();
    for directory in above.into_iter().rev().filter(|directory| *directory != Path::new("/")) {
        if known.insert(directory.to_owned()) {
            archive.directory(relative(directory)?)?;
        }
    }
    Ok(())
}

/// The program's interpreter and the libraries it has mapped, at the paths where the interpreter looks for them.
fn libraries(program: &Program, elf: &[u8]) -> io::Result<BTreeSet<PathBuf>> {
    let Some(interpreter) = interpreter(elf)? else { return Ok(BTreeSet::new()) };
    let mut found = match program {
        Program::Running { .. } => mapped(&fs::read_to_string("/proc/self/maps")?),
        Program::Other { path } => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{} is linked dynamically: only a static program can be taken to the guest by its path", path.display()),
            ));
        }
    };
    found.insert(interpreter);
    Ok(found)
}

/// PT_INTERP; `None` for a static program.
fn interpreter(elf: &[u8]) -> io::Result<Option<PathBuf>> {
    let invalid = |error: object::read::Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let file = ElfFile64::<object::Endianness>::parse(elf).map_err(invalid)?;
    let endian = file.endian();
    for header in file.elf_header().program_headers(endian, elf).map_err(invalid)? {
        if let Some(path) = header.interpreter(endian, elf).map_err(invalid)? {
            return Ok(Some(PathBuf::from(String::from_utf8_lossy(path).into_owned())));
        }
    }
    Ok(None)
}

/// The shared objects in a list of mappings (proc_pid_maps(5)).
fn mapped(maps: &str) -> BTreeSet<PathBuf> {
    maps.lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .filter(|path| path.ends_with(".so") || path.contains(".so."))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_are_those_that_are_mapped_once_each() {
        let maps = "55e0-55e1 r--p 00000000 00:1c 12 /usr/bin/aqlprobe\n\
                    7f00-7f01 r--p 00000000 00:1c 34 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                    7f01-7f02 r-xp 00001000 00:1c 34 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                    7f02-7f03 r--p 00000000 00:1c 35 /usr/lib/x86_64-linux-gnu/libm.so\n\
                    7ffe-7fff r-xp 00000000 00:00 0 [vdso]\n";
        let wanted = ["/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libm.so"].map(PathBuf::from);
        assert_eq!(mapped(maps), BTreeSet::from(wanted));
    }

    #[test]
    fn the_running_test_takes_its_interpreter_along_if_it_has_one() {
        let elf = fs::read("/proc/self/exe").unwrap();
        let interpreter = interpreter(&elf).unwrap();
        assert_eq!(interpreter.is_some(), fs::read_to_string("/proc/self/maps").unwrap().contains("/ld-linux"));
    }

    #[test]
    fn what_is_no_program_is_an_error() {
        assert!(interpreter(b"#!/bin/sh\n").is_err());
    }

    #[test]
    fn directories_come_before_what_is_in_them_and_once() {
        let mut archive = Archive::new(Vec::new());
        let mut known = BTreeSet::new();
        add_directories(&mut archive, &mut known, Path::new("/usr/lib/a")).unwrap();
        add_directories(&mut archive, &mut known, Path::new("/usr/lib/b")).unwrap();
        let names: Vec<_> = known.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(names, ["/usr", "/usr/lib", "/usr/lib/a", "/usr/lib/b"]);
    }
}
