//! `changes --follow`: changes as they come to be known, from a stream that is taken up again where it ended.

use std::{io::Write as _, time::Duration};

use serde_json::Value;

use super::views::CHANGES;
use crate::{
    cli::{Changes, Form},
    client::{Client, Query},
    failure::Failure,
    json::text,
    output::Output,
    say,
};

const PATH: &str = "v1/events";

/// How long to wait before the stream is asked for again: at first, and at the most.
const PATIENCE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// How long a line of the stream may be, in bytes.
const LONGEST: usize = 16 << 20;

/// Prints changes until it is stopped, or the server refuses.
pub(super) async fn run(asked: &Changes, client: &Client) -> Result<(), Failure> {
    if asked.shape.output == Form::Csv {
        return Err(Failure::Usage("csv has an end, and what is followed has none; say `-o json`".into()));
    }
    let mut query = Query::new();
    query.extend(asked.since.map(|since| ("since", since.to_string())));
    query.extend(asked.context.clone().map(|context| ("context", context)));
    let (mut stream, mut out) = (Stream::default(), Output::of_process());
    let mut is_known = false;
    let [mut wait, at_most] = PATIENCE;
    loop {
        let ended = match listen(client, &query, &mut stream, asked.shape.output, &mut out).await {
            Ok(()) => "the server has ended the stream".to_owned(),
            // Whoever cannot be reached at all may not be the server that was meant.
            Err(Failure::Unavailable(message)) if is_known || stream.is_begun => message,
            Err(failure) => return Err(failure),
        };
        is_known = true;
        if std::mem::take(&mut stream.is_begun) {
            say::note(&format!("{ended}; trying again, from where it ended"));
            wait = PATIENCE[0];
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(at_most);
    }
}

/// Prints what a stream brings, until its end.
async fn listen(
    client: &Client,
    query: &Query,
    stream: &mut Stream,
    form: Form,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut response = client.listen(PATH, query, stream.last.as_deref()).await?;
    stream.begin();
    // What broke off is taken up again: why it did matters less than that it did.
    let broken = |_| Failure::Unavailable("the stream broke off".into());
    while let Some(chunk) = client.chunk(&mut response).await.map_err(broken)? {
        for event in stream.read(&chunk)? {
            print(&event, form, out)?;
        }
        out.flush()?;
    }
    Ok(())
}

fn print(Event { name, data }: &Event, form: Form, out: &mut Output) -> Result<(), Failure> {
    let strange = |error| Failure::Unavailable(format!("an event of the server's is no JSON: {error}; check the URL"));
    let line: Value = serde_json::from_str(data).map_err(strange)?;
    if name == "removed" {
        let (first, last) = (text(&line, "/first"), text(&line, "/last"));
        say::warning(&format!("changes {first} to {last} were removed with age before they were read"));
        return Ok(());
    }
    if name == "restored" {
        say::warning(&format!(
            "the server's database was restored, and its changes up to {} may be others than those that were told: `stocktake changes \
             --since` has them; going on from there",
            text(&line, "/last")
        ));
        return Ok(());
    }
    if form == Form::Json {
        writeln!(out, "{data}")?;
        return Ok(());
    }
    let cells = CHANGES.iter().map(|(_, cell)| say::plain(&cell(&line)));
    let cells: Vec<String> = cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }).collect();
    writeln!(out, "{}", cells.join("  "))?;
    Ok(())
}

/// What is sent, event by event (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
#[derive(Default)]
struct Stream {
    /// Whether the server has answered.
    is_begun: bool,
    /// The `id` that was told last.
    last: Option<String>,
    /// What has come of a line, and of an event.
    line: Vec<u8>,
    id: Option<String>,
    event: Event,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    name: String,
    data: String,
}

impl Stream {
    /// Forgets what was cut off.
    fn begin(&mut self) {
        self.is_begun = true;
        self.line.clear();
        self.id = None;
        self.event = Event::default();
    }

    /// Events that are whole with this piece.
    fn read(&mut self, chunk: &[u8]) -> Result<Vec<Event>, Failure> {
        let mut events = Vec::new();
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > LONGEST {
                return Err(Failure::Unavailable("a line of the stream has no end; check the URL".into()));
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
                events.extend(self.line(&line));
            }
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            // Not before the event is whole: one that is cut off is to come again.
            self.last = self.id.take().or(self.last.take());
            return Some(std::mem::take(&mut self.event)).filter(|event| !event.data.is_empty());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => self.event.data.push_str(value),
            // A comment, or of a later server.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_is_cut_before_the_first_event_says_where_it_began() {
        let mut stream = Stream::default();
        assert_eq!(stream.read(b"id: 7\n\n").unwrap(), []);
        stream.begin();
        assert_eq!(stream.last.as_deref(), Some("7"));
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = b"id: 0\n\n: here\nid: 0\n\nid: 1\ndata: {\"a\":1}\n\nevent: removed\r\nid: 5\r\ndata: {}\r\n\r\n: here\nid: 9\n\nid: 10\ndata: cut";
        for cut in 0..text.len() {
            let mut stream = Stream::default();
            let mut events = stream.read(&text[..cut]).unwrap();
            events.extend(stream.read(&text[cut..]).unwrap());
            let event = |name: &str, data: &str| Event { name: name.into(), data: data.into() };
            assert_eq!(events, [event("", "{\"a\":1}"), event("removed", "{}")], "cut at {cut}");
            assert_eq!(stream.last.as_deref(), Some("9"), "10 is not whole");
        }
    }
}
