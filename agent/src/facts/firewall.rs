//! `firewall`: whether something filters what comes in, by nftables, ufw or firewalld.
//! It never says yes to a filter that lets everything in, where it may look at the rules.

use std::path::Path;
use std::time::Duration;

use posture::report::{Firewall, Flag};

use super::command::output;
use super::os::value;

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn collect(root: &Path) -> Option<Vec<Firewall>> {
    // Only root may look at the rules themselves; they are the best answer.
    let rules = output("nft", &["list", "ruleset"], PATIENCE).await.filter(|printed| printed.succeeded);
    let on = match rules {
        Some(rules) if filters(&rules.text) => true,
        Some(_) => false,
        None => {
            ufw(root) && is_active("ufw").await || is_active("firewalld").await || is_active("nftables").await
        }
    };
    Some(vec![Firewall { enabled: Flag(on) }])
}

/// Whether a ruleset has a chain for what comes in that drops or rejects anything.
fn filters(ruleset: &str) -> bool {
    let mut input = false;
    for line in ruleset.lines().map(str::trim) {
        if line.starts_with("chain ") {
            input = false;
        }
        input |= line.contains("hook input");
        let refuses = |word: &str| line.split([' ', ';']).any(|part| part == word);
        // ufw and firewalld jump from it into chains of their own; both end in a refusal.
        let away = line.starts_with("jump ") || line.contains(" jump ");
        if input && (refuses("drop") || refuses("reject") || away) {
            return true;
        }
    }
    false
}

fn ufw(root: &Path) -> bool {
    super::text(root, "etc/ufw/ufw.conf").and_then(|text| value(&text, "ENABLED")).as_deref() == Some("yes")
}

async fn is_active(unit: &str) -> bool {
    output("systemctl", &["is-active", "--quiet", unit], PATIENCE)
        .await
        .is_some_and(|printed| printed.succeeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_refuses_something_filters() {
        let chain = |rules: &str| {
            format!(
                "table inet t {{\n\tchain c {{\n\t\ttype filter hook input priority 0; {rules}\n\t}}\n}}\n"
            )
        };
        assert!(filters(&chain("policy drop;")));
        assert!(filters(&chain("policy accept;\n\t\ttcp dport 22 accept\n\t\tcounter reject")));
        assert!(filters(&chain("policy accept;\n\t\tjump ufw-before-input")));
        assert!(!filters(&chain("policy accept;")));
        assert!(!filters(""));
        let output = chain("policy drop;").replace("hook input", "hook output");
        assert!(!filters(&output));
        assert!(!filters(&format!("{}{}", chain("policy accept;"), output)));
    }

    #[test]
    fn ufw_is_on_when_its_file_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!ufw(folder.path()));
        std::fs::create_dir_all(folder.path().join("etc/ufw")).unwrap();
        std::fs::write(folder.path().join("etc/ufw/ufw.conf"), "# x\nENABLED=yes\n").unwrap();
        assert!(ufw(folder.path()));
    }

    #[tokio::test]
    async fn this_machine_has_an_answer() {
        assert!(collect(Path::new("/")).await.is_some());
    }
}
