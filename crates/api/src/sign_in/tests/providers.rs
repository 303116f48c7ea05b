//! Sign-in by a provider, and what must not let anybody in.

use std::collections::BTreeSet;

use super::provider::{CLIENT, Key, Provider, SECRET, start};
use super::*;
use crate::sign_in::oidc;

/// A browser's way to the provider and back.
struct Way {
    /// The cookie of the sign-in that is under way.
    cookie: String,
    /// Where the provider sent the browser.
    back: String,
}

async fn with(provider: &Provider, change: impl FnOnce(&mut oidc::Provider)) -> World {
    let mut options = oidc::Provider {
        issuer: provider.issuer.clone(),
        client_id: CLIENT.into(),
        client_secret: Zeroizing::new(SECRET.into()),
        scopes: vec!["email".into(), "groups".into()],
        user_claim: "email".into(),
        groups_claim: "groups".into(),
        allowed_groups: BTreeSet::new(),
        admins_group: None,
        vouched_for: oidc::VOUCHED,
        title: "Test".into(),
    };
    change(&mut options);
    // The address is none of ours; the browser here goes where it really is.
    let external = Some("http://fleet.example.com".parse().unwrap());
    world(Options { provider: Some(options), external_url: external, ..Options::default() }).await
}

async fn there(world: &World, next: &str) -> Way {
    let answer = world.request(Method::GET, &format!("/api/v1/oidc/login?next={next}")).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("evenkeel-oidc=") && cookie.contains("; HttpOnly; SameSite=Lax; Max-Age=600"), "{cookie}");
    let to = answer.headers()["location"].to_str().unwrap().to_owned();
    let answer = world.http.get(to).send().await.unwrap();
    let back: reqwest::Url = answer.headers()["location"].to_str().unwrap().parse().unwrap();
    assert_eq!((back.host_str(), back.path()), (Some("fleet.example.com"), "/api/v1/oidc/callback"));
    let back = format!("{}?{}", back.path(), back.query().unwrap());
    Way { cookie: cookie.split(';').next().unwrap().to_owned(), back }
}

/// Where the browser goes in the end, and whether it has a session then.
async fn back(world: &World, way: &Way) -> (String, Browser) {
    let answer = world.request(Method::GET, &way.back).header("cookie", &way.cookie).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    let to = answer.headers()["location"].to_str().unwrap().to_owned();
    (to, browser(answer).await)
}

async fn come(world: &World) -> (String, Browser) {
    let way = there(world, "/devices").await;
    back(world, &way).await
}

