//! `screenlock`: whether the screen of this person's session locks when idle, by GNOME's or KDE's settings. Its `grace_period` is
//! the whole time without a touch until a password is needed: dark after ten minutes and locked at once is 600, not 0.
//! It never reads another person's session. Where no screen is in use the table is empty, where nobody can tell it is left out.

use std::path::Path;
use std::time::Duration;

use posture::report::{Flag, Number, ScreenLock};

use super::command::output;
use super::os::value;

const PATIENCE: Duration = Duration::from_secs(5);
const SESSIONS: &str = "run/systemd/sessions";

pub(super) async fn collect(root: &Path) -> Option<Vec<ScreenLock>> {
    let user = rustix::process::getuid().as_raw();
    let desktops = desktops(root, user)?;
    if desktops.is_empty() {
        return Some(Vec::new());
    }
    let mut rows = Vec::new();
    for desktop in desktops {
        let desktop = desktop.to_ascii_lowercase();
        let gnome = ["gnome", "ubuntu", "pop", "budgie"].iter().any(|name| desktop.contains(name));
        rows.push(if gnome { gnome_setting().await? } else { kde_setting(root, user, &desktop)? });
    }
    Some(rows)
}

/// The desktops of this person's graphical sessions, as logind keeps them; `None` where there is no logind.
fn desktops(root: &Path, user: u32) -> Option<Vec<String>> {
    let sessions = std::fs::read_dir(root.join(SESSIONS)).ok()?;
    let desktop = |entry: std::io::Result<std::fs::DirEntry>| {
        let text = crate::files::read_text(&entry.ok()?.path(), 16 * 1024).ok()?;
        let graphical = matches!(value(&text, "TYPE")?.as_str(), "x11" | "wayland" | "mir");
        let theirs =
            value(&text, "UID")? == user.to_string() && value(&text, "CLASS").as_deref() == Some("user");
        (graphical && theirs).then(|| value(&text, "DESKTOP").unwrap_or_default())
    };
    Some(sessions.filter_map(desktop).collect())
}

async fn gnome_setting() -> Option<ScreenLock> {
    let get = async |schema: &str, key: &str| {
        let printed = output("gsettings", &["get", schema, key], PATIENCE).await?;
        printed.succeeded.then_some(printed.text)
    };
    let enabled = get("org.gnome.desktop.screensaver", "lock-enabled").await?;
    let delay = get("org.gnome.desktop.screensaver", "lock-delay").await?;
    let idle = get("org.gnome.desktop.session", "idle-delay").await?;
    gnome(&enabled, &delay, &idle)
}

/// A lock that waits for a screen that never goes dark is none.
fn gnome(enabled: &str, delay: &str, idle: &str) -> Option<ScreenLock> {
    let seconds = |text: &str| text.trim().trim_start_matches("uint32 ").parse::<u32>().ok();
    let (idle, delay) = (seconds(idle)?, seconds(delay)?);
    Some(row(enabled.trim() == "true" && idle > 0, idle.saturating_add(delay)))
}

fn kde_setting(root: &Path, user: u32, desktop: &str) -> Option<ScreenLock> {
    if !(desktop.contains("kde") || desktop.contains("plasma")) {
        return None;
    }
    let home = super::text(root, "etc/passwd")?.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(user)).then(|| fields.get(5).map(|home| (*home).to_owned()))?
    })?;
    let path = format!("{}/.config/kscreenlockerrc", home.trim_start_matches('/'));
    // Without a file of their own they have KDE's defaults: on, after five minutes, five seconds of grace.
    Some(kde(&super::text(root, &path).unwrap_or_default()))
}

fn kde(text: &str) -> ScreenLock {
    let daemon = text.split_once("[Daemon]").map_or("", |(_, rest)| rest);
    let daemon = daemon.split("\n[").next().unwrap_or_default();
    let on = value(daemon, "Autolock").is_none_or(|value| value == "true");
    let number = |key, default: u32| value(daemon, key).map_or(Some(default), |text| text.parse().ok());
    // What cannot be read is taken for never.
    let minutes = number("Timeout", 5).unwrap_or(0);
    let grace = number("LockGrace", 5).unwrap_or(u32::MAX);
    row(on && minutes > 0, minutes.saturating_mul(60).saturating_add(grace))
}

/// osquery's row: a grace of -1 where it does not lock.
fn row(on: bool, grace: u32) -> ScreenLock {
    ScreenLock { enabled: Flag(on), grace_period: Number(if on { i64::from(grace) } else { -1 }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gnome_locks_when_it_may_and_the_screen_ever_goes_dark() {
        assert_eq!(gnome("true\n", "uint32 30\n", "uint32 300\n"), Some(row(true, 330)));
        assert_eq!(gnome("true\n", "uint32 30\n", "uint32 0\n"), Some(row(false, 0)));
        assert_eq!(gnome("false\n", "uint32 0\n", "uint32 300\n"), Some(row(false, 0)));
        assert_eq!(gnome("true\n", "No such key", "uint32 300\n"), None);
    }

    #[test]
    fn kde_locks_unless_told_not_to() {
        assert_eq!(kde(""), row(true, 305));
        assert_eq!(kde("[Daemon]\nAutolock=false\n"), row(false, 0));
        assert_eq!(kde("[Daemon]\nTimeout=0\n[Greeter]\n"), row(false, 0));
        assert_eq!(kde("[Greeter]\nAutolock=false\n[Daemon]\nLockGrace=0\nTimeout=2\n"), row(true, 120));
    }

    #[tokio::test]
    async fn a_machine_without_a_screen_in_use_has_an_empty_table() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(collect(folder.path()).await, None);
        std::fs::create_dir_all(folder.path().join(SESSIONS)).unwrap();
        let user = rustix::process::getuid().as_raw();
        std::fs::write(folder.path().join(SESSIONS).join("1"), format!("UID={user}\nTYPE=tty\nCLASS=user\n"))
            .unwrap();
        std::fs::write(folder.path().join(SESSIONS).join("2"), "UID=77\nTYPE=wayland\nCLASS=user\n").unwrap();
        assert_eq!(collect(folder.path()).await, Some(Vec::new()));
    }
}
