//! Of many who have seen the same and change it at once, one does.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::json;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::{World, admin};

/// So many ask at once.
const MANY: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_have_seen_the_same_user_one_changes_them() {
    let (world, path) = (World::new().await, "/api/v1/users/eve");
    let (status, made) = world.post("/api/v1/users", &admin(), &json!({"name": "eve"})).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let seen = world.send(Method::GET, path, Some(&admin()), &[]).await;
    let tag = seen.headers()[header::ETAG].clone();
    let mut asked = JoinSet::new();
    for number in 0..MANY {
        let name = format!("Eve {number}");
        let request = Request::builder().method(Method::PATCH).uri(path).extension(admin()).header(header::IF_MATCH, tag.clone());
        let request = request.header(header::CONTENT_TYPE, "application/merge-patch+json");
        let request = request.body(Body::from(json!({"displayName": name}).to_string())).unwrap();
        let answer = world.router.clone().oneshot(request);
        asked.spawn(async move { (answer.await.unwrap().status(), name) });
    }
    let (won, lost): (Vec<_>, Vec<_>) = asked.join_all().await.into_iter().partition(|(status, _)| *status == StatusCode::OK);
    assert!(won.len() == 1 && lost.iter().all(|(status, _)| *status == StatusCode::PRECONDITION_FAILED), "{won:?} {lost:?}");
    assert_eq!(world.document(path, &admin()).await["displayName"], won[0].1.as_str());
}
