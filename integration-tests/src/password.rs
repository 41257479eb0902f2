//! A view of the machine in which root has a password: for servers that let people in by one.
//! It never changes the machine: the files lie over the real ones in a mount namespace that ends with the program.

use std::path::Path;
use std::process::Command;

/// Root's password there.
pub const PASSWORD: &str = "correct horse battery staple";

/// The same as `crypt` has it: `openssl passwd -6 -salt bartizan`.
const SHADOW: &str = "root:$6$bartizan$TFQepm0B02NE.TB1T8Zj/Pzyt4nPG79YxchpOS2EITheCMhGLltS2F/yHwyiv4RcsYDMe.zfhVrwxW/cv5Jbi.:19000:0:99999:7:::\n";
/// PAM without what needs more than a namespace.
const PAM: &str =
    "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n";

const ENTER: &str =
    "mount --bind \"$1/shadow\" /etc/shadow && mount --bind \"$1/pam.d\" /etc/pam.d && shift && exec \"$@\"";

/// Runs what is appended to it, a program and its arguments, in that view. `folder` is for its files.
pub fn where_root_has_a_password(folder: &Path) -> Command {
    std::fs::create_dir_all(folder.join("pam.d")).unwrap();
    std::fs::write(folder.join("shadow"), SHADOW).unwrap();
    std::fs::write(folder.join("pam.d/sshd"), PAM).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]).arg(folder);
    command
}
