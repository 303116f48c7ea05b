//! What holds the connections, and the one way in.

use std::time::Duration;

use jiff::Timestamp;
use reconcile::alerting::Notice;
use reconcile::alerting::receiver::{Channel, Receiver};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::error::{Category, Error};
use crate::guard::Places;
use crate::http::Clients;
use crate::mail::Servers;
use crate::secret::Secret;
use crate::words::View;
use crate::{mail, sms, webhook};

/// Time limit of one request, or of one mail to one recipient.
const LIMIT: Duration = Duration::from_secs(30);

/// Who we are to those who are told.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Where a person can look: the URL of our interface, if it has one that is reached from elsewhere.
    pub url: Option<String>,
}

/// A notification that arrived: the server took responsibility for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Whom it reached by this call, in the receiver's own words; for a webhook the name of the server.
    pub reached: Vec<String>,
    /// What its author should know: a template that fails, a text that was cut.
    pub notes: Vec<String>,
}

/// One more whom a notice has reached. The try goes on with the next one when it has been noted down: whatever cuts it, nobody else is told twice.
#[derive(Debug)]
pub struct One {
    /// Who.
    pub name: String,
    noted: oneshot::Sender<()>,
}

impl One {
    /// It is noted down, as well as can be.
    pub fn noted(self) {
        // A try that was given up waits no more.
        let _ = self.noted.send(());
    }
}

/// Whom a notice has reached, of those whom it is for.
#[derive(Debug, Default)]
pub struct Reached {
    before: Vec<String>,
    tell: Option<UnboundedSender<One>>,
    tries: u32,
}

impl Reached {
    /// By tries before this one.
    pub fn new(before: Vec<String>) -> Self {
        Self { before, tell: None, tries: 0 }
    }

    /// So many tries were before this one: each begins with another recipient, so that one for whom there never is an answer takes only their
    /// own time.
    #[must_use]
    pub fn after(self, tries: u32) -> Self {
        Self { tries, ..self }
    }

    /// One more has it; returns when that has been noted down.
    pub async fn took(&self, to: &str) {
        let Some(tell) = &self.tell else { return };
        let (noted, wait) = oneshot::channel();
        // Who listens no more has nobody to keep it for.
        if tell.send(One { name: to.to_owned(), noted }).is_ok() {
            let _ = wait.await;
        }
    }

    /// By tries before this one; of each further one `tell` hears at once, also where the try does not come to its end.
    pub fn telling(before: Vec<String>, tell: UnboundedSender<One>) -> Self {
        Self { before, tell: Some(tell), tries: 0 }
    }
}

/// What came of telling one recipient after the other.
pub(crate) struct Told<'a> {
    known: &'a Reached,
    reached: Vec<String>,
    failed: Option<Error>,
}

impl<'a> Told<'a> {
    /// These have it already.
    pub(crate) fn new(known: &'a Reached) -> Self {
        Self { known, reached: Vec::new(), failed: None }
    }

    /// Those who don't have it from a try before, from another one on with each try.
    pub(crate) fn left<'b, T>(&self, all: &'b [T], name: impl Fn(&T) -> &str) -> Vec<&'b T> {
        let mut left: Vec<&T> = all.iter().filter(|to| !self.known.before.iter().any(|before| before == name(to))).collect();
        let first = self.known.tries as usize % left.len().max(1);
        left.rotate_left(first);
        left
    }

    /// It reached this one.
    pub(crate) async fn took(&mut self, to: &str) {
        self.reached.push(to.to_owned());
        self.known.took(to).await;
    }

    /// It did not reach one. What may still help decides whether it is tried again, and the first of these is what is told.
    pub(crate) fn missed(&mut self, error: Error) {
        if self.failed.as_ref().is_none_or(|before| !before.is_transient() && error.is_transient()) {
            self.failed = Some(error);
        }
    }

    /// All of them have it, or who has it so far.
    pub(crate) fn outcome(self, notes: Vec<String>) -> Result<Delivered, Error> {
        match self.failed {
            None => Ok(Delivered { reached: self.reached, notes }),
            Some(error) => Err(error.with_reached(self.reached)),
        }
    }
}

/// Connections to mail servers and HTTP servers, used again for the next notification.
pub struct Channels {
    pub(crate) origin: Origin,
    pub(crate) http: Clients,
    pub(crate) mail: Servers,
}

impl Channels {
    /// Without a connection yet.
    pub fn new(origin: Origin) -> Self {
        Self::with_limit(origin, LIMIT)
    }

    /// With another time limit of one request.
    pub fn with_limit(origin: Origin, limit: Duration) -> Self {
        Self { origin, http: Clients::new(limit, Places::Any), mail: Servers::new(limit) }
    }

    /// Webhooks and gateways only where these are.
    #[must_use]
    pub fn only_to(self, places: Places) -> Self {
        Self { http: Clients::new(self.http.limit(), places), ..self }
    }

    /// Tries once to deliver a notice. `secret` is the one that the receiver names, read a moment ago. `reached` are recipients that have it
    /// from an attempt before. The same notice with the same receiver makes the same message, each time.
    pub async fn deliver(
        &self,
        notice: &Notice,
        receiver: &Receiver,
        secret: &Secret,
        reached: &Reached,
        now: Timestamp,
    ) -> Result<Delivered, Error> {
        if receiver.suspend {
            return Err(Error::new(Category::Receiver, format!("receiver {} is suspended", receiver.name)));
        }
        let view = View::new(notice, self.origin.url.as_deref());
        match &receiver.channel {
            Channel::Email(email) => mail::deliver(self, notice, &view, email, secret, reached).await,
            Channel::Sms(sms) => sms::deliver(self, &view, sms, secret, reached, now).await,
            Channel::Webhook(webhook) => {
                webhook::deliver(self, notice, &view, webhook, (secret, receiver.key.as_deref()), reached, now).await
            }
        }
    }
}
