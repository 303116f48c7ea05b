//! What a caller may see, found out once for each caller and each state of the fleet.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use axum::Extension;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use crds::{Kind, Verb};
use reconcile::access::{self, Decision, Request, What};
use reconcile::{Desired, Name, Target};
use regex::Regex;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::caller::Caller;
use super::fleet::Fleet;
pub(super) use crate::explain::HIDDEN;
use crate::problem::Problem;
use crate::shared::{Shared, read};

/// Callers whose sight is kept: with 100 000 devices one takes up to a megabyte. Whoever asks when all places are taken has it made anew.
const CALLERS: usize = 64;

/// What callers may see.
#[derive(Default)]
pub(super) struct Sights {
    sights: Mutex<VecDeque<Arc<Sight>>>,
    /// The fleet of the newest state, which all of them share.
    fleet: Mutex<Option<Arc<Fleet>>>,
}

/// What one caller may see of one state of the fleet.
pub(super) struct Sight {
    pub(super) caller: Caller,
    pub(super) desired: Arc<Desired>,
    governing: Arc<Desired>,
    pub(super) fleet: Arc<Fleet>,
    names: [OnceLock<Vec<Name>>; Kind::ALL.len()],
    devices: OnceCell<Arc<Vec<u32>>>,
    senders: OnceLock<bool>,
}

/// The sight of whoever asks.
pub(super) struct Seen(pub(super) Arc<Sight>);

impl FromRequestParts<Shared> for Seen {
    type Rejection = Box<Problem>;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Self::Rejection> {
        let unknown = || Problem::new(StatusCode::UNAUTHORIZED, "sign in, or send a token");
        let caller = parts.extensions.get::<Caller>().ok_or_else(unknown)?.clone();
        let Extension(sights) = Extension::<Arc<Sights>>::from_request_parts(parts, shared)
            .await
            .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.body_text()))?;
        Ok(Self(sights.of(&caller, shared)))
    }
}

/// The word of a kind in `kind/NAME`.
fn word_of(kind: Kind) -> String {
    kind.as_str().to_lowercase()
}

impl Sights {
    pub(super) fn of(&self, caller: &Caller, shared: &Shared) -> Arc<Sight> {
        let (desired, governing) = read(shared, |view| (view.desired.clone(), view.governing().clone()));
        let mut sights = self.sights.lock().unwrap_or_else(PoisonError::into_inner);
        sights.retain(|sight| Arc::ptr_eq(&sight.desired, &desired) && Arc::ptr_eq(&sight.governing, &governing));
        if let Some(at) = sights.iter().position(|sight| sight.is_of(caller)) {
            let found = sights.remove(at).unwrap_or_else(|| unreachable!("it was just found"));
            sights.push_front(found.clone());
            return found;
        }
        let fleet = self.fleet(&desired);
        let sight = Arc::new(Sight::new(caller.clone(), desired, governing, fleet));
        sights.push_front(sight.clone());
        sights.truncate(CALLERS);
        sight
    }

    fn fleet(&self, desired: &Arc<Desired>) -> Arc<Fleet> {
        let mut fleet = self.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        match &*fleet {
            Some(known) if Arc::ptr_eq(&known.desired, desired) => known.clone(),
            _ => fleet.insert(Arc::new(Fleet::new(desired.clone()))).clone(),
        }
    }
}

impl Sight {
    pub(super) fn new(caller: Caller, desired: Arc<Desired>, governing: Arc<Desired>, fleet: Arc<Fleet>) -> Self {
        Self { caller, desired, governing, fleet, names: Default::default(), devices: OnceCell::new(), senders: OnceLock::new() }
    }

    fn is_of(&self, caller: &Caller) -> bool {
        self.caller.who == caller.who && self.caller.is_admin == caller.is_admin && self.caller.scopes == caller.scopes
    }

    /// Whether nothing is hidden from them.
    pub(super) fn is_all(&self) -> bool {
        self.caller.is_admin && self.caller.scopes.is_none()
    }

    /// Whether they may do something to it.
    pub(super) fn may(&self, verb: Verb, kind: Kind, namespace: &str, what: What<'_>) -> Result<(), String> {
        self.caller.may_by(&self.governing, &self.desired, (verb, kind), namespace, what)
    }

    /// Whose Roles decide.
    pub(super) fn governing(&self) -> &Desired {
        &self.governing
    }

    /// The entry of a Role by which they may.
    pub(super) fn allowed_by(&self, verb: Verb, kind: Kind, namespace: &str, what: What<'_>) -> Option<(Name, usize)> {
        let request = Request { who: &self.caller.who, verb, kind, namespace, what };
        match access::decide(&self.governing, &self.desired, &request) {
            Decision::Allowed { role, entry } => Some((role, entry)),
            Decision::Denied(_) => None,
        }
    }

    /// Whether they may see all objects of a kind in a namespace, also those that are not there.
    pub(super) fn sees_every(&self, kind: Kind, namespace: &str) -> bool {
        self.is_all() || self.may(Verb::View, kind, namespace, What::Any).is_ok()
    }

    /// Whether they may do something to all objects of a kind in every namespace; if not, why.
    pub(super) fn everywhere(&self, verb: Verb, kind: Kind) -> Result<(), String> {
        self.caller.may_everywhere(&self.governing, &self.desired, (verb, kind)).map_err(|why| self.masked(&why))
    }

    /// Whether they may see what senders send that are no device: that is for who may see every device there is.
    pub(super) fn sees_senders(&self) -> bool {
        *self.senders.get_or_init(|| self.is_all() || self.everywhere(Verb::View, Kind::Device).is_ok())
    }