async fn refused(world: &World, why: &str) {
    let (to, browser) = come(world).await;
    assert!(to.starts_with("/sign-in#problem=") && browser.cookie.is_none(), "{why}: {to}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_provider_vouches_for_comes_in() {
    for key in [Key::rsa(), Key::ec()] {
        let provider = start(key).await;
        let world = with(&provider, |options| options.admins_group = Some("platform".into())).await;
        let (to, bob) = come(&world).await;
        assert_eq!(to, "/devices");
        let (_, session) = world.look(&bob, "/api/v1/session").await;
        let user = &session["user"];
        // The provider's own `admins` means nothing here.
        assert_eq!((&user["name"], &user["groups"], &user["isAdmin"]), (&json!("bob@example.com"), &json!(["web"]), &json!(false)));
        assert_eq!((&user["kind"], &user["displayName"]), (&json!("oidc"), &json!("Bob")));
        assert_eq!(session["providers"][1], json!({"id": "oidc", "title": "Test", "url": "/api/v1/oidc/login"}));
        // What it says the next time counts from then on.
        provider.says.lock().unwrap().claims = json!({"groups": ["platform"]});
        let (_, bob) = come(&world).await;
        assert_eq!(world.look(&bob, "/api/v1/users").await.0, 200);
        let (_, list) = world.look(&bob, "/api/v1/users").await;
        assert_eq!((&list["total"], &list["items"][0]["groups"]), (&json!(1), &json!(["admins", "platform"])));
        assert!(world.audit().await.contains(&"bob@example.com sign-in user/bob@example.com done".to_owned()));
        // No password lets a provider's user in.
        assert_eq!(world.sign_in("bob@example.com", "").await.status(), 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_says_has_to_be_right() {
    let provider = start(Key::rsa()).await;
    let world = with(&provider, |_| ()).await;
    for (claims, why) in [
        (json!({"iss": "https://evil.example.com"}), "another issuer"),
        (json!({"aud": "somebody-else"}), "another audience"),
        (json!({"aud": [CLIENT, "somebody-else"]}), "one more audience"),
        (json!({"nonce": "another"}), "another nonce"),
        (json!({"nonce": null}), "no nonce"),
        (json!({"exp": 1_000_000_000}), "expired"),
        (json!({"email_verified": false}), "an address that is not verified"),
        (json!({"email_verified": null}), "an address of which that is not said"),
        (json!({"email": "system:masters"}), "a name of Kubernetes"),
        (json!({"email": ""}), "no name"),
        (json!({"groups": (0..300).map(|number| number.to_string()).collect::<Vec<_>>()}), "too many groups"),
    ] {
        provider.says.lock().unwrap().claims = claims;
        refused(&world, why).await;
    }
    provider.says.lock().unwrap().claims = json!({});
    for algorithm in ["none", "HS256"] {
        provider.says.lock().unwrap().algorithm = Some(algorithm);
        refused(&world, algorithm).await;
    }
    provider.says.lock().unwrap().algorithm = None;
    // Signed by another key than the one that is shown, under its name.
    let shown = {
        let mut says = provider.says.lock().unwrap();
        std::mem::replace(&mut says.key, Key::rsa())
    };
    refused(&world, "another key").await;
    provider.says.lock().unwrap().key = shown;
    assert_eq!(come(&world).await.0, "/devices", "and all of it right");
    let audit = world.audit().await;
    assert_eq!(audit.iter().filter(|line| line.contains("refused")).count(), 1, "once a minute: {audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_calls_itself_otherwise_is_another_one() {
    let provider = start(Key::rsa()).await;
    provider.says.lock().unwrap().issuer = Some("https://evil.example.com".into());
    let world = with(&provider, |_| ()).await;
    let answer = world.request(Method::GET, "/api/v1/oidc/login").send().await.unwrap();
    assert!(answer.headers()["location"].to_str().unwrap().starts_with("/sign-in#problem="));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_keys_change() {
    let provider = start(Key::rsa()).await;
    let world = with(&provider, |_| ()).await;
    assert_eq!(come(&world).await.0, "/devices");
    {
        let mut says = provider.says.lock().unwrap();
        assert_eq!(says.asked_for_keys, 1, "they are remembered");
        (says.key, says.key_id) = (Key::ec(), "two".into());
    }
    assert!(come(&world).await.0.starts_with("/sign-in#problem="), "it was asked a moment ago: nobody makes us ask all the time");
    assert_eq!(provider.says.lock().unwrap().asked_for_keys, 1);
    world.sign_in.oidc().unwrap().grow_older(std::time::Duration::from_secs(31));
    assert_eq!(come(&world).await.0, "/devices", "an unknown key has them fetched anew");
    assert_eq!(provider.says.lock().unwrap().asked_for_keys, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_counts_once_and_in_the_browser_that_began() {
    let provider = start(Key::rsa()).await;
    let world = with(&provider, |_| ()).await;
    let is_refused = |to: &str| to.starts_with("/sign-in#problem=");
    // Another browser: somebody was given a link that ends in another's session.
    let (mine, theirs) = (there(&world, "/").await, there(&world, "/").await);
    let mixed = Way { cookie: theirs.cookie.clone(), back: mine.back.clone() };
    assert!(is_refused(&back(&world, &mixed).await.0));
    assert!(is_refused(&back(&world, &mine).await.0), "it is used up now");
    // Replayed, with its state and code as they were.
    assert_eq!(back(&world, &theirs).await.0, "/");
    let (to, browser) = back(&world, &theirs).await;
    assert!(is_refused(&to) && browser.cookie.is_none());
    // A code that was used already, under a state that is right.
    let (used, fresh) = (there(&world, "/").await, there(&world, "/").await);
    let code = used.back.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    assert_eq!(back(&world, &used).await.0, "/");
    let state = fresh.back.split("state=").nth(1).unwrap().to_owned();
    let again = Way { cookie: fresh.cookie, back: format!("/api/v1/oidc/callback?code={code}&state={state}") };
    assert!(is_refused(&back(&world, &again).await.0));
    for query in ["", "?state=x", "?code=x", "?error=access_denied&state=x"] {
        let odd = Way { cookie: String::new(), back: format!("/api/v1/oidc/callback{query}") };
        assert!(is_refused(&back(&world, &odd).await.0), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_elsewhere_and_who_may_not_come_does_not() {
    let provider = start(Key::rsa()).await;
    let world = with(&provider, |options| options.allowed_groups = BTreeSet::from(["web".into()])).await;
    for next in ["https:%2F%2Fevil.example.com", "%2F%2Fevil.example.com", "%2F%5Cevil.example.com", "%2Fapi%2Fv1%2Foidc%2Flogin"] {
        let way = there(&world, next).await;
        assert_eq!(back(&world, &way).await.0, "/", "{next}");
    }
    provider.says.lock().unwrap().claims = json!({"groups": ["guests"]});
    refused(&world, "another group").await;
    provider.says.lock().unwrap().claims = json!({});
    // Disabled here: the provider may say what it wants.
    let change = store::users::UserChange { disabled: Some(true), ..store::users::UserChange::default() };
    let said = crate::sign_in::audit::entry(reconcile::record::Actor::user("ada"), "change", "user/bob@example.com", "");
    assert!(world.store.change_user("bob@example.com", &change, said).await.unwrap());
    refused(&world, "disabled").await;
    // Without a provider there is nowhere to go.
    let none = super::world(Options::default()).await;
    assert_eq!(none.request(Method::GET, "/api/v1/oidc/login").send().await.unwrap().status(), 404);
}

/// A token of whom the provider vouched for long ago does not count until they come again; their session is short anyway.
#[tokio::test(flavor = "multi_thread")]
async fn what_it_said_long_ago_does_not_count_for_tokens() {
    let provider = start(Key::ec()).await;
    for (vouched_for, status) in [(oidc::VOUCHED, 200), (jiff::SignedDuration::ZERO, 401)] {
        let world = with(&provider, |options| options.vouched_for = vouched_for).await;
        let (_, mut bob) = come(&world).await;
        bob.csrf = world.look(&bob, "/api/v1/session").await.1["csrf"].as_str().unwrap().to_owned();
        let made = world.act(&bob, Method::POST, "/api/v1/tokens", &json!({"name": "ci"})).await.json::<Value>().await.unwrap();
        assert!(made["token"].is_string(), "{made}");
        let answer = world.request(Method::GET, "/api/v1/session").bearer_auth(made["token"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(world.look(&bob, "/api/v1/tokens").await.0, 200, "a session goes on");
    }
}
