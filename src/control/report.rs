//! How answers look: tables for people, JSON for scripts, the same facts in both.
//! It never lets a foreign character command the reader's terminal, and never gathers more than a page.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::clean;
use super::reply::{Reply, Trouble};

/// Rows laid out together.
const PAGE: usize = 200;

/// A list that is said row by row.
#[derive(Debug)]
pub(super) struct List {
    columns: &'static [&'static str],
    form: Form,
    page: Vec<Vec<String>>,
    rows: u64,
}

/// How a list is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A table with a heading.
    Table,
    /// One JSON array, a row a line.
    Array,
    /// One JSON object a line.
    Lines,
}

impl Form {
    /// What `--json` asks of a list.
    pub(super) fn of(json: bool) -> Self {
        if json { Self::Array } else { Self::Table }
    }
}

impl List {
    /// An empty list with these headings.
    pub(super) fn new(form: Form, columns: &'static [&'static str]) -> Self {
        Self { columns, form, page: Vec::new(), rows: 0 }
    }

    /// Says one row: `value` for scripts, `cells` for people, in the order of the headings.
    pub(super) async fn row<R: Reply>(
        &mut self,
        out: &mut R,
        value: &impl Serialize,
        cells: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Trouble> {
        let before = match (self.form, self.rows) {
            (Form::Table, _) => {
                self.page.push(cells());
                if self.page.len() >= PAGE {
                    self.lay_out(out).await?;
                }
                self.rows += 1;
                return Ok(());
            }
            (Form::Array, 0) => "[\n",
            (Form::Array, _) => ",\n",
            (Form::Lines, _) => "",
        };
        let text = serde_json::to_string(value)?;
        let after = if self.form == Form::Lines { "\n" } else { "" };
        self.rows += 1;
        out.out(&format!("{before}{}{after}", clean::json(&text))).await
    }

    /// Ends the list; `empty` is what a person reads when there was no row.
    pub(super) async fn end<R: Reply>(mut self, out: &mut R, empty: &str) -> Result<(), Trouble> {
        match (self.form, self.rows) {
            (Form::Table, 0) => out.out(&format!("{empty}\n")).await,
            (Form::Table, _) => self.lay_out(out).await,
            (Form::Array, 0) => out.out("[]\n").await,
            (Form::Array, _) => out.out("\n]\n").await,
            (Form::Lines, _) => Ok(()),
        }
    }

    async fn lay_out<R: Reply>(&mut self, out: &mut R) -> Result<(), Trouble> {
        let first = self.rows < PAGE as u64;
        let mut table = plain_table(out);
        if first {
            table.set_header(self.columns.iter().map(|c| c.to_uppercase()));
        }
        for cells in self.page.drain(..) {
            table.add_row(cells.iter().map(|c| clean::line(c).into_owned()));
        }
        say_table(out, &table).await
    }
}

/// One thing in full: JSON, or a name and a value a line.
pub(super) async fn thing<R: Reply>(
    out: &mut R,
    json: bool,
    value: &impl Serialize,
    lines: Vec<(&str, String)>,
) -> Result<(), Trouble> {
    if json {
        let text = serde_json::to_string_pretty(value)?;
        return out.out(&format!("{}\n", clean::json(&text))).await;
    }
    let mut table = plain_table(out);
    for (name, text) in lines {
        table.add_row([name.to_owned(), clean::lines(&text).into_owned()]);
    }
    say_table(out, &table).await
}

fn plain_table<R: Reply>(out: &R) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let shape = out.shape();
    if shape.terminal && shape.columns >= 40 {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(shape.columns);
    }
    table
}

async fn say_table<R: Reply>(out: &mut R, table: &Table) -> Result<(), Trouble> {
    for line in table.lines() {
        // The layout starts every line with the padding of its first column.
        let line = line.strip_prefix(' ').unwrap_or(&line);
        out.out(&format!("{}\n", line.trim_end())).await?;
    }
    Ok(())
}

/// Nothing, said plainly.
pub(super) fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |t| t.to_string())
}

/// `1 frame`, `2 frames`.
pub(super) fn counted(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// A moment to the second, in UTC: `2026-03-01 09:05:00Z`.
pub(super) fn moment(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::control::reply::Heard;
    use crate::control::wire::Shape;

    /// An asking side that only listens.
    #[derive(Default)]
    pub(crate) struct Heap {
        pub(crate) out: String,
        pub(crate) err: String,
        pub(crate) raw: Vec<u8>,
        pub(crate) shape: Shape,
    }

    impl Reply for Heap {
        fn shape(&self) -> Shape {
            self.shape
        }
        async fn out(&mut self, text: &str) -> Result<(), Trouble> {
            self.out.push_str(text);
            Ok(())
        }
        async fn err(&mut self, text: &str) -> Result<(), Trouble> {
            self.err.push_str(text);
            Ok(())
        }
        async fn raw(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
            self.raw.extend_from_slice(bytes);
            Ok(())
        }
        async fn heard(&mut self) -> Heard {
            std::future::pending().await
        }
    }

    async fn said(form: Form, rows: &[&str]) -> String {
        let mut heap = Heap::default();
        let mut list = List::new(form, &["name", "state"]);
        for row in rows {
            let value = serde_json::json!({ "name": row });
            list.row(&mut heap, &value, || vec![(*row).to_owned(), "on".to_owned()]).await.expect("row");
        }
        list.end(&mut heap, "no rows").await.expect("end");
        heap.out
    }

    #[tokio::test]
    async fn an_empty_list_says_so_in_every_form() {
        assert_eq!(said(Form::Table, &[]).await, "no rows\n");
        assert_eq!(said(Form::Array, &[]).await, "[]\n");
        assert_eq!(said(Form::Lines, &[]).await, "");
    }

    #[tokio::test]
    async fn a_table_has_a_heading_and_a_line_a_row() {
        assert_eq!(said(Form::Table, &["ana", "b"]).await, "NAME  STATE\nana   on\nb     on\n");
    }

    #[tokio::test]
    async fn an_array_is_one_json_text() {
        let text = said(Form::Array, &["a", "b\u{9b}"]).await;
        assert!(text.is_ascii());
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).expect("json");
        assert_eq!(rows[1]["name"], "b\u{9b}");
    }

    #[tokio::test]
    async fn a_foreign_name_cannot_command_the_terminal() {
        let text = said(Form::Table, &["x\x1b]0;y\x07\nz"]).await;
        assert!(!text.contains('\x1b') && text.contains("\\x1b]0;y\\x07\\nz"));
    }

    #[tokio::test]
    async fn the_heading_comes_once_however_long_the_list() {
        let rows = vec!["r"; PAGE * 2 + 1];
        let text = said(Form::Table, &rows).await;
        assert_eq!((text.matches("NAME").count(), text.lines().count()), (1, PAGE * 2 + 2));
    }
}
