//! Who stands behind whom.

use std::collections::{BTreeMap, BTreeSet};

use axum::Extension;
use axum::extract::State;
use axum::http::Method;
use reconcile::Name;
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::{self, Answer};
use super::asked::Asked;
use super::fleet::Lists;
use super::gate::{Access, Param, Routes, param};
use super::sight::Seen;
use crate::shared::{Shared, read};

/// Devices in one picture: more than anybody sees at once.
const NODES: usize = 5000;

const QUERY: [Param; 2] = [
    param("namespace", "Only devices in this namespace."),
    param("labelSelector", "Only devices with these labels, as Kubernetes writes it: `a=b,c!=d,e in (x,y),f,!g`."),
];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .add(Method::GET, "/topology", Access::Known, topology)
        .says("The devices that one may see, and through which of them others are reached; those that others stand behind come first")
        .takes(&QUERY)
        .answers::<Topology>()
}

/// The picture.
#[derive(Serialize, JsonSchema)]
struct Topology {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Devices that one may see and that are left out, since there are too many.
    hidden: usize,
}

/// A device.
#[derive(Serialize, JsonSchema)]
struct Node {
    namespace: String,
    name: String,
    #[serde(rename = "type")]
    device_type: String,
    /// Its label `site`.
    site: String,
    health: String,
    /// Alerts on it that fire.
    alerts: usize,
}

/// A way.
#[derive(Serialize, JsonSchema)]
struct Edge {
    /// As `NAMESPACE/NAME`.
    parent: String,
    /// As `NAMESPACE/NAME`.
    child: String,
}

async fn topology(
    State(shared): State<Shared>,
    Seen(sight): Seen,
    Extension(lists): Extension<std::sync::Arc<Lists>>,
    asked: Asked,
) -> Answer {
    let selector = asked.selector()?;
    let seen = sight.devices().await;
    let standing = lists.standing(&sight.fleet, &shared).await;
    let fleet = &sight.fleet;
    let wanted = |at: &&u32| {
        let row = &fleet.rows[**at as usize];
        asked.one("namespace").is_none_or(|namespace| row.name.namespace() == namespace) && selector.matches(row.labels())
    };
    let mut shown: Vec<u32> = seen.iter().filter(wanted).copied().collect();
    let total = shown.len();
    if total > NODES {
        let has_children = |at: &u32| sight.desired.children(&fleet.rows[*at as usize].name).next().is_some();
        shown.sort_by_key(|at| (!has_children(at), *at));
        shown.truncate(NODES);
        shown.sort_unstable();
    }
    let names: BTreeSet<&Name> = shown.iter().map(|at| &fleet.rows[*at as usize].name).collect();
    let mut firing: BTreeMap<Name, usize> = BTreeMap::new();
    let alerts = read(&shared, |view| view.alerts.clone());
    for alert in alerts.iter().filter(|alert| alert.counts_as_firing() && names.contains(&alert.subject.device)) {
        *firing.entry(alert.subject.device.clone()).or_default() += 1;
    }
    let node = |at: &u32| {
        let row = &fleet.rows[*at as usize];
        Node {
            namespace: row.name.namespace().to_owned(),
            name: row.name.name().to_owned(),
            device_type: row.device_type(),
            site: row.labels().get("site").cloned().unwrap_or_default(),
            health: standing.of.get(*at as usize).map(|stand| format!("{:?}", stand.health)).unwrap_or_default(),
            alerts: firing.get(&row.name).copied().unwrap_or_default(),
        }
    };
    let edges = shown.iter().flat_map(|at| {
        let row = &fleet.rows[*at as usize];
        let parents = row.device.iter().flat_map(|device| &device.parents).filter(|parent| names.contains(parent));
        parents.map(|parent| Edge { parent: parent.full().to_owned(), child: row.name.full().to_owned() })
    });
    let picture = Topology { nodes: shown.iter().map(node).collect(), edges: edges.collect(), hidden: total - shown.len() };
    answer::document(&asked, &picture)
}
