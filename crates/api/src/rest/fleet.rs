//! The fleet as lists need it: in a row, with how each device stands, so that nobody goes through maps for each request.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crds::{Kind, Object};
use reconcile::observed::Health;
use reconcile::{Desired, Device, Name, parents, report};

use super::answer::Rendered;
use super::sight::Sight;
use crate::shared::{Shared, read};

/// How old what is known of all devices at once may be before it is looked up anew.
const FRESH: Duration = Duration::from_secs(1);
/// How old it may be while it is.
const USABLE: Duration = Duration::from_secs(10);
/// Devices that are looked up while the engine waits: about a millisecond.
const AT_ONCE: usize = 1000;
/// Searches whose results are kept, for the next page and for who asks the same: with 100 000 devices each takes 400 kB.
const KEPT: usize = 32;
/// Pages of one search that are kept as they were answered, and bytes of one: 16 MiB of all searches together.
const PAGES: usize = 4;
const PAGE: usize = 128 << 10;

/// A device in the fleet.
pub(super) struct Row {
    pub(super) name: Name,
    /// As it is used, unless it can't be.
    pub(super) device: Option<Arc<Device>>,
    pub(super) object: Arc<Object>,
}

/// All devices in the order of their names.
pub(super) struct Fleet {
    pub(super) desired: Arc<Desired>,
    pub(super) rows: Vec<Row>,
}

impl Fleet {
    pub(super) fn new(desired: Arc<Desired>) -> Self {
        let there = desired.objects.range((Kind::Device, Name::new("", ""))..).take_while(|((kind, _), _)| *kind == Kind::Device);
        let row = |((_, name), object): (&(Kind, Name), &Arc<Object>)| Row {
            name: name.clone(),
            device: desired.devices.get(name).cloned(),
            object: object.clone(),
        };
        let rows = there.map(row).collect();
        Self { desired, rows }
    }
}

impl Row {
    /// Its labels, those of its class among them.
    pub(super) fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        match &self.device {
            Some(device) => &device.labels,
            None => self.object.metadata().labels.as_ref().unwrap_or(&NONE),
        }
    }

    /// Server, network device or storage box.
    pub(super) fn device_type(&self) -> String {
        match (&self.device, &*self.object) {
            (Some(device), _) => format!("{:?}", device.device_type),
            (None, Object::Device(device)) => format!("{:?}", device.spec.device_type),
            _ => String::new(),
        }
    }

    /// Whether a word is in its name, its address, or a label.
    pub(super) fn has(&self, word: &str) -> bool {
        let is_in = |text: &str| contains(text, word);
        let is_at = |device: &Arc<Device>| is_in(&device.address);
        is_in(self.name.name()) || self.device.as_ref().is_some_and(is_at) || self.labels().values().any(|value| is_in(value))
    }
}

/// Whether a text has a word in it that is in small letters.
pub(super) fn contains(text: &str, word: &str) -> bool {
    match text.is_ascii() {
        true => text.as_bytes().windows(word.len().max(1)).any(|part| part.eq_ignore_ascii_case(word.as_bytes())) || word.is_empty(),
        false => text.to_lowercase().contains(word),
    }
}

/// How a device stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) health: Health,
    pub(super) update: &'static str,
}

/// How all devices stand, in the order of the fleet.
pub(super) struct Standing {
    fleet: Arc<Fleet>,
    at: Instant,
    pub(super) of: Vec<Stand>,
    /// What `update` was found out by, so that it is only found out again where that changed.
    by: Vec<u64>,
}

/// A search: what was found, and how often there is what.
#[derive(Default)]
pub(super) struct Found {
    pub(super) rows: Arc<Vec<u32>>,
    pub(super) facets: Mutex<HashMap<String, serde_json::Value>>,
    /// The newest come first.
    pages: Mutex<VecDeque<Page>>,
}

/// A part of what was found, as it was answered.
struct Page {
    query: String,
    /// The newest change of the feed when it was made. Who hears of a later one looks at what is so since then.
    newest: u64,
    at: Instant,
    answer: Rendered,
}

impl Found {
    /// What was answered to this query, if nothing has changed since then. What a device uses is told of by no change, but it may be a
    /// second old.
    pub(super) fn page(&self, query: &str, newest: u64) -> Option<Rendered> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |page: &&Page| page.query == query && page.newest == newest && page.at.elapsed() < FRESH;
        pages.iter().find(is_it).map(|page| page.answer.clone())
    }

    /// Keeps what is answered, unless it is large; `newest` was asked for before anything of it was read.
    pub(super) fn keep(&self, query: String, newest: u64, answer: &Rendered) {
        if query.len() + answer.len() > PAGE {
            return;
        }
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.retain(|page| page.query != query);
        pages.push_front(Page { query, newest, at: Instant::now(), answer: answer.clone() });
        pages.truncate(PAGES);
    }
}

/// What was looked for.
struct Search {
    sight: Arc<Sight>,
    standing: Option<Arc<Standing>>,
    text: String,
    found: Arc<Found>,
}

/// How the fleet stands, and what was searched in it.
#[derive(Default)]
pub(super) struct Lists {
    standing: Mutex<Option<Arc<Standing>>>,
    turn: tokio::sync::Mutex<()>,
    searches: Mutex<VecDeque<Search>>,
}

