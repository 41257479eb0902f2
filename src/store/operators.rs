//! Operators: those added here, and the state of those that the access bundle names.
//! It never says who may do what: roles are kept as given, existence by bundle is the caller's to know.

use serde::Serialize;
use sqlx::{FromRow, Sqlite, Transaction};

use super::{Store, StoreError};

/// Whether an operator may log in. It wins over any bundle and any rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase")]
pub enum OperatorState {
    /// May log in, if the rest holds.
    Active,
    /// May not, until enabled.
    Disabled,
    /// May not, for ever; keys, authenticators and memory are gone.
    Revoked,
}

impl OperatorState {
    /// The word that people and the log see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }
}

/// A row: an operator added here, or what is known here of one that the bundle names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// The name.
    pub name: String,
    /// The tenant; for an operator of the bundle, the bundle's word counts.
    pub tenant: String,
    /// The roles; for an operator of the bundle, the bundle's word counts.
    pub roles: Vec<String>,
    /// May this operator log in.
    pub state: OperatorState,
    /// Added here (`operator add`), not merely overlaid on the bundle.
    pub local: bool,
    /// When the row was made, ms.
    pub added: i64,
    /// When the state last changed, ms.
    pub changed: i64,
}

/// What `operator add` writes.
#[derive(Debug, Clone, Copy)]
pub struct NewOperator<'a> {
    /// The name, parsed.
    pub name: &'a str,
    /// The tenant, parsed.
    pub tenant: &'a str,
    /// The roles, parsed.
    pub roles: &'a [String],
}

impl Store {
    /// Adds an operator of this site's own. One that a bundle named once keeps state, keys and authenticators.
    ///
    /// # Errors
    /// [`StoreError::Exists`], also for one that was revoked; or when the database fails.
    pub async fn add_operator(&self, new: &NewOperator<'_>, now: i64) -> Result<(), StoreError> {
        let done = sqlx::query(
            "INSERT INTO operators (name, tenant, roles, state, local, added, changed)
             VALUES ($1, $2, $3, 'active', 1, $4, $4)
             ON CONFLICT (name) DO UPDATE SET tenant = excluded.tenant, roles = excluded.roles, local = 1
             WHERE operators.local = 0 AND operators.state <> 'revoked'",
        )
        .bind(new.name)
        .bind(new.tenant)
        .bind(written(new.roles))
        .bind(now)
        .execute(&self.writes)
        .await?;
        if done.rows_affected() == 0 {
            let remedy = "; `operator enable` or another name may help";
            return Err(StoreError::Exists { noun: "operator", name: new.name.to_owned(), remedy });
        }
        Ok(())
    }

