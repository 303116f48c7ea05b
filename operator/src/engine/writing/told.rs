//! What became of a commit.

use std::time::Duration;

use api::change::{Author, CommitState, CommitView};
use reconcile::Key;
use reconcile::limits::TooFar;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Ground, Place};

/// How long one waits for a source that is being looked at.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the loop knows of what waits.
pub(in crate::engine) struct Held {
    /// The commit that waits, and why.
    pub(in crate::engine) waits: Option<(String, TooFar)>,
    pub(in crate::engine) in_force: String,
}

/// Answers beside the loop.
pub(in crate::engine) async fn told(ground: Ground, held: Held, id: String, reply: oneshot::Sender<Result<Value, String>>) {
    let answer = look(&ground, &held, &id).await;
    let _ = reply.send(answer.and_then(|view| serde_json::to_value(view).map_err(|error| error.to_string())));
}

/// Where an object stands in what was read last. In a cluster it stands in no file that is known here.
pub(in crate::engine) async fn origin(ground: Ground, key: Key, reply: oneshot::Sender<Result<Value, String>>) {
    let folder = match &ground.writing.place {
        Place::Git(source) => source.path().to_owned(),
        Place::Folder(_) => String::new(),
        Place::Cluster(_) | Place::Nowhere => {
            let _ = reply.send(Ok(Value::Null));
            return;
        }
    };
    let found = match tokio::time::timeout(PATIENCE, ground.read()).await {
        Ok(Ok(read)) => {
            let reader = read.reader().clone();
            // The file is read once more for the line.
            let look = move || {
                let file = reader.home(&key)?;
                let file = if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") };
                Some((file, reader.line(&key)))
            };
            tokio::task::spawn_blocking(look).await.map_err(|error| error.to_string())
        }
        Ok(Err(_)) | Err(_) => Err(api::view::BUSY.to_owned()),
    };
    let _ = reply.send(found.and_then(|found| serde_json::to_value(found).map_err(|error| error.to_string())));
}

async fn look(ground: &Ground, held: &Held, id: &str) -> Result<Option<CommitView>, String> {
    let Place::Git(source) = &ground.writing.place else { return Ok(None) };
    let in_force = Some(held.in_force.as_str()).filter(|commit| !commit.is_empty());
    let Some(told) = source.told(id, in_force).await.map_err(|error| error.to_string())? else { return Ok(None) };
    let too_far = held.waits.as_ref().filter(|(commit, _)| *commit == told.commit);
    let (state, detail) = match (told.is_in, told.commit == held.in_force, too_far) {
        (_, true, _) => (CommitState::InForce, None),
        (true, false, _) => (CommitState::Superseded, Some(format!("commit {} is in force, which contains it", held.in_force))),
        (_, _, Some((_, TooFar { id, reason, .. }))) => {
            (CommitState::Refused, Some(format!("it {reason}: it comes in force once somebody lets it through, by the id {id}")))
        }
        _ => match ground.read().await {
            Ok(read) if read.refused() == Some(id) => {
                (CommitState::Refused, Some("it is not signed as it has to be, or has too much in it: see the source's problem".into()))
            }
            _ => (CommitState::Waiting, Some("it is not on the branch that is followed, or has not been read yet".into())),
        },
    };
    let author = Author { name: told.author.name, email: told.author.email };
    Ok(Some(CommitView { commit: told.commit, author, message: told.message, at: told.at, state, detail }))
}
