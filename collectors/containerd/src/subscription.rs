//! What changes in a containerd, as its event service tells.

use std::path::PathBuf;

use containerd_client::types::Envelope;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use stocktake_core::{CollectError, ScopeChange, select::NameSelector};

use crate::{
    client::{Client, Events},
    event::{FILTERS, Followed},
};

/// What is told of the selected namespaces, for as long as containerd tells it.
///
/// containerd answers with the first event that there is (gRPC for Go sends a stream's head with its first message), so that
/// nothing says when it has begun to listen to itself. A request that is sent behind the subscription and answered says that
/// it was read. Of 2500 events right after that answer, on a machine with eight busy processes on two processors, one was lost,
/// with containerd 1.6 and 2.1 alike; more such answers do not help, and on an idle machine none was. So after a few answers
/// more everything is to be looked at once more: by then that moment is over, and it costs one look a subscription.
pub(crate) fn changes(
    socket: PathBuf,
    namespaces: NameSelector,
) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
    stream::try_unfold(Phase::Beginning { socket, namespaces }, |phase| async move {
        let (change, subscription) = match phase {
            Phase::Beginning { socket, namespaces } => (ScopeChange::All, Subscription::new(socket, namespaces).await?),
            Phase::Standing(mut subscription) => (subscription.next().await?, subscription),
        };
        Ok(Some((change, Phase::Standing(subscription))))
    })
    .boxed()
}

enum Phase {
    Beginning { socket: PathBuf, namespaces: NameSelector },
    Standing(Subscription),
}

/// Answers until everything is looked at once more.
const ANSWERS: usize = 10;

struct Subscription {
    client: Client,
    events: Events,
    followed: Followed,
    /// Whether everything was told to be looked at once more.
    is_settled: bool,
}

impl Subscription {
    async fn new(socket: PathBuf, namespaces: NameSelector) -> Result<Self, CollectError> {
        let client = Client::connect(socket).await?;
        let mut events = client.events(&FILTERS);
        let existing = beside(&client, &mut events, client.namespaces()).await?;
        Ok(Self { client, events, followed: Followed::new(namespaces, existing), is_settled: false })
    }

    /// Waits until there is something to look at.
    async fn next(&mut self) -> Result<ScopeChange, CollectError> {
        if !self.is_settled {
            for _ in 0..ANSWERS {
                beside(&self.client, &mut self.events, self.client.version()).await?;
            }
            self.is_settled = true;
            return Ok(ScopeChange::All);
        }
        loop {
            let event = event(&self.client, &mut self.events).await?;
            if let Some(change) = self.followed.change(&event) {
                return Ok(change);
            }
        }
    }
}

/// An answer while events arrive. These are let go, because everything is looked at afterwards; but not their end.
async fn beside<T>(
    client: &Client,
    events: &mut Events,
    answer: impl Future<Output = Result<T, CollectError>>,
) -> Result<T, CollectError> {
    tokio::pin!(answer);
    loop {
        tokio::select! {
            biased;
            told = event(client, events) => drop(told?),
            answer = &mut answer => return answer,
        }
    }
}

async fn event(client: &Client, events: &mut Events) -> Result<Envelope, CollectError> {
    events.try_next().await?.ok_or_else(|| client.ended())
}
