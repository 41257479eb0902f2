//! Who speaks: the local administrator or an operator with roles, and which words each may use.
//! It never looks anything up about an operator; the roles are those the login was given.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::{DeviceName, OperatorName, RoleName};
use serde_json::{Value, json};

use super::Word;
use crate::device::Proven;
use crate::login::{Authenticated, Invited};

/// Who speaks.
#[derive(Debug, Clone)]
pub enum Caller {
    /// The owner of the directory or root, by the credentials of the socket's peer.
    Local {
        /// The user id.
        uid: u32,
        /// The passwd entry's name, or `uid-N`.
        name: String,
    },
    /// An operator over SSH.
    Operator {
        /// Who.
        name: OperatorName,
        /// With which roles.
        roles: BTreeSet<RoleName>,
        /// Whether there are other tenants here than theirs. The words do not tell tenants apart, so no role counts then.
        among_others: bool,
        /// How they logged in; none where it is only asked what somebody may say.
        login: Option<Arc<Authenticated>>,
    },
    /// An operator over SSH who came by an invitation.
    Guest {
        /// Who, and from which device.
        invited: Arc<Invited>,
    },
}

/// A role that Bartizan itself knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Recordings, audit, session list and watch.
    Auditor,
    /// Approvals.
    Approver,
    /// The access bundle.
    AccessAuthor,
    /// Operators, devices, kill.
    Administrator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Auditor, Self::Approver, Self::AccessAuthor, Self::Administrator];

    /// As it stands in a bundle.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auditor => "auditor",
            Self::Approver => "approver",
            Self::AccessAuthor => "access-author",
            Self::Administrator => "administrator",
        }
    }
}

/// What a word asks of an operator; the local administrator needs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// Nothing: what it tells is public.
    Nothing,
    /// One of these roles.
    OneOf(&'static [Role]),
    /// To be this operator, or an administrator.
    Being(&'a OperatorName),
    /// To sit at the machine itself.
    Local,
}

fn holds(roles: &BTreeSet<RoleName>, any: &'static [Role], among_others: bool) -> Result<(), Forbidden> {
    if !any.iter().any(|role| roles.contains(role.as_str())) {
        return Err(Forbidden::Role(any));
    }
    if among_others { Err(Forbidden::Tenants) } else { Ok(()) }
}

/// Why a caller may not use a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// No role that allows it.
    #[error("this needs the role {}; ask an administrator", names(.0))]
    Role(&'static [Role]),
    /// Only on the machine.
    #[error("this is done on the bastion's own machine only; ask whoever runs it")]
    LocalOnly,
    /// Words do not tell tenants apart.
    #[error(
        "there are several tenants here, and this is not kept apart between them; it is done on the bastion's own machine"
    )]
    Tenants,
    /// Nothing is proven yet but device and key.
    #[error("an invitation opens `mfa enroll totp` and `whoami` only; enrol, then log in again")]
    Guest,
    /// Nobody changes what they themselves may do.
    #[error("nobody changes their own account; ask another administrator")]
    Oneself,
}

impl Caller {
    /// Whether the caller may use the word.
    pub fn may(&self, word: &Word) -> Result<(), Forbidden> {
        let (name, roles, among_others) = match self {
            Self::Local { .. } => return Ok(()),
            Self::Guest { .. } => return if word.is_for_guests() { Ok(()) } else { Err(Forbidden::Guest) },
            Self::Operator { name, roles, among_others, .. } => (name, roles, *among_others),
        };
        match word.need() {
            Need::Nothing => {}
            Need::Being(about) if about == name => {}
            Need::Local => return Err(Forbidden::LocalOnly),
            Need::OneOf(any) => holds(roles, any, among_others)?,
            Need::Being(_) => holds(roles, &[Role::Administrator], among_others)?,
        }
        if word.changes().is_some_and(|operator| operator == name) {
            return Err(Forbidden::Oneself);
        }
        Ok(())
    }

    /// The operator, over SSH.
    pub fn operator(&self) -> Option<&OperatorName> {
        match self {
            Self::Local { .. } => None,
            Self::Operator { name, .. } => Some(name),
            Self::Guest { invited } => Some(invited.operator()),
        }
    }

    /// How the operator logged in; none for whoever did not, or came by an invitation.
    pub fn login(&self) -> Option<&Arc<Authenticated>> {
        match self {
            Self::Operator { login, .. } => login.as_ref(),
            Self::Local { .. } | Self::Guest { .. } => None,
        }
    }

    /// The device the operator came from.
    pub fn device(&self) -> Option<&DeviceName> {
        match self {
            Self::Local { .. } => None,
            Self::Operator { login, .. } => login.as_ref().and_then(|login| login.device()),
            Self::Guest { invited } => invited.proven().map(Proven::name),
        }
    }

    /// The name that goes into records: an operator's, or the local account's.
    pub fn name(&self) -> &str {
        match self {
            Self::Local { name, .. } => name,
            Self::Operator { name, .. } => name.as_str(),
            Self::Guest { invited } => invited.operator().as_str(),
        }
    }

    /// The caller as an event's detail.
    pub fn detail(&self) -> Value {
        match self {
            Self::Local { uid, name } => json!({ "uid": uid, "name": name }),
            Self::Operator { name, .. } => json!({ "operator": name }),
            Self::Guest { invited } => json!({ "operator": invited.operator(), "invited": true }),
        }
    }
}

