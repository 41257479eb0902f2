//! Facts are fresh, bounded, and only those that are named.
//! It never tests with a clock that runs by itself.

use super::*;

const NOW: u64 = 1_795_338_716;

fn watch(folder: &Path, wanted: &[Table], from: Option<&str>) -> Watch {
    Watch::new(Collector {
        wanted: wanted.iter().copied().collect(),
        processes: Vec::new(),
        from: from.map(|name| folder.join(name)),
        root: PathBuf::from("/"),
        patches: patches::Cache::default(),
    })
}

#[tokio::test]
async fn a_file_stands_for_the_collectors_and_the_report_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("f"),
        r#"{"firewall":[{"enabled":"1"}],"secureboot":[{"secure_boot":"1"}]}"#,
    )
    .unwrap();
    let snapshot = watch(folder.path(), &[Table::Firewall], Some("f")).fresh(NOW).await.unwrap();
    assert_eq!((snapshot.source, snapshot.collected_at), (Source::File, NOW));
    assert!(snapshot.facts.firewall.is_some() && snapshot.facts.secureboot.is_none());
}

#[tokio::test]
async fn a_file_that_is_no_facts_gives_none() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("a", "{"), ("b", r#"{"users":[]}"#), ("c", "")] {
        std::fs::write(folder.path().join(name), text).unwrap();
        assert!(watch(folder.path(), &[], Some(name)).fresh(NOW).await.is_err());
    }
    assert!(watch(folder.path(), &[], Some("none")).fresh(NOW).await.is_err());
}

#[tokio::test]
async fn facts_are_kept_for_five_minutes_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let put = |on: &str| {
        std::fs::write(folder.path().join("f"), format!(r#"{{"firewall":[{{"enabled":"{on}"}}]}}"#))
    };
    put("0").unwrap();
    let watch = watch(folder.path(), &[Table::Firewall], Some("f"));
    let old = watch.fresh(NOW).await.unwrap();
    put("1").unwrap();
    assert_eq!(watch.fresh(NOW + OLDEST_FACTS).await.unwrap(), old);
    assert_ne!(watch.fresh(NOW + OLDEST_FACTS + 1).await.unwrap().facts, old.facts);
    assert_eq!(watch.fresh(NOW).await.unwrap().collected_at, NOW, "the clock was set back");
}

#[tokio::test]
async fn a_refresh_collects_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), "{}").unwrap();
    let watch = watch(folder.path(), &[], Some("f"));
    watch.fresh(NOW).await.unwrap();
    assert_eq!(watch.refresh(NOW + 1).await.unwrap().collected_at, NOW + 1);
    assert_eq!(watch.fresh(NOW + 2).await.unwrap().collected_at, NOW + 1);
}

#[tokio::test]
async fn this_machine_tells_of_itself_what_is_named_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot =
        watch(folder.path(), &[Table::OsVersion, Table::DiskEncryption], None).fresh(NOW).await.unwrap();
    assert!(snapshot.facts.os_version.is_some() && snapshot.facts.disk_encryption.is_some());
    assert!(snapshot.facts.firewall.is_none() && snapshot.facts.patches.is_none());
}

#[tokio::test]
async fn what_is_no_longer_wanted_is_forgotten_also_where_nothing_can_be_collected() {
    let folder = tempfile::tempdir().unwrap();
    let put = |text: &str| std::fs::write(folder.path().join("f"), text);
    put(r#"{"firewall":[{"enabled":"1"}],"secureboot":[{"secure_boot":"1"}]}"#).unwrap();
    let watch = watch(folder.path(), &[Table::Firewall], Some("f"));
    assert!(watch.fresh(NOW).await.unwrap().facts.secureboot.is_none());
    let config = |facts: &str| -> Config {
        toml::from_str(&format!(
            "device = \"d\"\nowner = \"o\"\nfacts_from = \"f\"\nfacts = [{facts}]\n[bastion]\nhost = \"b\"\n"
        ))
        .unwrap()
    };
    watch.refresh_for(folder.path(), &config("\"secureboot\""), NOW).await.unwrap();
    let facts = watch.fresh(NOW).await.unwrap().facts;
    assert!(facts.firewall.is_none() && facts.secureboot.is_some());
    put("{").unwrap();
    assert!(watch.refresh_for(folder.path(), &config(""), NOW).await.is_err());
    assert!(watch.fresh(NOW).await.is_err(), "what was collected before is not sent");
}
