//! The dead-man's switch: a URL that is asked regularly, so that somebody else notices when we no longer are.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::error::Error;
use crate::guard::Places;
use crate::http::{self, Clients, Request};
use crate::secret::Secret;

/// Time limit of one beat: the next one comes soon.
const LIMIT: Duration = Duration::from_secs(15);

/// Asks one URL, over and over.
pub struct Heartbeat {
    clients: Clients,
    url: String,
}

impl Heartbeat {
    /// Of this URL, which is mostly a secret itself, and in no error.
    pub fn new(url: &str) -> Result<Self, Error> {
        http::url(url)?;
        Ok(Self { clients: Clients::new(LIMIT, Places::Any), url: url.to_owned() })
    }

    /// Asks once, by GET, which all of these services take.
    pub async fn beat(&self, now: Timestamp) -> Result<(), Error> {
        let request = Request { method: Method::GET, url: http::url(&self.url)?, headers: HeaderMap::new(), body: Vec::new() };
        let (server, secret) = (request.server(), Secret::default());
        let answer = self.clients.send(request, &secret, false, now).await?;
        http::judged(&server, &answer, &secret)
    }
}