/// The name of a user id's passwd entry, or `uid-N` where there is none.
pub fn account_name(passwd: &str, uid: u32) -> String {
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid) && !name.is_empty()).then(|| super::clean::line(name).into_owned())
    });
    found.unwrap_or_else(|| format!("uid-{uid}"))
}

impl Caller {
    /// The account with this user id on this machine.
    pub fn local(uid: u32) -> Self {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::Local { uid, name: account_name(&passwd, uid) }
    }
}

fn names(roles: &[Role]) -> String {
    roles.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn words(text: &str) -> Result<Word, String> {
        crate::control::parse(text.split(' '))
    }

    fn operator(roles: &[&str]) -> Caller {
        let roles = roles.iter().map(|r| RoleName::parse(r).expect("role")).collect();
        let name = OperatorName::parse("ana").expect("name");
        Caller::Operator { name, roles, among_others: false, login: None }
    }

    const WORDS: [&str; 53] = [
        "operator list",
        "operator show bob",
        "operator add bob",
        "operator disable bob",
        "operator enable bob",
        "operator unlock bob",
        "operator revoke bob",
        "operator key add bob -",
        "operator key list bob",
        "operator key remove bob SHA256:x",
        "operator totp bob",
        "device list",
        "device show d",
        "device approve d",
        "device lock d",
        "device unlock d",
        "device lost d",
        "device retire d",
        "target list",
        "target scan 10.0.0.1",
        "target check",
        "session list",
        "session show s-01JD37F2K00000000000000000",
        "session watch s-01JD37F2K00000000000000000",
        "session kill s-01JD37F2K00000000000000000",
        "recording list",
        "recording play r-01JD37F2K00000000000000000",
        "recording export r-01JD37F2K00000000000000000",
        "recording files r-01JD37F2K00000000000000000",
        "recording search x",
        "recording verify",
        "audit list",
        "audit tail",
        "audit verify",
        "access check d",
        "access apply d",
        "access show",
        "access who-can t",
        "ca show user",
        "whoami",
        "targets",
        "mfa show",
        "mfa enroll totp",
        "mfa recovery",
        "mfa forget",
        "ssh-config",
        "ssh-config --operator ana",
        "ssh-config --operator bob",
        "operator invite bob",
        "operator invite bob --valid 1h",
        "vault add db --password-file -",
        "vault list",
        "vault remove db",
    ];

    /// The whole table, as a text to be read: who may say what.
    #[test]
    fn the_role_table_is_the_written_one() {
        let mut table = String::new();
        for text in WORDS {
            let word = words(text).expect(text);
            let letters: String = ["auditor", "approver", "access-author", "administrator"]
                .iter()
                .map(|role| if operator(&[role]).may(&word).is_ok() { &role[..2] } else { "--" })
                .chain([if operator(&["sre"]).may(&word).is_ok() { "any" } else { "---" }])
                .collect::<Vec<_>>()
                .join(" ");
            writeln!(table, "{letters}  {text}").expect("write");
        }
        assert_eq!(table, include_str!("caller_table.txt"), "\n{table}");
    }

    #[test]
    fn the_local_administrator_may_say_every_word() {
        let root = Caller::Local { uid: 0, name: "root".to_owned() };
        for text in WORDS {
            assert_eq!(root.may(&words(text).expect(text)), Ok(()), "{text}");
        }
    }

    #[test]
    fn nobody_changes_their_own_account() {
        let ana = operator(&["administrator"]);
        for text in [
            "operator totp ana",
            "operator key add ana -",
            "operator enable ana",
            "operator unlock ana",
            "operator invite ana",
        ] {
            assert_eq!(ana.may(&words(text).expect(text)), Err(Forbidden::Oneself), "{text}");
        }
        assert_eq!(ana.may(&words("operator show ana").expect("show")), Ok(()));
        assert_eq!(
            ana.may(&words("device register d --operator ana --key -").expect("d")),
            Err(Forbidden::Oneself)
        );
    }

    #[test]
    fn among_several_tenants_a_role_counts_for_nothing_and_what_is_ones_own_stays() {
        let Caller::Operator { name, roles, .. } = operator(&["administrator", "auditor"]) else {
            unreachable!()
        };
        let ana = Caller::Operator { name, roles, among_others: true, login: None };
        for text in
            ["recording list", "audit list", "operator list", "session list", "ssh-config --operator bob"]
        {
            assert_eq!(ana.may(&words(text).expect(text)), Err(Forbidden::Tenants), "{text}");
        }
        for text in ["whoami", "targets", "mfa show", "ssh-config", "ssh-config --operator ana"] {
            assert_eq!(ana.may(&words(text).expect(text)), Ok(()), "{text}");
        }
    }

    #[test]
    fn reserved_roles_are_given_on_the_machine_only() {
        let ana = operator(&["administrator"]);
        let word = words("operator add bob --role auditor").expect("add");
        assert_eq!(ana.may(&word), Err(Forbidden::LocalOnly));
    }

    #[test]
    fn a_user_id_without_a_line_still_has_a_name() {
        assert_eq!(account_name("root:x:0:0::/root:/bin/sh\nana:x:7:7::/:/x\n", 7), "ana");
        assert_eq!(account_name("torn\n:x:7:\n", 7), "uid-7");
        assert_eq!(account_name("a\u{1b}[2J:x:7:7::/:/x\n", 7), "a\\x1b[2J");
    }
}
