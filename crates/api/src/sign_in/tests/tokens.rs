//! Tokens: our own, the operator's, and those of Kubernetes.

use futures::FutureExt as _;

use super::*;
use crate::sign_in::Reviewed;

async fn make(world: &World, browser: &Browser, body: &Value) -> (u16, Value) {
    let answer = world.act(browser, Method::POST, "/api/v1/tokens", body).await;
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_what_it_is_for() {
    let world = world(Options::default()).await;
    let ada = world.first().await;
    let (status, all) = make(&world, &ada, &json!({"name": "all"})).await;
    let token = all["token"].as_str().unwrap();
    assert_eq!((status, token.len(), all["prefix"].as_str()), (201, 51, Some(&token[..9])));
    let scope = json!({"name": "some", "scopes": [{"verbs": ["view"], "kinds": ["devices"]}], "expiresIn": "1h"});
    let (_, some) = make(&world, &ada, &scope).await;
    assert_eq!(some["scopes"], json!([{"verbs": ["view"], "kinds": ["Device"]}]));
    let narrow = some["token"].as_str().unwrap();
    // An administrator's may everything, `/v1` too; a narrowed one may not.
    for path in ["/api/v1/users", "/v1/status"] {
        assert_eq!((world.by_token(token, path).await.as_u16(), world.by_token(narrow, path).await.as_u16()), (200, 403), "{path}");
    }
    let shown = world.request(Method::GET, "/api/v1/tokens").bearer_auth(narrow).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!((&shown["total"], &shown["items"][0]["name"]), (&json!(1), &json!("some")), "a narrowed one shows only itself");
    // It is never shown again, and no other one is made by it.
    let (_, list) = world.look(&ada, "/api/v1/tokens").await;
    assert!(list["total"] == 2 && !list.to_string().contains(&token[9..]), "{list}");
    assert!(list["items"][0]["lastUsedAt"].is_string() && list["items"][0]["lastUsedFrom"] == "127.0.0.1", "{list}");
    let more = world.request(Method::POST, "/api/v1/tokens").bearer_auth(token).json(&json!({"name": "more"}));
    assert_eq!(more.send().await.unwrap().status(), 403);
    // With a token no other site's page is feared: browsers don't bring it along.
    let add = world.request(Method::POST, "/api/v1/users").bearer_auth(token).json(&json!({"name": "bob"}));
    assert_eq!(add.send().await.unwrap().status(), 201);
    // Gone at once.
    let id = all["id"].as_str().unwrap();
    assert_eq!(world.act(&ada, Method::DELETE, &format!("/api/v1/tokens/{id}"), &json!({})).await.status(), 204);
    assert_eq!(world.by_token(token, "/api/v1/users").await, 401);
    for wrong in ["ek_", &token[..50], &format!("{}x", &token[..50]), "ek_\u{fe}", "x"] {
        assert_eq!(world.by_token(wrong, "/api/v1/session").await, 401, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_has_their_own_tokens_only() {
    let world = world(Options::default()).await;
    let ada = world.first().await;
    world.add(&ada, "bob", &[]).await;
    let bob = browser(world.sign_in("bob", PASSWORD).await).await;
    let (_, adas) = make(&world, &ada, &json!({"name": "ada's"})).await;
    let (status, bobs) = make(&world, &bob, &json!({"name": "bob's"})).await;
    assert_eq!((status, bobs["user"].as_str()), (201, Some("bob")));
    assert_eq!(make(&world, &bob, &json!({"name": "x", "user": "ada"})).await.0, 403);
    assert_eq!(make(&world, &ada, &json!({"name": "x", "user": "bob"})).await.0, 201);
    assert_eq!(world.look(&bob, "/api/v1/tokens").await.1["total"], 2);
    assert_eq!(world.look(&bob, "/api/v1/tokens?user=ada").await.0, 403);
    assert_eq!(world.look(&ada, "/api/v1/tokens").await.1["total"], 3);
    let of = |token: &Value| format!("/api/v1/tokens/{}", token["id"].as_str().unwrap());
    assert_eq!(world.act(&bob, Method::DELETE, &of(&adas), &json!({})).await.status(), 404, "as if it were not there");
    assert_eq!(world.act(&ada, Method::DELETE, &of(&bobs), &json!({})).await.status(), 204);
    for (body, status) in [
        (json!({"name": "x", "expiresIn": "366d"}), 422),
        (json!({"name": "x", "expiresIn": "1s"}), 422),
        (json!({"name": "x", "expiresIn": "soon"}), 422),
        (json!({"name": ""}), 422),
        (json!({"name": "x", "scopes": [{"verbs": ["dance"]}]}), 422),
        (json!({"name": "x", "scopes": vec![json!({}); 17]}), 422),
        (json!({"name": "x", "token": "ek_mine"}), 400),
    ] {
        assert_eq!(make(&world, &ada, &body).await.0, status, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_token_may_everything_as_ever() {
    let world = world(Options::default()).await;
    for path in ["/v1/status", "/api/v1/users", "/api/v1/session"] {
        assert_eq!(world.by_token(OPERATOR, path).await, 200, "{path}");
    }
    assert_eq!(world.by_token(&OPERATOR[1..], "/v1/status").await, 401);
    for path in ["/v1/status", "/v1"] {
        assert_eq!(world.request(Method::GET, path).send().await.unwrap().status(), 401, "{path}");
    }
    // What is for everybody asks nobody, whatever they show.
    for path in ["/healthz", "/metrics"] {
        assert_eq!(world.by_token("nonsense", path).await, 200, "{path}");
    }
    let odd = world.request(Method::GET, "/api/v1/session").header("authorization", "Basic YTpi").send().await.unwrap();
    assert_eq!(odd.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn kubernetes_says_for_whom_its_tokens_speak() {
    let none = world(Options::default()).await;
    assert_eq!(none.by_token("a.b.c", "/api/v1/session").await, 401);
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    let review: crate::sign_in::Review = Arc::new(move |token| {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            match token.as_str() {
                "a.d.min" => Ok(Some(Reviewed { name: "kubernetes-admin".into(), groups: vec!["system:masters".into()] })),
                "u.s.er" => Ok(Some(Reviewed { name: "jane".into(), groups: vec!["admins".into()] })),
                "a.w.ay" => Err("no API server".into()),
                _ => Ok(None),
            }
        }
        .boxed()
    });
    let world = world(Options { review: Some(review), ..Options::default() }).await;
    for _ in 0..3 {
        assert_eq!(world.by_token("a.d.min", "/api/v1/users").await, 200);
        // That group is ours, and Kubernetes has no say in it.
        assert_eq!(world.by_token("u.s.er", "/api/v1/users").await, 403);
        assert_eq!(world.by_token("x.y.z", "/api/v1/session").await, 401);
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 3, "each is asked about once");
    assert_eq!(world.by_token("a.w.ay", "/api/v1/session").await, 503);
    let answer = world.request(Method::GET, "/api/v1/session").bearer_auth("u.s.er").send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["user"]["kind"], &body["user"]["name"]), (&json!("kubernetes"), &json!("jane")));
}

/// Whoever holds a token of a user who is disabled is told so, and the log that it was shown; of what is made up nobody learns anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_disabled_user_is_refused_in_words() {
    let world = world(Options::default()).await;
    let ada = world.first().await;
    world.add(&ada, "bob", &[]).await;
    let (_, made) = make(&world, &ada, &json!({"name": "ci", "user": "bob"})).await;
    let token = made["token"].as_str().unwrap();
    assert_eq!(world.by_token(token, "/api/v1/session").await, 200);
    assert_eq!(world.act(&ada, Method::PATCH, "/api/v1/users/bob", &json!({"disabled": true})).await.status(), 200);
    let said = async |token: &str| {
        let answer = world.request(Method::GET, "/api/v1/session").bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["detail"].to_string())
    };
    let (status, why) = said(token).await;
    assert!(status == 401 && why.contains("bob, is disabled"), "{why}");
    said(token).await;
    let refused = world.audit().await.into_iter().filter(|line| line == "evenkeel sign-in user/bob refused").count();
    assert_eq!(refused, 1, "once in a minute");
    let other = format!("{}{}", &token[..50], if token.ends_with('A') { 'B' } else { 'A' });
    assert!(!said(&other).await.1.contains("bob"));
}
