//! `disk_encryption`: the block devices that hold this machine's files and swap, and whether dm-crypt lies under each.
//! It never calls a device encrypted because a part of it is: all that lies under it must be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use posture::report::{DiskEncryption, Flag, MOST_ROWS, Text};

/// Places whose files are nobody's secrets, or not this machine's: what starts it, packages as images, what is plugged in.
const ELSEWHERE: [&str; 7] = ["/boot", "/efi", "/snap", "/var/lib/snapd", "/media", "/run/media", "/mnt"];
/// Devices are stacked a few deep: LVM on LUKS on RAID. A deeper stack is taken for a circle.
const DEEPEST: u8 = 16;

pub(super) fn collect(root: &Path) -> Option<Vec<DiskEncryption>> {
    let mut names = mounted(root, &super::text(root, "proc/self/mountinfo")?);
    names.extend(swapped(&super::text(root, "proc/swaps").unwrap_or_default()));
    let row = |name: String| {
        let encrypted = Flag(is_encrypted(&root.join("sys/class/block").join(&name), DEEPEST));
        Some(DiskEncryption { name: Text::fitted(&format!("/dev/{name}"))?, encrypted })
    };
    Some(names.into_iter().filter_map(row).take(MOST_ROWS).collect())
}

/// The block devices of mounted file systems (proc(5), `mountinfo`), by their names in sysfs.
fn mounted(root: &Path, mountinfo: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(2);
        let (number, place) = (left.next()?, left.nth(1)?);
        let source = right.split(' ').nth(1)?;
        if ELSEWHERE.iter().any(|elsewhere| Path::new(place).starts_with(elsewhere)) {
            return None;
        }
        let name = by_number(root, number).or_else(|| by_source(root, source))?;
        let virtual_one = ["loop", "sr", "zram", "ram", "fd"].iter().any(|kind| name.starts_with(kind));
        (!virtual_one).then_some(name)
    };
    mountinfo.lines().filter_map(name).collect()
}

fn by_number(root: &Path, number: &str) -> Option<String> {
    let digits = number.split_once(':')?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !(plain(digits.0) && plain(digits.1)) {
        return None;
    }
    file_name(&std::fs::canonicalize(root.join("sys/dev/block").join(number)).ok()?)
}

/// Btrfs gives its mounts numbers of their own; what it names as source is a device.
fn by_source(root: &Path, source: &str) -> Option<String> {
    let beneath = source.strip_prefix("/dev/")?;
    let resolved =
        std::fs::canonicalize(root.join("dev").join(beneath)).unwrap_or_else(|_| PathBuf::from(source));
    let name = file_name(&resolved)?;
    root.join("sys/class/block").join(&name).exists().then_some(name)
}

/// The partitions of proc(5) `swaps`. Swap files lie on a file system that is looked at anyway.
fn swapped(swaps: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let mut fields = line.split_whitespace();
        let (device, kind) = (fields.next()?, fields.next()?);
        let device = device.strip_prefix("/dev/").filter(|_| kind == "partition")?;
        let plain = !device.contains('/') && !device.starts_with("zram");
        plain.then(|| device.to_owned())
    };
    swaps.lines().skip(1).filter_map(name).collect()
}

