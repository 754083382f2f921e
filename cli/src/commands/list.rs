//! Lists: a page after the other, as a table, as one array, or as the server's CSV.

use std::io::{self, Write as _};

use serde_json::{Value, value::RawValue};

use crate::{
    cli::{Form, Shape},
    client::{Client, Page, Query},
    failure::Failure,
    json::text,
    output::Output,
    say, table,
};

/// Lines of a table if nothing else is said.
const LIMIT: usize = 100;

/// Lines of a page, at most: the server's bound.
const PAGE: usize = 1000;

/// A list that the server has, and how it is shown.
pub(super) struct List {
    /// Below the server's URL.
    pub(super) path: &'static str,
    pub(super) query: Query,
    pub(super) columns: &'static [Column],
}

/// Head of a column, and what of a line stands in it.
pub(super) type Column = (&'static str, fn(&Value) -> String);

impl List {
    /// Prints it. Tells whether anything was found.
    pub(super) async fn print(&self, shape: &Shape, client: &Client) -> Result<bool, Failure> {
        check(shape)?;
        let mut out = Output::of_process();
        let found = match shape.output {
            Form::Table => self.table(limit(shape), client, &mut out).await?,
            Form::Json => self.json(client, &mut out).await?,
            Form::Csv => self.csv(client, &mut out).await?,
        };
        out.flush()?;
        Ok(found)
    }

    async fn table(&self, limit: usize, client: &Client, out: &mut Output) -> Result<bool, Failure> {
        let mut rows = Vec::new();
        let mut after = None;
        let more = loop {
            let page: Page<Value> = self.page(PAGE.min(limit - rows.len()), after, client).await?;
            let room = limit - rows.len();
            let more = page.next.is_some() || page.items.len() > room;
            rows.extend(page.items.iter().take(room).map(|line| row(self.columns, line)));
            after = page.next;
            if after.is_none() || rows.len() >= limit {
                break more;
            }
        };
        show(self.columns, &rows, more, out)?;
        Ok(!rows.is_empty())
    }

    /// One array, a line an element. It has no end if something fails, so that nobody takes it for all.
    async fn json(&self, client: &Client, out: &mut Output) -> Result<bool, Failure> {
        let mut found = false;
        let mut after = None;
        loop {
            let page: Page<Box<RawValue>> = self.page(PAGE, after, client).await?;
            for item in &page.items {
                out.write_all(if found { b",\n" } else { b"[\n" })?;
                out.write_all(item.get().as_bytes())?;
                found = true;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        out.write_all(if found { b"\n]\n" } else { b"[]\n" })?;
        Ok(found)
    }

    /// As the server makes it.
    async fn csv(&self, client: &Client, out: &mut Output) -> Result<bool, Failure> {
        let mut query = self.query.clone();
        query.push(("format", "csv".to_owned()));
        let mut response = client.stream(self.path, &query).await?;
        // Something is found if something is behind the first line, in which no field has a line feed: it has the names.
        let (mut in_head, mut found) = (true, false);
        while let Some(chunk) = client.chunk(&mut response).await? {
            let behind = if in_head { chunk.iter().position(|byte| *byte == b'\n').map(|at| at + 1) } else { Some(0) };
            if let Some(behind) = behind {
                in_head = false;
                found |= behind < chunk.len();
            }
            out.write_all(&chunk)?;
        }
        Ok(found)
    }

    async fn page<T: serde::de::DeserializeOwned>(
        &self,
        limit: usize,
        after: Option<String>,
        client: &Client,
    ) -> Result<Page<T>, Failure> {
        let mut query = self.query.clone();
        query.push(("limit", limit.to_string()));
        query.extend(after.map(|after| ("after", after)));
        client.get(self.path, &query).await
    }
}

/// Prints a list that came whole: Anchore's interface has neither pages nor CSV. `fields` are the columns of CSV, by the names that the
/// server gives them.
pub(super) fn items(items: &[Value], shape: &Shape, columns: &[Column], fields: &[&str]) -> Result<(), Failure> {
    let mut out = Output::of_process();
    match shape.output {
        Form::Table => {
            let limit = limit(shape);
            let rows: Vec<Vec<String>> = items.iter().take(limit).map(|line| row(columns, line)).collect();
            show(columns, &rows, items.len() > limit, &mut out)?;
        }
        Form::Json => {
            for (index, item) in items.iter().enumerate() {
                out.write_all(if index == 0 { b"[\n" } else { b",\n" })?;
                serde_json::to_writer(&mut out, item).map_err(io::Error::from)?;
            }
            out.write_all(if items.is_empty() { b"[]\n" } else { b"\n]\n" })?;
        }
        Form::Csv => {
            let mut csv = csv::Writer::from_writer(&mut out);
            csv.write_record(fields).map_err(io::Error::from)?;
            for item in items {
                let record = fields.iter().map(|field| text(item, &format!("/{field}")));
                csv.write_record(record).map_err(io::Error::from)?;
            }
            csv.flush()?;
        }
    }
    out.flush()?;
    Ok(())
}

/// An option that would have no effect is a mistake.
pub(super) fn check(shape: &Shape) -> Result<(), Failure> {
    if shape.limit.is_some() && shape.output != Form::Table {
        return Err(Failure::Usage("--limit is for tables; json and csv are of all, so leave it out".into()));
    }
    Ok(())
}

/// Lines of the table.
pub(super) fn limit(shape: &Shape) -> usize {
    shape.limit.map_or(LIMIT, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// A line of the table.
pub(super) fn row(columns: &[Column], line: &Value) -> Vec<String> {
    columns.iter().map(|(_, cell)| cell(line)).collect()
}

/// Writes the table, and says on stderr if it is not of all.
pub(super) fn show(columns: &[Column], rows: &[Vec<String>], more: bool, out: &mut Output) -> Result<(), Failure> {
    let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
    table::write(&heads, rows, out)?;
    out.flush()?;
    if more {
        say::note(&format!("these are the first {}; there are more (--limit, or -o json or csv for all)", rows.len()));
    }
    Ok(())
}
