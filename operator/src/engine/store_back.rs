//! A store that does not take writes is asked until it does.

use std::sync::Arc;
use std::time::Duration;

use store::Store;
use tokio::sync::mpsc;

use super::Event;

/// Time between two tries of a store that refused.
const AGAIN: Duration = Duration::from_secs(2);

/// Asks the store again and again until it takes writes.
pub(super) async fn wait(store: Arc<Store>, events: mpsc::Sender<Event>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        if store.health().await.is_ok() {
            let _ = events.send(Event::StoreBack).await;
            return;
        }
    }
}
