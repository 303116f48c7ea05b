//! The files of the chart that are generated.

use cluster::{LEASE, rbac};

/// Each with its path in the chart.
pub fn files() -> Vec<(String, String)> {
    let definitions = crds::all().into_iter().map(|definition| {
        let name = format!("files/crds/{}_{}.yaml", crds::GROUP, definition.spec.names.plural);
        (name, crds::yaml(&definition))
    });
    let rules = [
        ("files/rules.yaml", rbac::rules()),
        ("files/handed-out.yaml", rbac::handed_out()),
        ("files/own-rules.yaml", rbac::own_rules(LEASE)),
    ];
    definitions.chain(rules.map(|(name, rules)| (name.to_owned(), rbac::yaml(&rules)))).collect()
}
