//! The files of the chart that are generated.

#[path = "values.rs"]
mod values;

use cluster::{LEASE, rbac};

/// The values, as the chart has them.
const VALUES: &str = include_str!("../../../../charts/evenkeel/values.yaml");

/// Each with its path in the chart.
pub fn files() -> Vec<(String, String)> {
    let definitions = crds::all().into_iter().map(|definition| {
        let name = format!("files/crds/{}_{}.yaml", crds::GROUP, definition.spec.names.plural);
        (name, crds::yaml(&definition))
    });
    let rules = [
        ("files/rules.yaml", rbac::rules()),
        ("files/handed-out.yaml", rbac::handed_out()),
        ("files/webhook-rules.yaml", rbac::webhook_rules()),
        ("files/own-rules.yaml", rbac::own_rules(LEASE)),
        ("files/secret-rules.yaml", rbac::secret_rules()),
        ("files/pod-rules.yaml", rbac::pod_rules()),
    ];
    let readme = [("README.md".to_owned(), values::readme(VALUES))];
    definitions.chain(rules.map(|(name, rules)| (name.to_owned(), rbac::yaml(&rules)))).chain(readme).collect()
}

/// Values that nothing is said about.
#[allow(dead_code, reason = "asked by the test only")]
pub fn wordless() -> Vec<String> {
    values::wordless(VALUES)
}
