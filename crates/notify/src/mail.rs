//! By e-mail.
//!
//! One message, sent to each recipient by itself, so that one address that is refused keeps nobody else from being told.

mod message;
mod smtp;
mod text;

use reconcile::alerting::Notice;
use reconcile::alerting::receiver::Email;

use crate::channels::{Channels, Delivered, Reached, Told};
use crate::error::{Category, Error};
use crate::secret::Secret;
use crate::words::View;

pub(crate) use smtp::Servers;

/// Tries once to tell each recipient that does not have it yet.
pub(crate) async fn deliver(
    channels: &Channels,
    notice: &Notice,
    view: &View,
    email: &Email,
    secret: &Secret,
    reached: &Reached,
) -> Result<Delivered, Error> {
    let (subject, broken) = view.subject(email.subject.as_deref());
    let notes: Vec<String> = broken.into_iter().collect();
    let message = message::compose(notice, view, email, &subject, &notes)?;
    let from = message::address(&email.from)?;
    let mut told = Told::new(reached);
    for to in told.left(&email.to, String::as_str) {
        match channels.mail.send(email, secret, &from, message::address(to)?, &message).await {
            Ok(()) => told.took(to).await,
            Err(error) => {
                // What is not about this recipient, the others would only hear again. That it can't be taken now may be about this one.
                let ends = !matches!(error.category, Category::Recipient | Category::Refused | Category::Server);
                told.missed(error);
                if ends {
                    break;
                }
            }
        }
    }
    told.outcome(notes)
}
