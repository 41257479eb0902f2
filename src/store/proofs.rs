//! What devices have proven: the serials that were taken, and what each said of itself last.
//! It never judges a serial twice differently: one statement takes it or does not, however many ask at one instant.

use serde::Serialize;
use sqlx::FromRow;

use super::{Store, StoreError};

/// The serials taken from one device key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenSerials {
    /// The highest ever; 0 for none.
    pub highest: i64,
    /// Those taken since the time that was asked for.
    pub recent: Vec<i64>,
}

/// A proof to be taken: all of it, or nothing.
#[derive(Debug, Clone, Copy)]
pub struct NewProof<'a> {
    /// `SHA256:...` of the device's key.
    pub device_key: &'a str,
    /// The certificate's serial.
    pub serial: i64,
    /// How far below the highest one it may lie.
    pub window: i64,
    /// How long a serial is kept, ms: longer than a certificate is valid.
    pub kept: i64,
    /// The device, and what it said, as JSON; none for one that is not enrolled yet.
    pub said: Option<(&'a str, &'a str)>,
}

/// What a device said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct LastReport {
    /// When it proved itself with it, ms.
    pub proven: i64,
    /// The report's JSON.
    pub report: String,
}

impl Store {
    /// The serials taken from this device key: the highest, and those since `since` (ms).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn serials(&self, device_key: &str, since: i64) -> Result<TakenSerials, StoreError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT serial, seen FROM device_serials WHERE device_key = $1 ORDER BY serial DESC",
        )
        .bind(device_key)
        .fetch_all(&self.reads)
        .await?;
        let highest = rows.first().map_or(0, |row| row.0);
        Ok(TakenSerials {
            highest,
            recent: rows.into_iter().filter(|row| row.1 >= since).map(|row| row.0).collect(),
        })
    }

    /// Takes a proof if its serial was not taken before and is not too far below the highest; then keeps what the device said.
    /// `false` when the serial is not to be taken: of any number of takers at one instant one gets it.
    ///
    /// # Errors
    /// When the database fails; then nothing was taken.
    pub async fn take_proof(&self, new: &NewProof<'_>, now: i64) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let taken = sqlx::query(
            "INSERT INTO device_serials (device_key, serial, seen) SELECT $1, $2, $3
             WHERE $2 >= (SELECT COALESCE(MAX(serial), 0) FROM device_serials WHERE device_key = $1) - $4
             ON CONFLICT (device_key, serial) DO NOTHING",
        )
        .bind(new.device_key)
        .bind(new.serial)
        .bind(now)
        .bind(new.window)
        .execute(&mut *tx)
        .await?;
        if taken.rows_affected() != 1 {
            return Ok(false);
        }
        // The highest stays for ever: it is what an old serial is measured by.
        sqlx::query(
            "DELETE FROM device_serials WHERE device_key = $1 AND seen < $2
             AND serial < (SELECT MAX(serial) FROM device_serials WHERE device_key = $1)",
        )
        .bind(new.device_key)
        .bind(now.saturating_sub(new.kept))
        .execute(&mut *tx)
        .await?;
        if let Some((device, report)) = new.said {
            sqlx::query(
                "INSERT INTO device_reports (device, proven, report) VALUES ($1, $2, $3)
                 ON CONFLICT (device) DO UPDATE SET proven = excluded.proven, report = excluded.report",
            )
            .bind(device)
            .bind(now)
            .bind(report)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// What the device said of itself at its last proof.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_report(&self, device: &str) -> Result<Option<LastReport>, StoreError> {
        Ok(sqlx::query_as("SELECT proven, report FROM device_reports WHERE device = $1")
            .bind(device)
            .fetch_optional(&self.reads)
            .await?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::NewDevice;
    use super::*;

    fn proof(serial: i64) -> NewProof<'static> {
        NewProof { device_key: "SHA256:d", serial, window: 1024, kept: 180_000, said: None }
    }

    #[tokio::test]
    async fn a_serial_is_taken_once_and_in_any_order_within_the_window() {
        let store = Store::in_memory().await.unwrap();
        for serial in [2000, 1999, 976, 2001] {
            assert!(store.take_proof(&proof(serial), 1).await.unwrap(), "{serial}");
        }
        for serial in [2000, 976, 975, 1] {
            assert!(!store.take_proof(&proof(serial), 2).await.unwrap(), "{serial}");
        }
        let other = NewProof { device_key: "SHA256:e", ..proof(1) };
        assert!(store.take_proof(&other, 2).await.unwrap(), "another key counts for itself");
    }

    #[tokio::test]
    async fn what_is_old_is_dropped_but_for_the_highest() {
        let store = Store::in_memory().await.unwrap();
        for serial in [5, 9, 7] {
            store.take_proof(&proof(serial), 1).await.unwrap();
        }
        assert!(store.take_proof(&proof(6), 200_000).await.unwrap());
        let seen = store.serials("SHA256:d", 100_000).await.unwrap();
        assert_eq!(seen, TakenSerials { highest: 9, recent: vec![6] });
        assert_eq!(store.serials("SHA256:d", 0).await.unwrap().recent, [9, 6]);
        assert_eq!(store.serials("SHA256:x", 0).await.unwrap(), TakenSerials::default());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_takers_at_one_instant_one_gets_the_serial() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("bartizan.db")).await.unwrap();
        let takers: Vec<_> = (0..16)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.take_proof(&proof(7), 1).await.unwrap() })
            })
            .collect();
        let mut taken = 0;
        for taker in takers {
            taken += usize::from(taker.await.unwrap());
        }
        assert_eq!(taken, 1);
    }

    #[tokio::test]
    async fn the_last_report_of_a_device_is_kept_and_one_that_is_not_taken_is_not() {
        let store = Store::in_memory().await.unwrap();
        store.add_device(&NewDevice::active("lt-1", "alice", "acme", None), 1).await.unwrap();
        for (serial, report, now) in [(1, "{}", 5), (2, "[]", 6), (2, "0", 7)] {
            store.take_proof(&NewProof { said: Some(("lt-1", report)), ..proof(serial) }, now).await.unwrap();
        }
        let last = store.last_report("lt-1").await.unwrap().unwrap();
        assert_eq!((last.proven, last.report.as_str()), (6, "[]"));
        assert_eq!(store.last_report("lt-2").await.unwrap(), None);
    }
}