    /// Makes the row that keys and authenticators of an operator of the bundle hang on. Harmless where there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn know_operator(&self, name: &str, now: i64) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO operators (name, tenant, roles, state, local, added, changed)
             VALUES ($1, 'default', '[]', 'active', 0, $2, $2) ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(now)
        .execute(&self.writes)
        .await?;
        Ok(())
    }

    /// The row of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operator(&self, name: &str) -> Result<Option<Operator>, StoreError> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM operators WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.reads)
            .await?;
        row.map(Operator::try_from).transpose()
    }

    /// Every row, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operators(&self) -> Result<Vec<Operator>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as("SELECT * FROM operators ORDER BY name").fetch_all(&self.reads).await?;
        rows.into_iter().map(Operator::try_from).collect()
    }

    /// Sets the state; all but `Active` also end what was remembered of codes given and an open invitation, and `Revoked` takes keys and
    /// authenticators with it. Says whether anything changed.
    ///
    /// # Errors
    /// [`StoreError::Missing`] without a row (see [`Store::know_operator`]), [`StoreError::Final`] out of `Revoked`,
    /// or when the database fails.
    pub async fn set_operator_state(
        &self,
        name: &str,
        to: OperatorState,
        now: i64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let is: Option<OperatorState> = sqlx::query_scalar("SELECT state FROM operators WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut *tx)
            .await?;
        let is = is.ok_or_else(|| StoreError::missing("operator", name))?;
        if is == to {
            return Ok(false);
        }
        if is == OperatorState::Revoked {
            return Err(StoreError::Final { noun: "operator", name: name.to_owned(), state: "revoked" });
        }
        sqlx::query("UPDATE operators SET state = $2, changed = $3 WHERE name = $1")
            .bind(name)
            .bind(to)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        if to != OperatorState::Active {
            sqlx::query("DELETE FROM mfa_memory WHERE operator = $1").bind(name).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM invitations WHERE operator = $1").bind(name).execute(&mut *tx).await?;
        }
        if to == OperatorState::Revoked {
            sqlx::query("DELETE FROM operator_keys WHERE operator = $1").bind(name).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM authenticators WHERE operator = $1")
                .bind(name)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

#[derive(FromRow)]
struct Row {
    name: String,
    tenant: String,
    roles: String,
    state: OperatorState,
    local: bool,
    added: i64,
    changed: i64,
}

impl TryFrom<Row> for Operator {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let roles = serde_json::from_str(&row.roles).map_err(|why| StoreError::Unreadable {
            noun: "operator",
            name: row.name.clone(),
            why: why.to_string(),
        })?;
        let Row { name, tenant, state, local, added, changed, .. } = row;
        Ok(Self { name, tenant, roles, state, local, added, changed })
    }
}

/// A JSON array: role names are an open set and may one day hold any character.
fn written(roles: &[String]) -> String {
    serde_json::Value::from(roles).to_string()
}

/// Refuses an operator without a row and one who was revoked, before something is hung on the row.
pub(super) async fn standing(tx: &mut Transaction<'_, Sqlite>, name: &str) -> Result<(), StoreError> {
    let state: Option<OperatorState> = sqlx::query_scalar("SELECT state FROM operators WHERE name = $1")
        .bind(name)
        .fetch_optional(&mut **tx)
        .await?;
    match state {
        None => Err(StoreError::missing("operator", name)),
        Some(OperatorState::Revoked) => {
            Err(StoreError::Final { noun: "operator", name: name.to_owned(), state: "revoked" })
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::store) async fn with_operator(store: &Store, name: &str) {
        let roles = ["sre".to_owned()];
        store.add_operator(&NewOperator { name, tenant: "default", roles: &roles }, 1).await.unwrap();
    }

    #[tokio::test]
    async fn an_operator_reads_back_as_added() {
        let store = Store::in_memory().await.unwrap();
        with_operator(&store, "alice").await;
        let alice = store.operator("alice").await.unwrap().unwrap();
        assert_eq!(
            (alice.tenant.as_str(), alice.roles.as_slice()),
            ("default", ["sre".to_owned()].as_slice())
        );
        assert!(alice.local && alice.state == OperatorState::Active);
        assert_eq!(store.operators().await.unwrap(), [alice]);
    }

    #[tokio::test]
    async fn a_name_is_added_once() {
        let store = Store::in_memory().await.unwrap();
        with_operator(&store, "alice").await;
        let again = store.add_operator(&NewOperator { name: "alice", tenant: "x", roles: &[] }, 2).await;
        assert!(matches!(again, Err(StoreError::Exists { .. })));
        store.know_operator("alice", 3).await.unwrap();
        store.know_operator("bob", 3).await.unwrap();
        store.set_operator_state("bob", OperatorState::Disabled, 4).await.unwrap();
        with_operator(&store, "bob").await;
        let bob = store.operator("bob").await.unwrap().unwrap();
        assert!(
            bob.local && bob.state == OperatorState::Disabled,
            "named by a bundle before: the state stays"
        );
        assert_eq!(store.operator("alice").await.unwrap().unwrap().added, 1);
    }

    #[tokio::test]
    async fn revoked_is_final_and_takes_the_keys() {
        let store = Store::in_memory().await.unwrap();
        with_operator(&store, "alice").await;
        assert!(store.set_operator_state("alice", OperatorState::Disabled, 2).await.unwrap());
        assert!(store.set_operator_state("alice", OperatorState::Active, 3).await.unwrap());
        assert!(!store.set_operator_state("alice", OperatorState::Active, 4).await.unwrap());
        store.set_totp("alice", b"sealed", 5).await.unwrap();
        assert!(store.set_operator_state("alice", OperatorState::Revoked, 6).await.unwrap());
        assert!(store.totp("alice").await.unwrap().is_none());
        let back = store.set_operator_state("alice", OperatorState::Active, 7).await;
        assert!(matches!(back, Err(StoreError::Final { .. })));
        assert!(matches!(
            store.set_operator_state("bob", OperatorState::Disabled, 8).await,
            Err(StoreError::Missing { .. })
        ));
    }
}