    /// Whether they may see it; what is not there may be seen by whoever may see whichever.
    pub(super) fn sees(&self, kind: Kind, name: &Name) -> bool {
        if self.is_all() {
            return true;
        }
        if kind == Kind::Device && self.desired.devices.contains_key(name) {
            return match self.devices.get() {
                Some(rows) => rows.binary_search_by(|row| self.fleet.rows[*row as usize].name.cmp(name)).is_ok(),
                None => self.may(Verb::View, kind, name.namespace(), What::On(name)).is_ok(),
            };
        }
        let object = self.desired.objects.get(&(kind, name.clone()));
        self.may(Verb::View, kind, name.namespace(), object.map_or(What::Any, |object| What::Object(object))).is_ok()
    }

    /// Whether they may see a device.
    pub(super) fn sees_device(&self, name: &Name) -> bool {
        self.sees(Kind::Device, name)
    }

    /// A device that is there for them.
    pub(super) fn device(&self, name: &Name) -> Result<(), Box<Problem>> {
        let is_there = self.desired.objects.contains_key(&(Kind::Device, name.clone())) && self.sees_device(name);
        if is_there { Ok(()) } else { Err(Problem::missing(format!("there is no device {name}"))) }
    }

    /// The devices that they may see, as places in the fleet, in the order of their names. What this takes in a large fleet it takes once,
    /// and not on the threads that answer everybody.
    pub(super) async fn devices(self: &Arc<Self>) -> Arc<Vec<u32>> {
        let find = || async {
            let sight = self.clone();
            let found = tokio::task::spawn_blocking(move || {
                let rows = sight.fleet.rows.iter().enumerate().filter(|(_, row)| sight.sees_device(&row.name));
                rows.filter_map(|(at, _)| u32::try_from(at).ok()).collect()
            });
            Arc::new(found.await.unwrap_or_default())
        };
        self.devices.get_or_init(find).await.clone()
    }

    /// The objects of a kind that they may see, in the order of their names; also those that were never good, if they may see whichever.
    pub(super) fn names(&self, kind: Kind) -> &[Name] {
        let at = Kind::ALL.iter().position(|other| *other == kind).unwrap_or_default();
        self.names[at].get_or_init(|| {
            let from = (kind, Name::new("", ""));
            let there = self.desired.objects.range(from..).take_while(|((other, _), _)| *other == kind).map(|((_, name), _)| name);
            let stalled = self.desired.stalled.keys().filter(|target| target.kind() == kind).map(Target::name);
            let mut names: Vec<Name> = there.chain(stalled).filter(|name| self.sees(kind, name)).cloned().collect();
            names.sort();
            names.dedup();
            names
        })
    }

    /// A text without the objects in it that they may not see: what is named as `device/NAME` or `silence/NAME`, each word that is the name
    /// of a device, and what is said of an alert as `alert NAME is firing`.
    pub(super) fn masked(&self, text: &str) -> String {
        static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("[a-z0-9](?:[-a-z0-9./]*[a-z0-9])?").ok());
        if self.is_all() {
            return text.to_owned();
        }
        // Without the pattern nothing is told at all.
        let Some(pattern) = &*NAME else { return String::new() };
        let shown = |found: &regex::Captures<'_>| {
            let word = &found[0];
            if let Some(target) = Target::parse(word)
                .filter(|target| target.kind() != Kind::Device && word.starts_with(&format!("{}/", word_of(target.kind()))))
                && !self.sees(target.kind(), target.name())
            {
                return format!("{}/{HIDDEN}", word_of(target.kind()));
            }
            let (is_named, name) = word.strip_prefix("device/").map_or((false, word), |name| (true, name));
            let name = Name::parse(name);
            let is_device = is_named || self.desired.devices.contains_key(&name);
            match (is_device && !self.sees_device(&name), is_named) {
                (true, true) => format!("device/{HIDDEN}"),
                (true, false) => HIDDEN.to_owned(),
                (false, _) => self.masked_path(word),
            }
        };
        let text = crate::explain::without_alerts(text, &|kind, name| self.sees(kind, name));
        pattern.replace_all(&text, shown).into_owned()
    }

    /// A path, or a part of an address, without the names in it that they may not see.
    fn masked_path(&self, word: &str) -> String {
        let is_hidden = |name: &str| {
            let name = Name::parse(name);
            self.desired.devices.contains_key(&name) && !self.sees_device(&name)
        };
        let (mut shown, mut rest) = (Vec::new(), word);
        while !rest.is_empty() {
            let (part, behind) = rest.split_once('/').unwrap_or((rest, ""));
            let (next, behind_next) = behind.split_once('/').unwrap_or((behind, ""));
            if !next.is_empty() && is_hidden(&format!("{part}/{next}")) {
                shown.push(HIDDEN.to_owned());
                rest = behind_next;
                continue;
            }
            let host = part.split('.').next().unwrap_or_default();
            shown.push(match (is_hidden(part), is_hidden(host)) {
                (true, _) => HIDDEN.to_owned(),
                (false, true) => format!("{HIDDEN}{}", &part[host.len()..]),
                (false, false) => part.to_owned(),
            });
            rest = behind;
        }
        shown.join("/")
    }

    /// The same for every text in a document.
    pub(super) fn mask(&self, value: &mut Value) {
        if self.is_all() {
            return;
        }
        match value {
            Value::String(text) => *text = self.masked(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.mask(field)),
            _ => {}
        }
    }
}
