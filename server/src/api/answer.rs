//! Answers: a page as JSON, or all pages as a stream of lines.

use std::future::Future;

use axum::{
    Json,
    body::Body,
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::asked::{Asked, Cursor, Format};
use crate::{app::App, http::Problem};

/// A list that can be asked for page by page.
pub(super) trait View: Send + Sync + 'static {
    /// A line of it.
    type Line: Serialize + ToSchema + Send + 'static;
    /// Names of its parameters.
    const TAKES: &'static [&'static [&'static str]];
    /// Columns of CSV, as JSON pointers into a line (without the first `/`).
    const COLUMNS: &'static [&'static str];

    /// What follows `asked.after`.
    fn page(
        app: &App,
        account_id: i64,
        asked: &Asked,
    ) -> impl Future<Output = Result<Page<Self::Line>, Problem>> + Send;
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// Its lines.
    pub(super) items: Vec<T>,
    /// Given as `after`, the next page follows; `null` on the last one.
    #[schema(value_type = Option<String>)]
    #[serde(serialize_with = "cursor")]
    pub(super) next: Option<Cursor>,
}

#[expect(clippy::ref_option, reason = "serde gives it so")]
fn cursor<S: serde::Serializer>(cursor: &Option<Cursor>, serializer: S) -> Result<S::Ok, S::Error> {
    cursor.as_ref().map(Cursor::text).serialize(serializer)
}

/// Answers as the question asks.
pub(super) async fn answer<V: View>(app: App, account_id: i64, mut asked: Asked) -> Result<Response, Problem> {
    let format = asked.format;
    if format == Format::Json {
        return Ok(Json(V::page(&app, account_id, &asked).await?).into_response());
    }
    asked.limit = 1000;
    // The first page is asked for before the answer begins: what fails at once is told as an error, not as an end.
    let first = V::page(&app, account_id, &asked).await?;
    let head = (format == Format::Csv).then(|| csv_head(V::COLUMNS));
    let lines = pages::<V>(app, account_id, asked, first);
    let lines = stream::StreamExt::map(lines, move |page| {
        page.and_then(|lines| written(&lines, format, V::COLUMNS).map_err(std::io::Error::other))
    });
    let body = stream::StreamExt::chain(stream::iter(head.map(Ok)), lines);
    let kind = if format == Format::Csv { "text/csv; charset=utf-8" } else { "application/x-ndjson" };
    Ok(([(CONTENT_TYPE, kind)], Body::from_stream(body)).into_response())
}

/// All pages, one at a time. An error ends the stream without the end that HTTP expects, so that nobody takes it for all.
fn pages<V: View>(
    app: App,
    account_id: i64,
    asked: Asked,
    first: Page<V::Line>,
) -> impl Stream<Item = Result<Vec<V::Line>, std::io::Error>> + Send {
    stream::try_unfold(Some((Some(first), asked)), move |state| {
        let app = app.clone();
        async move {
            let Some((ready, mut asked)) = state else { return Ok(None) };
            let page = match ready {
                Some(page) => page,
                None => V::page(&app, account_id, &asked).await.map_err(std::io::Error::other)?,
            };
            asked.after = page.next;
            let state = asked.after.is_some().then_some((None, asked));
            Ok(Some((page.items, state)))
        }
    })
}

fn written<T: Serialize>(lines: &[T], format: Format, columns: &[&str]) -> Result<Bytes, std::io::Error> {
    let mut out = Vec::new();
    if format == Format::Ndjson {
        for line in lines {
            serde_json::to_writer(&mut out, line)?;
            out.push(b'\n');
        }
        return Ok(out.into());
    }
    let mut csv = csv::Writer::from_writer(&mut out);
    for line in lines {
        let line = serde_json::to_value(line)?;
        csv.write_record(columns.iter().map(|column| field(line.pointer(&format!("/{column}")))))?;
    }
    csv.flush()?;
    drop(csv);
    Ok(out.into())
}

fn csv_head(columns: &[&str]) -> Bytes {
    let names: Vec<String> = columns.iter().map(|column| column.replace('/', "_")).collect();
    (names.join(",") + "\n").into()
}

/// A cell. What a spreadsheet would take for a formula gets an apostrophe before it, as names and labels are written by others (OWASP,
/// "CSV Injection"), and so does what begins with one, so that taking away the first of a cell gives back the text; as the agent's CSV.
fn field(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']) => format!("'{text}"),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// A time of the database, as the answer has it.
pub(super) fn time(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default().to_string()
}

/// The server's clock, in milliseconds since 1970.
pub(super) fn now() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Cuts what was found, which is one row more than the page may have if there is another page.
pub(super) fn cut<T>(mut items: Vec<T>, asked: &Asked, end: impl Fn(&T) -> Cursor) -> Page<T> {
    let limit = usize::try_from(asked.limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(end);
    Page { items, next }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::field;

    #[test]
    fn a_spreadsheet_meets_no_formula() {
        for text in ["=cmd|'x'/=ns", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1"] {
            assert_eq!(field(Some(&json!(text))), format!("'{text}"));
        }
        for (value, cell) in
            [(json!("nginx:1.27"), "nginx:1.27"), (json!("a=b"), "a=b"), (json!(-1), "-1"), (json!(null), "")]
        {
            assert_eq!(field(Some(&value)), cell);
        }
    }
}
