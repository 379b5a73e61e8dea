//! Other processes, as far as a lock or a journal names one (proc(5)).

use std::fs;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Unit of the times in `/proc/PID/stat`: USER_HZ of Linux's `include/asm-generic/param.h`, on every processor that has PCI Express.
const TICKS_PER_SECOND: u64 = 100;
/// Longer command lines are cut.
const COMMAND_CHARACTERS: usize = 200;

/// When a process started, in ticks since the machine did. With the process id it names one process: ids are given again, both
/// together are not.
pub(super) fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold anything, also spaces and brackets. What follows it starts with the third field.
    stat.rsplit_once(')')?.1.split_whitespace().nth(22 - 3)?.parse().ok()
}

/// Whether there is a process with this id, also one of another user, and also where `/proc` is not mounted.
pub(super) fn exists(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    !matches!(test_kill_process(pid), Err(Errno::SRCH))
}

/// Its command line in one line, without what a terminal would obey.
pub(super) fn command(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ");
    let visible: String = words.chars().filter(|character| !character.is_control()).take(COMMAND_CHARACTERS).collect();
    Some(visible).filter(|visible| !visible.is_empty())
}

/// How long it has been running. Neither time is the wall clock's, which may jump.
pub(super) fn age(pid: u32) -> Option<Duration> {
    let uptime: f64 = fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    let started = start_ticks(pid)? / TICKS_PER_SECOND;
    Duration::try_from_secs_f64(uptime.trunc()).ok()?.checked_sub(Duration::from_secs(started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_exists_has_a_start_and_is_not_older_than_the_machine() {
        let own = std::process::id();
        assert!(exists(own));
        assert!(start_ticks(own).is_some());
        assert!(age(own).is_some());
        assert!(command(own).is_some_and(|command| !command.contains('\0')));
    }

    #[test]
    fn an_id_that_linux_never_gives_is_nobodys() {
        for nobody in [0, 1 << 30, u32::MAX] {
            assert!(!exists(nobody), "{nobody}");
            assert_eq!(start_ticks(nobody), None);
            assert_eq!(command(nobody), None);
        }
    }

    #[test]
    fn a_process_of_another_user_exists() {
        assert!(exists(1));
    }
}
