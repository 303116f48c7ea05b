//! The dead-man's switch: a URL that is asked regularly, so that somebody else notices when we no longer are.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::error::Error;
use crate::http::{self, Clients, Request};
use crate::secret::Secret;

/// Time limit of one beat: the next one comes soon.
const LIMIT: Duration = Duration::from_secs(15);

/// How the URL is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// GET, which all of these services take.
    #[default]
    Get,
    /// POST without a body.
    Post,
}

/// Asks one URL, over and over.
pub struct Heartbeat {
    clients: Clients,
    by: By,
}

impl Heartbeat {
    /// A heartbeat that asks in this way.
    pub fn new(by: By) -> Self {
        Self { clients: Clients::new(LIMIT), by }
    }

    /// Asks once. The URL is mostly a secret itself, and is in no error; `ca.crt` of the secret is what is trusted, if it is there.
    pub async fn beat(&self, url: &str, secret: &Secret, now: Timestamp) -> Result<(), Error> {
        let method = match self.by {
            By::Get => Method::GET,
            By::Post => Method::POST,
        };
        let request = Request { method, url: http::url(url)?, headers: HeaderMap::new(), body: Vec::new() };
        let server = request.server();
        let answer = self.clients.send(request, secret, false, now).await?;
        http::judged(&server, &answer, secret)
    }
}
