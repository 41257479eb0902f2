//! Sessions and recordings by when they began: lists of any length, read a page at a time.
//! It never holds more than a page, and nothing is locked between two of them.

use sqlx::query::QueryAs;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{FromRow, Sqlite};

use super::{Recording, Session, Store, StoreError};

/// Rows of a page.
const PAGE: u32 = 500;

/// Which sessions or recordings are listed; `None` asks for nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Of this operator.
    pub operator: Option<&'a str>,
    /// To this target.
    pub target: Option<&'a str>,
    /// Of this session.
    pub session: Option<&'a str>,
    /// Started at or after, ms.
    pub since: Option<i64>,
    /// Started before, ms.
    pub until: Option<i64>,
    /// At most so many, the newest.
    pub newest: Option<u32>,
}

/// Where a row stands in a list: when it started, ms, and its id.
#[derive(Debug, FromRow)]
struct Place {
    started: i64,
    id: String,
}

/// What is listed by when it began.
pub trait ByTime: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {
    /// Asks for a page: the first rows that match, after a place.
    const PAGE: &'static str;
    /// Asks for the place that a number of rows that match come after.
    const PLACE: &'static str;

    /// When it started, ms, and its id.
    fn place(&self) -> (i64, &str);
}

/// A table whose rows are listed by time, and its column that names a session.
macro_rules! by_time {
    ($row:ty, $table:literal, $session:literal) => {
        impl ByTime for $row {
            const PAGE: &'static str = by_time!("*", $table, $session, "started, id LIMIT $7");
            const PLACE: &'static str =
                by_time!("started, id", $table, $session, "started DESC, id DESC LIMIT 1 OFFSET $7");

            fn place(&self) -> (i64, &str) {
                (self.started, &self.id)
            }
        }
    };
    ($columns:literal, $table:literal, $session:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM ",
            $table,
            " WHERE (started, id) > ($1, $2) AND started < $3 AND ($4 IS NULL OR operator = $4)
                  AND ($5 IS NULL OR target = $5) AND ($6 IS NULL OR ",
            $session,
            " = $6) ORDER BY ",
            $order
        )
    };
}

by_time!(Session, "sessions", "id");
by_time!(Recording, "recordings", "session");

/// What matches, oldest first: what was there when it was first asked for.
#[derive(Debug)]
pub struct Rows<'a, T> {
    /// `None` when what was read is all there is.
    from: Option<(&'a Store, Filter<'a>)>,
    span: Option<Span>,
    page: std::vec::IntoIter<T>,
}

/// What is still to be read.
#[derive(Debug)]
struct Span {
    after: Place,
    last: Place,
    left: u32,
}

impl Store {
    /// The sessions that match.
    pub fn sessions<'a>(&'a self, filter: Filter<'a>) -> Rows<'a, Session> {
        Rows::of(self, filter)
    }

    /// The recordings that match.
    pub fn recordings<'a>(&'a self, filter: Filter<'a>) -> Rows<'a, Recording> {
        Rows::of(self, filter)
    }
}

impl<'a, T: ByTime> Rows<'a, T> {
    fn of(store: &'a Store, filter: Filter<'a>) -> Self {
        Self { from: Some((store, filter)), span: None, page: Vec::new().into_iter() }
    }

    /// One that is known already, and no other.
    pub fn just(row: T) -> Self {
        Self { from: None, span: None, page: vec![row].into_iter() }
    }

    /// The next row; `None` when there are no more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next(&mut self) -> Result<Option<T>, StoreError> {
        if let Some(row) = self.page.next() {
            return Ok(Some(row));
        }
        let Some((store, filter)) = self.from else { return Ok(None) };
        if self.span.is_none() {
            self.span = Span::of::<T>(store, &filter).await?;
        }
        let page: Vec<T> = match &mut self.span {
            Some(span) => span.page(store, &filter).await?,
            None => Vec::new(),
        };
        if page.is_empty() {
            self.from = None;
        }
        self.page = page.into_iter();
        Ok(self.page.next())
    }
}

impl Span {
    /// All that matches now; `None` where nothing does.
    async fn of<T: ByTime>(store: &Store, filter: &Filter<'_>) -> Result<Option<Self>, StoreError> {
        let first = Place { started: filter.since.unwrap_or(i64::MIN), id: String::new() };
        // In this order: what begins between the two is beyond what is left, and hides nothing.
        let before = match filter.newest {
            Some(newest) => asked(T::PLACE, filter, &first, newest).fetch_optional(&store.reads).await?,
            None => None,
        };
        let last = asked(T::PLACE, filter, &first, 0).fetch_optional(&store.reads).await?;
        let (after, left) = (before.unwrap_or(first), filter.newest.unwrap_or(u32::MAX));
        Ok(last.map(|last| Self { after, last, left }))
    }

