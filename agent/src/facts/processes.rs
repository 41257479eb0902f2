//! `processes`: of the programs that are asked for, those that run.
//! It never names a program that was not asked for.

use std::collections::BTreeSet;
use std::path::Path;

use posture::report::{Process, Text};

/// What the kernel keeps of a name (`TASK_COMM_LEN` less its end).
const KEPT: usize = 15;

pub(super) fn collect(root: &Path, asked: &[String]) -> Option<Vec<Process>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(root.join("proc")).ok()?.flatten() {
        let is_process =
            entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        if is_process {
            found.extend(asked.iter().filter(|name| runs(&entry.path(), name)));
        }
    }
    Some(found.into_iter().filter_map(|name| Some(Process { name: Text::fitted(name)? })).collect())
}

/// Whether this process is that program: by its short name, and for a longer name by the program it was started as.
fn runs(process: &Path, name: &str) -> bool {
    let short = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
    let short = short.trim_end_matches('\n');
    if name.len() <= KEPT {
        return short == name;
    }
    let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
    let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
    name.get(..KEPT) == Some(short) && program.rsplit(|byte| *byte == b'/').next() == Some(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(asked: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let processes = [
            ("1", "falcon-sensor", "/opt/falcon-sensor"),
            ("7", "a-very-long-pro", "/usr/bin/a-very-long-program\0-x"),
        ];
        for (id, comm, cmdline) in processes {
            let process = folder.path().join("proc").join(id);
            std::fs::create_dir_all(&process).unwrap();
            std::fs::write(process.join("comm"), format!("{comm}\n")).unwrap();
            std::fs::write(process.join("cmdline"), cmdline).unwrap();
        }
        let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
        collect(folder.path(), &asked).unwrap().into_iter().map(|row| row.name.as_str().to_owned()).collect()
    }

    #[test]
    fn only_what_was_asked_for_and_runs_is_named() {
        assert_eq!(found(&["falcon-sensor", "osqueryd"]), ["falcon-sensor"]);
        assert!(found(&[]).is_empty());
    }

    #[test]
    fn a_long_name_is_matched_whole() {
        assert_eq!(found(&["a-very-long-program"]), ["a-very-long-program"]);
        assert!(found(&["a-very-long-programme"]).is_empty());
    }
}