impl Lists {
    /// How all devices stand, as of a moment ago.
    pub(super) async fn standing(self: &Arc<Self>, fleet: &Arc<Fleet>, shared: &Shared) -> Arc<Standing> {
        let known = self.known(fleet);
        match known {
            Some(known) if known.at.elapsed() < FRESH => return known,
            Some(known) if known.at.elapsed() < USABLE => {
                let (lists, fleet, shared) = (self.clone(), fleet.clone(), shared.clone());
                tokio::spawn(async move { lists.look(&fleet, &shared, false).await });
                return known;
            }
            _ => {}
        }
        self.look(fleet, shared, true).await
    }

    fn known(&self, fleet: &Arc<Fleet>) -> Option<Arc<Standing>> {
        let known = self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        known.filter(|known| Arc::ptr_eq(&known.fleet, fleet))
    }

    /// Looks it up; one at a time, and who comes meanwhile takes what that one found, if they wait for it.
    async fn look(&self, fleet: &Arc<Fleet>, shared: &Shared, waits: bool) -> Arc<Standing> {
        let _turn = match (self.turn.try_lock(), waits) {
            (Ok(turn), _) => turn,
            (Err(_), true) => self.turn.lock().await,
            (Err(_), false) => {
                if let Some(known) = self.known(fleet) {
                    return known;
                }
                self.turn.lock().await
            }
        };
        let before = self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = before.as_ref().filter(|known| Arc::ptr_eq(&known.fleet, fleet) && known.at.elapsed() < FRESH) {
            return known.clone();
        }
        let (fleet, shared) = (fleet.clone(), shared.clone());
        let looked = tokio::task::spawn_blocking(move || Arc::new(stand(&fleet, &shared, before.as_deref()))).await;
        let now = looked.unwrap_or_else(|_| unreachable!("looking up does not panic"));
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.clone());
        now
    }

    /// What a search found before, or finds now.
    pub(super) fn search(
        &self,
        (sight, standing, text): (&Arc<Sight>, Option<&Arc<Standing>>, &str),
        find: impl FnOnce() -> Arc<Vec<u32>>,
    ) -> Arc<Found> {
        let is_same = |search: &Search| {
            let stands = match (&search.standing, standing) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (None, None) => true,
                _ => false,
            };
            stands && search.text == text && Arc::ptr_eq(&search.sight, sight)
        };
        let known = self
            .searches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|search| is_same(search))
            .map(|search| search.found.clone());
        if let Some(found) = known {
            return found;
        }
        let found = Arc::new(Found { rows: find(), ..Found::default() });
        let search = Search { sight: sight.clone(), standing: standing.cloned(), text: text.to_owned(), found: found.clone() };
        let mut searches = self.searches.lock().unwrap_or_else(PoisonError::into_inner);
        searches.retain(|search| Arc::ptr_eq(&search.sight.desired, &sight.desired));
        searches.push_front(search);
        searches.truncate(KEPT);
        found
    }
}

fn stand(fleet: &Arc<Fleet>, shared: &Shared, before: Option<&Standing>) -> Standing {
    let before = before.filter(|before| Arc::ptr_eq(&before.fleet, fleet));
    let at = Instant::now();
    let mut standing =
        Standing { fleet: fleet.clone(), at, of: Vec::with_capacity(fleet.rows.len()), by: Vec::with_capacity(fleet.rows.len()) };
    for rows in fleet.rows.chunks(AT_ONCE) {
        read(shared, |view| {
            for row in rows {
                let place = standing.of.len();
                let (desired, observed) = (&fleet.desired, &view.observed);
                let health = parents::health(desired, observed, &row.name);
                let by = grounds(desired, observed, &row.name);
                let known = before.filter(|before| before.by[place] == by).map(|before| before.of[place].update);
                let update = known.unwrap_or_else(|| report::update(desired, observed, &row.name));
                standing.of.push(Stand { health, update });
                standing.by.push(by);
            }
        });
    }
    standing
}

/// Changes whenever what decides about `update` does: when it was read, and how often the rollouts that concern it changed.
fn grounds(desired: &Desired, observed: &reconcile::Observed, name: &Name) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    if let Some(seen) = observed.devices.get(name) {
        (Arc::as_ptr(seen) as usize, seen.seen_at, seen.items.len()).hash(&mut hasher);
    }
    for unit in desired.selected_by.get(name).into_iter().flatten() {
        observed.rollouts.get(unit).map_or(0, |rollout| rollout.version).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> Rendered {
        Rendered::of(&text).unwrap()
    }

    #[test]
    fn a_page_is_answered_again_until_something_changes() {
        let found = Found::default();
        let has = |query: &str, newest| found.page(query, newest).is_some();
        found.keep("a".into(), 7, &rendered("x"));
        assert!(has("a", 7) && !has("b", 7) && !has("a", 8));
        found.keep("a".into(), 8, &rendered("y"));
        assert!(has("a", 8) && !has("a", 7));
        found.pages.lock().unwrap().iter_mut().for_each(|page| page.at = page.at.checked_sub(FRESH).unwrap());
        assert!(!has("a", 8));
    }

    #[test]
    fn neither_many_pages_nor_large_ones_are_kept() {
        let found = Found::default();
        (0..10).for_each(|number| found.keep(number.to_string(), 1, &rendered("x")));
        assert_eq!(found.pages.lock().unwrap().len(), PAGES);
        assert!(found.page("9", 1).is_some() && found.page("5", 1).is_none());
        found.keep("large".into(), 1, &rendered(&"x".repeat(PAGE)));
        assert!(found.page("large", 1).is_none());
    }
}