fn is_encrypted(device: &Path, deepest: u8) -> bool {
    let uuid = std::fs::read_to_string(device.join("dm/uuid")).unwrap_or_default();
    if uuid.starts_with("CRYPT-") {
        return true;
    }
    let beneath: Vec<PathBuf> = match std::fs::read_dir(device.join("slaves")) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => return false,
    };
    deepest > 0 && !beneath.is_empty() && beneath.iter().all(|device| is_encrypted(device, deepest - 1))
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    /// A machine with plain `vda2`, LUKS `dm-0` on it, LVM `dm-1` on that, a mirror `md0` of one encrypted and one plain half.
    fn machine() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let devices = [("vda2", ""), ("vda3", ""), ("dm-0", "CRYPT-LUKS2-x"), ("dm-1", "LVM-x"), ("md0", "")];
        for (at, (name, uuid)) in devices.iter().enumerate() {
            let device = root.join("sys/devices").join(name);
            std::fs::create_dir_all(device.join("slaves")).unwrap();
            std::fs::create_dir_all(device.join("dm")).unwrap();
            std::fs::write(device.join("dm/uuid"), uuid).unwrap();
            for (folder, link) in
                [("sys/class/block", (*name).to_owned()), ("sys/dev/block", format!("254:{at}"))]
            {
                std::fs::create_dir_all(root.join(folder)).unwrap();
                symlink(&device, root.join(folder).join(link)).unwrap();
            }
        }
        for (above, below) in [("dm-0", "vda2"), ("dm-1", "dm-0"), ("md0", "dm-0"), ("md0", "vda3")] {
            let link = root.join("sys/devices").join(above).join("slaves").join(below);
            symlink(root.join("sys/devices").join(below), link).unwrap();
        }
        std::fs::create_dir_all(root.join("proc/self")).unwrap();
        folder
    }

    fn found(mounts: &[&str], swaps: &str) -> Vec<(String, bool)> {
        let machine = machine();
        std::fs::write(machine.path().join("proc/self/mountinfo"), mounts.join("\n")).unwrap();
        std::fs::write(
            machine.path().join("proc/swaps"),
            format!("Filename Type Size Used Priority\n{swaps}"),
        )
        .unwrap();
        let rows = collect(machine.path()).unwrap();
        rows.into_iter().map(|row| (row.name.as_str().to_owned(), row.encrypted.0)).collect()
    }

    fn row(name: &str, encrypted: bool) -> (String, bool) {
        (name.to_owned(), encrypted)
    }

    #[test]
    fn what_lies_on_luks_is_encrypted_however_deep() {
        assert_eq!(
            found(&["1 0 254:3 / / rw shared:1 - ext4 /dev/mapper/x rw"], ""),
            [row("/dev/dm-1", true)]
        );
        assert_eq!(found(&["1 0 254:2 / / rw - ext4 /dev/dm-0 rw"], ""), [row("/dev/dm-0", true)]);
    }

    #[test]
    fn a_plain_disk_and_a_half_encrypted_one_are_not() {
        let mounts = ["1 0 254:1 / / rw - ext4 /dev/vda3 rw", "2 1 254:4 / /home rw - ext4 /dev/md0 rw"];
        assert_eq!(found(&mounts, ""), [row("/dev/md0", false), row("/dev/vda3", false)]);
    }

    #[test]
    fn btrfs_is_found_by_its_source_and_swap_by_its_list() {
        let mounts = ["1 0 0:33 / / rw - btrfs /dev/dm-0 rw", "2 0 0:5 / /proc rw - proc proc rw"];
        let swaps = "/dev/vda3 partition 1 0 -2\n/dev/zram0 partition 1 0 100\n/swapfile file 1 0 -3";
        assert_eq!(found(&mounts, swaps), [row("/dev/dm-0", true), row("/dev/vda3", false)]);
    }

    #[test]
    fn what_starts_the_machine_and_what_is_plugged_in_does_not_count() {
        let mounts =
            ["1 0 254:0 / /boot/efi rw - vfat /dev/vda2 rw", "2 0 254:1 / /media/x rw - vfat /dev/vda3 rw"];
        assert_eq!(found(&mounts, ""), []);
    }

    #[test]
    fn this_machine_has_disks_or_none_but_an_answer() {
        assert!(collect(Path::new("/")).is_some());
    }

    proptest! {
        #[test]
        fn no_table_makes_it_fall_over(text in any::<String>(), swaps in any::<String>()) {
            let _ = mounted(Path::new("/"), &text);
            let _ = mounted(Path::new("/"), &format!("1 0 {text} / / rw - x {text} rw"));
            let _ = swapped(&swaps);
        }
    }
}
