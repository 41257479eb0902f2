//! `access`: the bundle that says who may do what: checked, applied, shown and questioned.
//! It never applies half a bundle, and never leaves a session running that the new one does not permit.

use std::path::Path;

use policy::{AccountName, SourceFile, TargetName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attached::{AttachError, Attached, FILE_MAX};
use super::caller::{Caller, Need, Role};
use super::reply::{Reply, Trouble};
use super::{Done, at, clean, vault};
use crate::access::Access;
use crate::bastion::Bastion;

mod granted;
mod question;

pub(super) use granted::granted;
/// Two that apply at one instant take turns, so that store, memory and folder end with the same version.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The most files a bundle may have.
const FILES_MAX: usize = 1000;

/// What can be asked of the bundle.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessWord {
    /// Reads a folder of *.toml and *.cedar and says what is wrong with it; changes nothing.
    Check {
        /// The folder.
        #[command(flatten)]
        from: Folder,
    },
    /// Makes a folder the bundle in force, whole or not at all; running sessions are decided again.
    Apply {
        /// The folder.
        #[command(flatten)]
        from: Folder,
    },
    /// Shows the bundle in force.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists who may reach a target, and by which grant.
    WhoCan {
        /// The target.
        target: TargetName,
        /// Only on this account.
        #[arg(long)]
        account: Option<AccountName>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Says what would be decided, and why.
    Explain(question::Question),
}

/// A folder of a bundle, and its files once read.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub struct Folder {
    /// The folder with *.toml and *.cedar files.
    #[arg(value_name = "DIR")]
    folder: String,
    #[arg(skip)]
    files: Vec<Attached>,
}

impl Folder {
    /// Reads the folder's files, not those below it.
    fn read(&mut self) -> Result<(), AttachError> {
        let refuse = |why| AttachError::Unreadable { name: self.folder.clone(), why };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(refuse)? {
            let path = entry.map_err(refuse)?.path();
            let wanted = path.extension().is_some_and(|e| e == "toml" || e == "cedar") && path.is_file();
            let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
            if wanted && !hidden {
                names.push(path);
            }
        }
        names.sort();
        if names.is_empty() || names.len() > FILES_MAX {
            let why = std::io::Error::other(format!(
                "{} files *.toml or *.cedar in it; 1 to {FILES_MAX} make a bundle",
                names.len()
            ));
            return Err(refuse(why));
        }
        let mut total = 0;
        for path in names {
            let full = path.to_str().ok_or_else(|| AttachError::NotText(path.display().to_string()))?;
            let mut file = Attached::with_text(full, String::new());
            file.read(&mut std::io::empty())?;
            total += file.text()?.len() as u64;
            if total > FILE_MAX {
                return Err(AttachError::TooLong(self.folder.clone()));
            }
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or(full);
            self.files.push(Attached::with_text(name, file.text()?.to_owned()));
        }
        Ok(())
    }

    fn sources(&self) -> Result<Vec<SourceFile>, Trouble> {
        if self.files.is_empty() {
            return Err(AttachError::NotHere(self.folder.clone()).into());
        }
        let source =
            |f: &Attached| Ok(SourceFile { name: plain_name(f.name())?, text: f.text()?.to_owned() });
        self.files.iter().map(source).collect()
    }
}

/// The name of a file of a bundle: it becomes one in `access/`.
fn plain_name(name: &str) -> Result<String, Trouble> {
    let fits = |c: char| !clean::commands(c) && c != '/' && c != '\\';
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.chars().all(fits) {
        let name: String = name.chars().take(200).collect();
        return Err(Trouble::said(format!("{name} is no file name for a bundle; give it a plain one")));
    }
    Ok(name.to_owned())
}