    async fn page<T: ByTime>(&mut self, store: &Store, filter: &Filter<'_>) -> Result<Vec<T>, StoreError> {
        let mut page: Vec<T> =
            asked(T::PAGE, filter, &self.after, PAGE.min(self.left)).fetch_all(&store.reads).await?;
        // What has begun meanwhile comes after the last.
        page.retain(|row| row.place() <= (self.last.started, &self.last.id));
        if let Some((started, id)) = page.last().map(T::place) {
            self.after = Place { started, id: id.to_owned() };
        }
        self.left = self.left.saturating_sub(page.len().try_into().unwrap_or(u32::MAX));
        Ok(page)
    }
}

fn asked<'q, O: for<'r> FromRow<'r, SqliteRow>>(
    statement: &'static str,
    filter: &Filter<'_>,
    after: &Place,
    rows: u32,
) -> QueryAs<'q, Sqlite, O, SqliteArguments> {
    sqlx::query_as(statement)
        .bind(after.started)
        .bind(after.id.clone())
        .bind(filter.until.unwrap_or(i64::MAX))
        .bind(filter.operator.map(str::to_owned))
        .bind(filter.target.map(str::to_owned))
        .bind(filter.session.map(str::to_owned))
        .bind(rows)
}

#[cfg(test)]
mod tests {
    use super::super::sessions::tests::new as session;
    use super::*;

    async fn ids(store: &Store, filter: Filter<'_>) -> Vec<String> {
        let (mut sessions, mut ids) = (store.sessions(filter), Vec::new());
        while let Some(session) = sessions.next().await.unwrap() {
            assert!(sessions.page.len() < PAGE as usize);
            ids.push(session.id);
        }
        ids
    }

    #[tokio::test]
    async fn a_list_gives_the_newest_that_match_in_order() {
        let store = Store::in_memory().await.unwrap();
        for n in 1..=5 {
            let mut session = session("", n);
            let id = format!("s-{n}");
            session.id = &id;
            session.operator = if n % 2 == 0 { "bob" } else { "alice" };
            store.start_session(&session).await.unwrap();
        }
        assert_eq!(ids(&store, Filter { newest: Some(2), ..Filter::default() }).await, ["s-4", "s-5"]);
        assert_eq!(ids(&store, Filter { operator: Some("bob"), ..Filter::default() }).await, ["s-2", "s-4"]);
        let bobs_last = Filter { operator: Some("bob"), newest: Some(1), ..Filter::default() };
        assert_eq!(ids(&store, bobs_last).await, ["s-4"]);
        let window = Filter { since: Some(2), until: Some(4), ..Filter::default() };
        assert_eq!(ids(&store, window).await, ["s-2", "s-3"]);
        assert_eq!(ids(&store, Filter { newest: Some(1), ..window }).await, ["s-3"]);
        assert_eq!(ids(&store, Filter { newest: Some(9), ..window }).await, ["s-2", "s-3"]);
        assert_eq!(ids(&store, Filter { session: Some("s-3"), ..Filter::default() }).await, ["s-3"]);
    }

    #[tokio::test]
    async fn a_list_is_as_long_as_what_there_is() {
        let (store, all) = (Store::in_memory().await.unwrap(), PAGE * 2 + 1);
        // Many of one millisecond, so that pages end between them.
        sqlx::query(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $1)
             INSERT INTO sessions (id, operator, target, account, peer, started)
             SELECT printf('s-%05d', i), 'alice', 'web-1', 'deploy', '192.0.2.9:50000', i / 400 FROM n",
        )
        .bind(all)
        .execute(&store.writes)
        .await
        .unwrap();
        let expected: Vec<String> = (0..all).map(|n| format!("s-{n:05}")).collect();
        assert_eq!(ids(&store, Filter::default()).await, expected);
        let mut asked = store.sessions(Filter::default());
        assert_eq!(asked.next().await.unwrap().unwrap().id, "s-00000");
        store.start_session(&session("s-later", i64::MAX - 1)).await.unwrap();
        let mut others = 0;
        while let Some(session) = asked.next().await.unwrap() {
            assert_ne!(session.id, "s-later", "it was not there when the list was asked for");
            others += 1;
        }
        assert_eq!(others, all - 1);
        let until = Some(i64::MAX - 1);
        let newest = Filter { until, newest: Some(PAGE + 7), ..Filter::default() };
        assert_eq!(ids(&store, newest).await, expected[expected.len() - PAGE as usize - 7..]);
    }
}
