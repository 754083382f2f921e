//! Slack and e-mail: lines for people, several together.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};

use super::{receiver::Receiver, servers, settings, until};
use crate::{
    app::{App, Retention},
    config::NotifySettings,
    notify,
    testing::Served,
};

/// A mail server on loopback that takes every mail but for `nobody`, has no time for the first who comes, and does not let the second in.
async fn mail_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mails = Arc::<Mutex<Vec<String>>>::default();
    let taken = Arc::clone(&mails);
    tokio::spawn(async move {
        for count in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            if count == 0 {
                stream.write_all(b"421 too busy\r\n").await.unwrap();
                continue;
            }
            let taken = Arc::clone(&taken);
            tokio::spawn(async move { serve(stream, &taken, count > 1).await });
        }
    });
    (port, mails)
}

async fn serve(stream: tokio::net::TcpStream, taken: &Mutex<Vec<String>>, is_open: bool) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 here\r\n").await.unwrap();
    let mut mail: Option<String> = None;
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match (&mut mail, line.as_str()) {
            (Some(text), ".") => {
                taken.lock().unwrap().push(std::mem::take(text));
                mail = None;
                "250 taken\r\n"
            }
            (Some(text), line) => {
                text.push_str(line);
                text.push('\n');
                continue;
            }
            (None, "DATA") => {
                mail = Some(String::new());
                "354 go on\r\n"
            }
            (None, line) if line.starts_with("MAIL") && !is_open => "530 log in before\r\n",
            (None, line) if line.starts_with("RCPT TO:<nobody@") => "550 there is nobody\r\n",
            (None, _) => "250 fine\r\n",
        };
        write.write_all(answer.as_bytes()).await.unwrap();
    }
}

async fn subscribe(served: &Served, who: &str, channel: serde_json::Value) -> serde_json::Value {
    let body = json!({"name": "images", "on": {"events": ["image.appeared"]}, "channel": channel});
    let made = served.ask("POST", "/v1/subscriptions", who, body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert!(made.json().get("secret").is_none(), "it has none");
    made.json()
}

#[tokio::test]
async fn slack_is_told_in_lines_and_not_too_often() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let receiver = Receiver::start().await;
        receiver.answer(&[(200, None), (429, Some("1"))]);
        subscribe(&served, writer, json!({"type": "slack", "url": receiver.url()})).await;
        let delivering = tokio::spawn(notify::always(served.app.clone()));
        served.report(agent, &[("a", "shop", "a:1")]).await;
        receiver.wait(1).await;
        served.report(agent, &[("b", "shop", "b:1"), ("c", "shop", "c:1"), ("d", "back", "d:1")]).await;
        let got = receiver.wait(3).await;
        assert!(got[2].at - got[0].at >= Duration::from_millis(1900), "it was asked to wait");
        let text = |index: usize| got[index].json()["text"].as_str().unwrap().to_owned();
        assert_eq!(text(0), "image a:1 appeared in prod/shop");
        assert_eq!(text(1), text(2));
        let mut lines: Vec<String> = text(2).lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(
            lines,
            ["image b:1 appeared in prod/shop", "image c:1 appeared in prod/shop", "image d:1 appeared in prod/back"]
        );
        assert_eq!(got[0].header("content-type"), "application/json");
        delivering.abort();
    }
}

#[tokio::test]
async fn mail_is_sent_by_the_mail_server_and_what_it_refuses_is_a_dead_letter() {
    for served in servers().await {
        let account = served.account("shop").await;
        let (writer, agent) = (account.with("read-write"), account.with("inventory-agent"));
        let (port, mails) = mail_server().await;
        let smtp = json!({"host": "127.0.0.1", "port": port, "tls": "none", "from": "Stocktake <stock@example.com>",
            "domains": ["example.com"]});
        let settings = NotifySettings { smtp: Some(serde_json::from_value(smtp).unwrap()), ..settings() };
        let app = App::new(served.app.database.clone(), served.app.vault.clone(), Retention::default(), settings);
        let served = Served::again(app);
        let channel = json!({"type": "email", "to": ["jo@elsewhere.example"]});
        let refused = served.ask("POST", "/v1/subscriptions", writer, json!({"name": "x", "channel": channel})).await;
        assert!(refused.text.contains("`domains`"), "{}", refused.text);
        let made =
            subscribe(&served, writer, json!({"type": "email", "to": ["nobody@example.com", "jo@example.com"]})).await;
        let nobody = subscribe(&served, writer, json!({"type": "email", "to": ["nobody@example.com"]})).await;
        let delivering = tokio::spawn(notify::always(served.app.clone()));
        served.report(agent, &[("a", "shop", "a:1")]).await;
        let path = format!("/v1/dead-letters?subscription={}", nobody["id"]);
        let letters = async || served.get(&path, writer).await.json()["items"].take();
        let letters = until(letters, |letters| mails.lock().unwrap().len() == 1 && letters[0].is_object()).await;
        let mail = mails.lock().unwrap().first().cloned().expect("a mail");
        let id = format!("Message-ID: <stocktake-{}-", made["id"]);
        let event = format!("subscription {} (images) of account shop", made["id"]);
        for part in [
            "To: nobody@example.com, jo@example.com",
            "Subject: Stocktake: image a:1 appeared in prod/shop",
            &id,
            &event,
        ] {
            assert!(mail.to_lowercase().contains(&part.to_lowercase()), "{part}: {mail}");
        }
        assert!(letters[0]["reason"].as_str().unwrap().contains("550"), "{letters}");
        delivering.abort();
    }
}