impl AccessWord {
    pub(super) fn event(&self) -> Option<&'static str> {
        matches!(self, Self::Apply { .. }).then_some("admin.access.apply")
    }

    pub(super) fn need(&self) -> Need<'_> {
        match self {
            Self::Check { .. } => Need::OneOf(&[Role::AccessAuthor]),
            // Over SSH a bundle will come into force by approval; the machine's owner needs none.
            Self::Apply { .. } => Need::Local,
            _ => Need::OneOf(&[Role::AccessAuthor, Role::Auditor, Role::Administrator]),
        }
    }

    pub(super) fn attach(&mut self) -> Result<(), AttachError> {
        match self {
            Self::Check { from } | Self::Apply { from } => from.read(),
            _ => Ok(()),
        }
    }

    pub(super) fn facts(&self) -> Value {
        match self {
            Self::Apply { from } => {
                json!({ "files": from.files.iter().take(100).map(Attached::name).collect::<Vec<_>>() })
            }
            _ => json!({}),
        }
    }
}

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    word: AccessWord,
    out: &mut R,
) -> Result<Done, Trouble> {
    match word {
        AccessWord::Check { from } => {
            let bundle = Access::check(&from.sources()?)?;
            let (operators, targets) = (bundle.operators().len(), bundle.targets().len());
            let grants = bundle.grants().len();
            vault::warn_of_missing(bastion, &bundle, out).await?;
            out.out(&format!("ok: operators {operators}, targets {targets}, grants {grants}\n")).await?;
        }
        AccessWord::Apply { from } => {
            let files = from.sources()?;
            let _turn = ONE_AT_A_TIME.lock().await;
            let version = bastion.access.apply(bastion, files.clone(), caller.name()).await?;
            bastion.live.redecide(bastion).await;
            if let Err(why) = write_copy(&bastion.config.access_dir(), &files) {
                // The store has the bundle; the folder is for reading only.
                out.err(&format!(
                    "bartizan: {} was not written: {why}\n",
                    bastion.config.access_dir().display()
                ))
                .await?;
            }
            vault::warn_of_missing(bastion, &bastion.access.bundle(), out).await?;
            out.out(&format!("version {version} is in force\n")).await?;
        }
        AccessWord::Show { json } => show(bastion, json, out).await?,
        AccessWord::WhoCan { target, account, json } => {
            question::who_can(bastion, &target, account.as_ref(), json, out).await?;
        }
        AccessWord::Explain(question) => return question::explain(bastion, &question, out).await,
    }
    Ok(Done::Well)
}

async fn show<R: Reply>(bastion: &Bastion, json: bool, out: &mut R) -> Result<(), Trouble> {
    let Some(stored) = bastion.store.current_bundle().await? else {
        let none = if json { "null\n" } else { "no bundle was applied; nothing is permitted\n" };
        return out.out(none).await;
    };
    if json {
        let files: Vec<Value> =
            stored.files.iter().map(|f| json!({ "name": f.name, "text": f.content })).collect();
        let value = json!({
            "version": stored.version, "applied": at(stored.applied), "applied_by": stored.applied_by, "files": files,
        });
        return out.out(&format!("{}\n", clean::json(&value.to_string()))).await;
    }
    let by = clean::line(&stored.applied_by).into_owned();
    out.out(&format!("# version {}, applied {} by {by}\n", stored.version, at(stored.applied))).await?;
    for file in &stored.files {
        out.out(&format!("\n# {}\n{}", clean::line(&file.name), clean::lines(&file.content))).await?;
    }
    Ok(())
}

/// The bundle as last applied, for reading: a new folder put in the place of the old one.
fn write_copy(dir: &Path, files: &[SourceFile]) -> std::io::Result<()> {
    let fresh = dir.with_extension("new");
    match std::fs::remove_dir_all(&fresh) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    std::fs::create_dir(&fresh)?;
    for file in files {
        std::fs::write(fresh.join(&file.name), &file.text)?;
    }
    match std::fs::remove_dir_all(dir) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    std::fs::rename(&fresh, dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(dir: &Path) -> Folder {
        Folder { folder: dir.to_str().expect("utf-8").to_owned(), files: Vec::new() }
    }

    #[test]
    fn the_files_of_the_folder_travel_in_order_and_no_others() {
        let dir = tempfile::tempdir().expect("dir");
        for name in ["b.toml", "a.cedar", "notes.md", ".hidden.toml"] {
            std::fs::write(dir.path().join(name), format!("# {name}\n")).expect("write");
        }
        std::fs::create_dir(dir.path().join("c.toml")).expect("mkdir");
        let mut folder = folder(dir.path());
        folder.read().expect("read");
        let sources = folder.sources().expect("sources");
        let names: Vec<&str> = sources.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["a.cedar", "b.toml"]);
        assert_eq!(sources[1].text, "# b.toml\n");
    }

    #[test]
    fn a_folder_without_a_bundle_and_one_that_is_not_there_are_refused() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(folder(dir.path()).read().expect_err("empty").to_string().contains("0 files"));
        assert!(
            folder(&dir.path().join("x")).read().expect_err("gone").to_string().contains("cannot be read")
        );
        assert!(folder(dir.path()).sources().is_err());
    }

    #[test]
    fn a_file_name_cannot_leave_the_folder_it_is_copied_to() {
        for wrong in ["../x.toml", "a/b.toml", "", ".x", "a\u{1b}.toml", "..", "a\\b"] {
            assert!(plain_name(wrong).is_err(), "{wrong:?}");
        }
        assert!(plain_name("web 1.toml").is_ok());
    }

    #[test]
    fn the_copy_holds_the_new_bundle_alone() {
        let dir = tempfile::tempdir().expect("dir");
        let access = dir.path().join("access");
        let file = |name: &str| SourceFile { name: name.to_owned(), text: "x".to_owned() };
        write_copy(&access, &[file("a.toml"), file("b.toml")]).expect("first");
        write_copy(&access, &[file("c.toml")]).expect("second");
        let names: Vec<_> =
            std::fs::read_dir(&access).expect("read").map(|e| e.expect("entry").file_name()).collect();
        assert_eq!(names, ["c.toml"]);
    }
}
