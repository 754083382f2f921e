//! Clusters whose answers do not end: they cost what the limits say, and others nothing.

use std::time::Duration;

use super::{
    cluster::{FLOODS, PAGES},
    looks::Looking,
    *,
};

/// How many bytes of an answer the collector takes, and what may be on its way besides.
const ANSWER: usize = 256 << 20;
const ON_ITS_WAY: usize = 16 << 20;

/// How long a look may take here.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The most memory that this process has had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_is_ended_and_others_go_on_meanwhile() {
    for looking in Looking::all(TIMEOUT).await {
        let before = peak();
        let [flood, pages, sound] = [Cluster::new().await, Cluster::new().await, Cluster::new().await];
        flood.set(FLOODS);
        pages.set(PAGES);
        sound.be(2);
        let account = looking.served.account("shop").await;
        add(&looking.served, source(&flood, "flood")).await;
        looking.wait("flood", |status| status["looking"] == true).await;
        add(&looking.served, source(&sound, "sound")).await;
        // While it floods, another one is looked at as often as somebody asks for it, and agents report.
        for look in 1..=3 {
            let status = looking.wait("sound", |status| sound.looks() == look && status["looking"] == false).await;
            assert_eq!((&status["coverage"], &status["failures"]), (&json!("complete"), &json!(0)), "{status}");
            let container = format!("web-{look}");
            looking.served.report(account.with("inventory-agent"), &[(&container, "shop", "nginx:1")]).await;
            let told = looking.served.get("/v1/containers?limit=100", account.with("read-only")).await.json();
            assert_eq!(told["items"][0]["runtime_id"], container, "{told}");
            looking.look("sound").await;
        }
        assert_eq!(looking.containers().await.len(), 1, "of the account, and of the sound cluster");

        let status = looking.wait("flood", |status| status["looked_at"].is_string()).await;
        // What was seen before its time was up is kept.
        assert!(["failed", "partial"].contains(&status["coverage"].as_str().unwrap_or_default()), "{status}");
        let reason = status["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("256 MiB") || reason.contains("within 20s"), "{status}");
        let taken = flood.sent();
        assert!(taken > 1 << 20, "it was no flood: {taken}");
        assert!(taken / flood.looks().max(1) < ANSWER + ON_ITS_WAY, "{taken} bytes in {} looks", flood.looks());
        add(&looking.served, source(&pages, "pages")).await;
        let status = looking.wait("pages", |status| status["looked_at"].is_string()).await;
        assert!(status["scopes"]["failed"].as_u64() > Some(0), "{status}");
        let tested = looking.served.ask("POST", &format!("{SOURCES}/pages/test"), &admin(), json!({})).await.json();
        let missing = tested["missing"].as_array().unwrap();
        assert!(!missing.is_empty(), "{tested}");
        assert!(missing.iter().all(|one| !one["reason"].as_str().unwrap_or_default().is_empty()), "{tested}");
        let grown = peak() - before;
        assert!(grown < 512 << 20, "{grown} bytes");
        let status = looking.wait("sound", |status| status["coverage"] == "complete").await;
        assert_eq!(status["failures"], 0, "{status}");
    }
}
