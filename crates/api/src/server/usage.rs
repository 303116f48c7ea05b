//! What devices use: the last values, and what was stored of them.

use axum::Json;
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use reconcile::{Name, Series};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{PAGE, Page, list};
use crate::problem::problem;
use crate::shared::{Shared, read};

/// Seconds that are shown where nothing is said.
const SINCE: i64 = 3600;

/// The last values of all devices.
pub(super) async fn all(State(shared): State<Shared>, Query(page): Query<Page>) -> Response {
    let (usages, desired) = read(&shared, |view| (view.usages.clone(), view.desired.clone()));
    let wanted = page.labels();
    let after = page.after.as_deref().map(Name::parse);
    let mut items: Vec<Value> = Vec::new();
    usages.each(after.as_ref(), |name, last| {
        let Some(device) = desired.devices.get(name) else { return true };
        if wanted.iter().all(|(key, value)| device.labels.get(*key).is_some_and(|found| found == value)) {
            let mut item = serde_json::to_value(last).unwrap_or_default();
            item["name"] = json!(name);
            items.push(item);
        }
        items.len() < PAGE
    });
    list(&items)
}

/// The last values of one device.
pub(super) async fn one(State(shared): State<Shared>, UrlPath((namespace, name)): UrlPath<(String, String)>) -> Response {
    let name = Name::new(&namespace, &name);
    match crate::rest::objects::last_of(&shared, &name) {
        Ok(last) => Json(last).into_response(),
        Err(why) => why.into_response(),
    }
}

/// Which samples.
#[derive(Debug, Deserialize)]
pub(super) struct Range {
    /// Such as `disks[/].ratio`; without one, the series that there are.
    series: Option<String>,
    /// Seconds back from now.
    since: Option<i64>,
    /// At most so many points.
    points: Option<usize>,
}

/// What was stored of one device.
pub(super) async fn samples(
    State(shared): State<Shared>,
    UrlPath((namespace, name)): UrlPath<(String, String)>,
    Query(range): Query<Range>,
) -> Response {
    let name = Name::new(&namespace, &name);
    let Some(text) = &range.series else {
        return super::answer(shared.store.series(&name).await);
    };
    let series: Series = match text.parse() {
        Ok(series) => series,
        Err(error) => return problem(StatusCode::BAD_REQUEST, format!("{error}")),
    };
    let now = Timestamp::now().as_second();
    let since = range.since.unwrap_or(SINCE).clamp(1, store::HOURS_KEPT);
    let most = range.points.unwrap_or(store::POINTS).min(store::POINTS);
    let samples = read(&shared, |view| view.usages.samples().cloned());
    let points = match samples {
        Some(samples) => samples.read(&name, &series, now - since, now, most, now).await,
        None => shared.store.samples(&name, &series, now - since, now, most, now).await,
    };
    match points {
        Ok(points) => Json(json!({"series": series, "from": now - since, "to": now, "points": points})).into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reconcile::{Desired, Metric, Usage};
    use store::{Options, Samples, Store};
    use tokio_util::sync::CancellationToken;

    use super::super::{Listen, bind, serve};
    use super::*;
    use crate::client::{Client, SOCKET};
    use crate::sign_in::SignIn;
    use crate::view::{SharedView, View};

    fn device(name: &str, site: &str) -> reconcile::Device {
        reconcile::Device {
            name: Name::parse(name),
            device_type: crds::DeviceType::Server,
            address: "192.0.2.1".into(),
            labels: std::sync::Arc::new([("site".to_owned(), site.to_owned())].into()),
            parents: Vec::new(),
            access: reconcile::Access::None,
            probes: Vec::new(),
            metrics: None,
            logs: Default::default(),
            maintenance: Vec::new(),
            suspend: false,
            vars: Default::default(),
        }
    }

    #[tokio::test]
    async fn what_devices_use_is_asked_for() {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&Options { data: data.path().to_owned(), url: None }).await.unwrap());
        let devices = [device("web-1", "ams1"), device("web-2", "fra1"), device("web-3", "ams1")].map(Arc::new);
        let devices = devices.into_iter().map(|device| (device.name.clone(), device)).collect();
        let view = SharedView::new(View { desired: Arc::new(Desired { devices, ..Desired::default() }), ..View::default() }.into());
        let usages = view.read().unwrap().usages.clone();
        usages.store_in(Arc::new(Samples::new(store.clone())));
        for (name, load) in [("web-1", 1.0), ("web-2", 2.0), ("gone", 3.0)] {
            let usage = Usage { at: Timestamp::now(), values: [(Series::of(Metric::LoadOne), load)].into() };
            usages.took(&Name::parse(name), &Arc::new(usage), None);
        }
        usages.failed(&Name::parse("web-3"), Timestamp::now(), "no answer".into());
        let (requests, _inbox) = tokio::sync::mpsc::channel(1);
        let bound = bind(Listen::Unix(data.path().join(SOCKET))).await.unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(Shared { view, requests, store, hooks: None, sign_in: SignIn::default() }, bound, stop.clone()));
        let client = Client::local(data.path()).unwrap();

        let names = async |path: &str| -> Vec<String> {
            client.list(path).await.unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("/v1/usage").await, ["web-1", "web-2", "web-3"], "not what is not in force");
        assert_eq!(names("/v1/usage?selector=site%3Dams1").await, ["web-1", "web-3"]);
        assert_eq!(names("/v1/usage?after=web-1").await, ["web-2", "web-3"]);
        let one = client.get("/v1/usage/default/web-2").await.unwrap();
        assert_eq!(one["usage"]["values"], json!({"load.one": 2.0}));
        assert_eq!(client.get("/v1/usage/default/web-3").await.unwrap()["problem"], "no answer");
        let refused = async |path: &str| client.get(path).await.unwrap_err().to_string();
        assert_eq!(refused("/v1/usage/default/nobody").await, "there is no device/nobody");
        let samples = client.get("/v1/samples/default/web-1?series=load.one&since=60").await.unwrap();
        assert_eq!((samples["points"].as_array().unwrap().len(), &samples["points"][0]["mean"]), (1, &json!(1.0)));
        assert_eq!(client.get("/v1/samples/default/web-1?series=cpu.ratio").await.unwrap()["points"], json!([]));
        assert!(refused("/v1/samples/default/web-1?series=everything").await.starts_with("`everything` is no series"));
        let explained = client.get("/api/v1/devices/default/web-3/explain").await.unwrap()["text"].to_string();
        assert!(explained.contains("  usage is not known since ") && explained.contains(": no answer\\n"), "{explained}");
        stop.cancel();
        let _ = server.await;
    }
}
