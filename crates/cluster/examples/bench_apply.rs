//! The floor of applying many new objects: the same bodies by one plain client, so many requests at a time, and nothing around it. Called by
//! `cargo xtask bench cluster`, which has the time from the server's audit log.
//!
//! `bench_apply KUBECONFIG NAMESPACE CONCURRENCY [ACCOUNT]`, in the name of that service account of the namespace, and on standard input one object a line, as JSON.

use std::io::BufRead as _;

use futures::StreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ([kubeconfig, namespace, concurrency] | [kubeconfig, namespace, concurrency, _]) = arguments.as_slice() else {
        return Err("KUBECONFIG NAMESPACE CONCURRENCY [ACCOUNT]".into());
    };
    let lines = std::io::stdin().lock().lines();
    let bodies: Vec<Value> = lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<Result<_, Error>>()?;
    let mut config = Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &KubeConfigOptions::default()).await?;
    let account = arguments.get(3).map(|account| format!("system:serviceaccount:{namespace}:{account}"));
    config.auth_info.impersonate.clone_from(&account);
    let resource = ApiResource {
        group: crds::GROUP.into(),
        version: crds::VERSION.into(),
        api_version: format!("{}/{}", crds::GROUP, crds::VERSION),
        kind: crds::Kind::Device.as_str().into(),
        plural: crds::Kind::Device.plural().into(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(Client::try_from(config)?, namespace, &resource);
    let parameters = PatchParams::apply("floor");
    let writes = bodies.iter().map(|body| {
        let (api, parameters) = (&api, &parameters);
        async move {
            let name = body["metadata"]["name"].as_str().unwrap_or_default();
            api.patch(name, parameters, &Patch::Apply(body)).await.map(drop)
        }
    });
    let written: Vec<Result<(), kube::Error>> = futures::stream::iter(writes).buffer_unordered(concurrency.parse()?).collect().await;
    written.into_iter().collect::<Result<(), _>>()?;
    Ok(())
}
