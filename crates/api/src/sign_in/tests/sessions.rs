//! Passwords and sessions.

use super::*;
use crate::sign_in::lockout;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_comes_by_a_token_that_counts_once() {
    let world = world(Options::default()).await;
    let nobody = Browser::default();
    let (status, body) = world.look(&nobody, "/api/v1/session").await;
    assert_eq!((status.as_u16(), body["signedIn"].as_bool(), body["needsFirstUser"].as_bool()), (200, Some(false), Some(true)));
    assert!(body.get("user").is_none() && body.get("source").is_none() && body.get("csrf").is_none(), "{body}");

    let old = world.sign_in.first_token();
    let token = world.sign_in.first_token();
    let first = |token: &str, password: &str| json!({"token": token, "user": "ada", "password": password});
    for (body, status) in [
        (first("guess", PASSWORD), 401),
        (first(&old, PASSWORD), 401),
        (first(&token, "short"), 422),
        (json!({"token": token, "user": "Ada", "password": PASSWORD}), 422),
        (json!({"token": token, "user": "ada", "password": PASSWORD, "isAdmin": true}), 400),
    ] {
        let answer = world.post("/api/v1/session/first", &body).await;
        let (got, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(got, status, "{text}");
        assert!(!text.contains(PASSWORD) && !text.contains(&token), "{text}");
    }
    let answer = world.post("/api/v1/session/first", &first(&token, PASSWORD)).await;
    assert_eq!(answer.status(), 201);
    let ada = browser(answer).await;
    let (_, body) = world.look(&ada, "/api/v1/session").await;
    assert_eq!(body["user"]["name"], "ada");
    assert_eq!((body["user"]["isAdmin"].as_bool(), body["csrf"].as_str()), (Some(true), Some(ada.csrf.as_str())));
    assert_eq!(world.post("/api/v1/session/first", &first(&token, PASSWORD)).await.status(), 401, "it counts once");
    // One that is printed while there are users already makes no other one.
    let token = world.sign_in.first_token();
    let second = json!({"token": token, "user": "eve", "password": PASSWORD});
    assert_eq!(world.post("/api/v1/session/first", &second).await.status(), 409);
    assert!(world.audit().await.contains(&"ada add user/ada done".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_gets_a_session_of_their_own() {
    let world = world(Options::default()).await;
    let ada = world.first().await;
    // A cookie that somebody else put there becomes nobody's session (fixation).
    let fixed = Browser { cookie: Some("evenkeel=chosen-by-somebody-else".into()), csrf: String::new() };
    let body = json!({"user": "ada", "password": PASSWORD});
    let answer = world.as_browser(&fixed, Method::POST, "/api/v1/session").json(&body).send().await.unwrap();
    let header = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(header.contains("; HttpOnly; SameSite=Strict") && header.contains("; Path=/;"), "{header}");
    let fresh = browser(answer).await;
    assert_ne!(fresh.cookie, fixed.cookie);
    assert_eq!(world.look(&fixed, "/api/v1/session").await.1["signedIn"], false);
    // Who signs in again in the same browser has another id, and the former counts no more.
    let answer = world.as_browser(&ada, Method::POST, "/api/v1/session").json(&body).send().await.unwrap();
    let again = browser(answer).await;
    assert_ne!(again.cookie, ada.cookie);
    assert_eq!(world.look(&ada, "/api/v1/users").await.0, 401, "the former id");

    // Everywhere else, and here.
    assert_eq!(world.act(&again, Method::DELETE, "/api/v1/session/others", &json!({})).await.status(), 204);
    assert_eq!(world.look(&fresh, "/api/v1/users").await.0, 401, "at once");
    assert_eq!(world.look(&again, "/api/v1/users").await.0, 200);
    let out = world.act(&again, Method::DELETE, "/api/v1/session", &json!({})).await;
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(world.look(&again, "/api/v1/users").await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_can_do_nothing() {
    let external: reqwest::Url = "https://fleet.example.com".parse().unwrap();
    for options in [Options::default(), Options { external_url: Some(external), ..Options::default() }] {
        let is_secure = options.external_url.is_some();
        let world = world(options).await;
        let token = world.sign_in.first_token();
        let body = json!({"token": token, "user": "ada", "password": PASSWORD});
        let answer = world.post("/api/v1/session/first", &body).await;
        let header = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert_eq!(header.starts_with("__Host-evenkeel=") && header.ends_with("; Secure"), is_secure, "{header}");
        let ada = Browser { cookie: header.split(';').next().map(str::to_owned), csrf: browser(answer).await.csrf };
        let new = json!({"name": "bob"});
        let send = |headers: &[(&'static str, &str)]| {
            let mut request = world.as_browser(&ada, Method::POST, "/api/v1/users").json(&new);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            async { request.send().await.unwrap().status().as_u16() }
        };
        let csrf = ada.csrf.as_str();
        assert_eq!(send(&[]).await, 403, "no token");
        assert_eq!(send(&[("x-csrf-token", "")]).await, 403);
        assert_eq!(send(&[("x-csrf-token", &csrf[1..])]).await, 403, "a wrong one");
        assert_eq!(send(&[("x-csrf-token", csrf), ("origin", "https://evil.example.com")]).await, 403, "another origin");
        assert_eq!(send(&[("x-csrf-token", csrf), ("origin", "null")]).await, 403);
        assert_eq!(send(&[("x-csrf-token", csrf), ("sec-fetch-site", "cross-site")]).await, 403);
        assert_eq!(send(&[("x-csrf-token", csrf), ("sec-fetch-site", "same-origin")]).await, 201);
        // To sign somebody in as somebody else needs no token, and yet works from our own page only.
        let login = world.request(Method::POST, "/api/v1/session").header("origin", "https://evil.example.com");
        assert_eq!(login.json(&json!({"user": "ada", "password": PASSWORD})).send().await.unwrap().status(), 403);
        let form = world.request(Method::POST, "/api/v1/session").header("content-type", "text/plain");
        assert_eq!(form.body(json!({"user": "ada", "password": PASSWORD}).to_string()).send().await.unwrap().status(), 415);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_is_locked_out_and_learns_nothing() {
    let world = world(Options::default()).await;
    let ada = world.first().await;
    let mut texts = Vec::new();
    let hour = |_| jiff::SignedDuration::from_hours(1);
    for name in ["ada", "nobody"] {
        let mut last = jiff::Timestamp::now();
        for attempt in 0..5 {
            last = jiff::Timestamp::now();
            let answer = world.sign_in(name, "wrong wrong wrong").await;
            assert_eq!(answer.status(), 401, "{name} {attempt}");
            texts.push(answer.text().await.unwrap());
        }
        // The fifth has locked it, for longer than it took.
        let (hash, ever) = (lockout::of_name(name), jiff::Timestamp::UNIX_EPOCH);
        let until = world.store.locked_until(&hash, ever).await.unwrap().unwrap();
        assert!(until >= last + jiff::SignedDuration::from_secs(15), "{name}: {until}");
        // However slow this machine is, it is locked now.
        world.store.attempt(&hash, until, hour).await.unwrap();
        let answer = world.sign_in(name, PASSWORD).await;
        assert_eq!(answer.status(), 429, "{name}: also with the right one");
        assert!(answer.headers().contains_key("retry-after"));
        texts.push(answer.text().await.unwrap().split(':').next().unwrap_or_default().to_owned());
    }
    // Whether there is such a user shows nowhere.
    assert_eq!(texts[..6], texts[6..]);
    assert!(world.look(&ada, "/api/v1/users").await.1["items"][0]["lockedUntil"].is_string());
    // Who is in stays in, and an administrator opens the lock.
    let open = world.act(&ada, Method::PATCH, "/api/v1/users/ada", &json!({"disabled": false})).await;
    assert_eq!(open.status(), 200);
    assert_eq!(world.sign_in("ada", PASSWORD).await.status(), 200);
    // Each name is said once a minute, and one that nobody has is not said at all.
    let mut refused = Vec::new();
    // It is written beside the answer.
    for _ in 0..600 {
        refused = world.audit().await.into_iter().filter(|line| line.ends_with("refused")).collect();
        if refused.len() >= 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    refused.sort();
    assert_eq!(refused, ["evenkeel sign-in user/ada refused", "evenkeel sign-in user/unknown refused"]);
    // What is locked by its name is not held against the address.
    let address = lockout::of_address("127.0.0.1".parse().unwrap());
    assert_eq!(
        world.store.locked_until(&address, jiff::Timestamp::UNIX_EPOCH).await.unwrap().map(|until| until > jiff::Timestamp::now()),
        Some(false)
    );
    // One address is not let to try one name after the other.
    world.store.attempt(&address, jiff::Timestamp::now(), hour).await.unwrap();
    assert_eq!(world.sign_in("somebody", "wrong wrong wrong").await.status(), 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_is_gone_at_once() {
    let world = world(Options::default()).await;
    let ada = world.first().await;
    world.add(&ada, "bob", &["admins"]).await;
    let bob = browser(world.sign_in("bob", PASSWORD).await).await;
    let made = world.act(&bob, Method::POST, "/api/v1/tokens", &json!({"name": "ci"})).await;
    let token: Value = made.json().await.unwrap();
    let token = token["token"].as_str().unwrap().to_owned();
    assert_eq!(
        (world.look(&bob, "/api/v1/users").await.0, world.by_token(&token, "/api/v1/users").await),
        (StatusCode::OK, StatusCode::OK)
    );
    // Not an administrator any more: the session ends, the token may less.
    world.act(&ada, Method::PATCH, "/api/v1/users/bob", &json!({"groups": ["web"]})).await;
    assert_eq!(world.look(&bob, "/api/v1/users").await.0, 401);
    assert_eq!(world.by_token(&token, "/api/v1/users").await, 403);
    assert_eq!(world.by_token(&token, "/api/v1/tokens").await, 200);
    let bob = browser(world.sign_in("bob", PASSWORD).await).await;
    assert_eq!(world.look(&bob, "/api/v1/users").await.0, 403);
    world.act(&ada, Method::PATCH, "/api/v1/users/bob", &json!({"disabled": true})).await;
    assert_eq!(world.look(&bob, "/api/v1/tokens").await.0, 401);
    assert_eq!(world.by_token(&token, "/api/v1/tokens").await, 401);
    assert_eq!(world.sign_in("bob", PASSWORD).await.status(), 401);
    // The last one who may everything can't lock everybody out.
    for (method, body) in [(Method::PATCH, json!({"disabled": true})), (Method::PATCH, json!({"groups": []})), (Method::DELETE, json!({}))]
    {
        assert_eq!(world.act(&ada, method, "/api/v1/users/ada", &body).await.status(), 409);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_chosen_and_changed() {
    let world = world(Options::default()).await;
    let ada = world.first().await;
    let added = world.act(&ada, Method::POST, "/api/v1/users", &json!({"name": "bob", "email": "bob@example.com"})).await;
    let invitation = added.json::<Value>().await.unwrap()["invitation"].as_str().unwrap().to_owned();
    assert_eq!(world.sign_in("bob", PASSWORD).await.status(), 401, "there is no password yet");
    let accept = |token: &str, password: &str| json!({"token": token, "password": password});
    assert_eq!(world.post("/api/v1/session/invitation", &accept("guess", PASSWORD)).await.status(), 401);
    assert_eq!(world.post("/api/v1/session/invitation", &accept(&invitation, "bob-bob-bob-1")).await.status(), 422);
    let answer = world.post("/api/v1/session/invitation", &accept(&invitation, PASSWORD)).await;
    assert_eq!(answer.status(), 201);
    let bob = browser(answer).await;
    assert_eq!(world.post("/api/v1/session/invitation", &accept(&invitation, PASSWORD)).await.status(), 401, "once");

    let other = browser(world.sign_in("bob", PASSWORD).await).await;
    let change = |old: &str, new: &str| json!({"old": old, "new": new});
    let to = "/api/v1/session/password";
    assert_eq!(world.act(&bob, Method::POST, to, &change("wrong", "another long one")).await.status(), 403);
    assert_eq!(world.act(&bob, Method::POST, to, &change(PASSWORD, "short")).await.status(), 422);
    assert_eq!(world.act(&bob, Method::POST, to, &change(PASSWORD, "another long one")).await.status(), 204);
    assert_eq!(
        (world.look(&bob, "/api/v1/tokens").await.0, world.look(&other, "/api/v1/tokens").await.0),
        (StatusCode::OK, StatusCode::UNAUTHORIZED)
    );
    assert_eq!(world.sign_in("bob", PASSWORD).await.status(), 401);
    assert_eq!(world.sign_in("bob", "another long one").await.status(), 200);
    // Somebody who is no administrator sees and changes nobody.
    assert_eq!(world.look(&bob, "/api/v1/users/ada").await.0, 403);
    assert_eq!(world.act(&bob, Method::POST, "/api/v1/users/ada/password", &json!({"password": PASSWORD})).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_is_refused() {
    let world = world(Options::default()).await;
    let ada = world.first().await;
    for (body, status) in [
        (json!({"name": "../etc"}), 422),
        (json!({"name": "bob\r\nSet-Cookie: x=y"}), 422),
        (json!({"name": "ｂｏｂ"}), 422),
        (json!({"name": "bob", "displayName": "\u{202e}ada"}), 422),
        (json!({"name": "bob", "email": "a@b\r\nBcc: x@y"}), 422),
        (json!({"name": "bob", "groups": (0..201).map(|number| format!("g{number}")).collect::<Vec<_>>()}), 422),
        (json!({"name": "bob", "password": PASSWORD, "admin": true}), 400),
        (json!({"name": ["bob"]}), 400),
        (json!({"name": "bob", "displayName": "x".repeat(1 << 17)}), 413),
    ] {
        let answer = world.act(&ada, Method::POST, "/api/v1/users", &body).await;
        assert_eq!(answer.status(), status);
    }
    let (name, text) = ("x".repeat(100_000), "y".repeat(60_000));
    assert_eq!(world.sign_in(&text, "z").await.status(), 401);
    assert_eq!(world.sign_in(&name, "z").await.status(), 413);
    // A body that can't be read is told without what is in it.
    let odd = world.post("/api/v1/session", &json!({"user": "ada", "password": {"hunter2-s3cret": 1}})).await;
    assert_eq!(odd.status(), 400);
    assert!(!odd.text().await.unwrap().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_and_ends_their_own_sessions() {
    let world = world(Options::default()).await;
    let ada = world.first().await;
    world.add(&ada, "bob", &[]).await;
    let one = browser(world.sign_in("bob", PASSWORD).await).await;
    let other = browser(world.sign_in("bob", PASSWORD).await).await;
    let (_, list) = world.look(&one, "/api/v1/sessions").await;
    assert_eq!((&list["total"], &list["items"][0]["address"]), (&json!(2), &json!("127.0.0.1")), "{list}");
    for browser in [&one, &other] {
        let cookie = browser.cookie.as_ref().unwrap().split_once('=').unwrap().1;
        assert!(!list.to_string().contains(&crate::sign_in::secret::hash(cookie)), "no more of it than names it");
    }
    let is_current =
        |current: bool| list["items"].as_array().unwrap().iter().find(|item| item["current"] == current).unwrap()["id"].clone();
    let of = |id: &Value| format!("/api/v1/sessions/{}", id.as_str().unwrap());
    let theirs = of(&is_current(false));
    assert_eq!(world.act(&ada, Method::DELETE, &theirs, &json!({})).await.status(), 404, "another one's is not there");
    assert_eq!(world.act(&one, Method::DELETE, &theirs[..theirs.len() - 1], &json!({})).await.status(), 404, "named in full");
    assert_eq!(world.act(&one, Method::DELETE, &theirs, &json!({})).await.status(), 204);
    assert_eq!(
        (world.look(&one, "/api/v1/tokens").await.0, world.look(&other, "/api/v1/tokens").await.0),
        (StatusCode::OK, StatusCode::UNAUTHORIZED)
    );
    assert!(world.audit().await.contains(&"bob sign-out user/bob done".to_owned()));
    // By a token without scopes too, and by none with some.
    for (scopes, status) in [(json!([]), 200), (json!([{"verbs": ["view"]}]), 403)] {
        let made =
            world.act(&one, Method::POST, "/api/v1/tokens", &json!({"name": "x", "scopes": scopes})).await.json::<Value>().await.unwrap();
        assert_eq!(world.by_token(made["token"].as_str().unwrap(), "/api/v1/sessions").await, status);
    }
    assert_eq!(world.by_token(OPERATOR, "/api/v1/sessions").await, 409, "who has no sessions");
}

/// Two who change a user at once: the second is told that it is otherwise by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_changed_as_they_were_seen() {
    let world = world(Options::default()).await;
    let admin = world.first().await;
    world.add(&admin, "bob", &["web"]).await;
    let tag = async || {
        let answer = world.request(Method::GET, "/api/v1/users/bob").bearer_auth(OPERATOR).send().await.unwrap();
        answer.headers()["etag"].to_str().unwrap().to_owned()
    };
    let change = async |tag: &str, body: Value| {
        let request = world.request(Method::PATCH, "/api/v1/users/bob").bearer_auth(OPERATOR).header("if-match", tag);
        let answer = request.json(&body).send().await.unwrap();
        let next = answer.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        (answer.status().as_u16(), next, answer.json::<Value>().await.unwrap())
    };
    let seen = tag().await;
    // That they come in is no change of them.
    world.sign_in("bob", PASSWORD).await;
    assert_ne!(tag().await, seen);
    let (status, next, _) = change(&seen, json!({"groups": ["web", "db"]})).await;
    assert_eq!((status, next), (200, Some(tag().await)));
    let (status, _, problem) = change(&seen, json!({"groups": ["web"]})).await;
    assert!(status == 412 && problem["detail"].as_str().unwrap().starts_with("If-Match"), "{problem}");
    let (_, user) = world.look(&admin, "/api/v1/users/bob").await;
    assert_eq!(user["groups"], json!(["db", "web"]), "what the first one did is not lost");
    let delete = async |tag: &str| {
        let request = world.request(Method::DELETE, "/api/v1/users/bob").bearer_auth(OPERATOR).header("if-match", tag);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(delete(&seen).await, 412, "who is in another group by now may be needed");
    assert_eq!(change("*", json!({"email": "bob@example.com"})).await.0, 200);
    let seen = tag().await;
    assert_eq!((delete(&seen).await, delete(&seen).await), (204, 404));
    let request = world.request(Method::PATCH, "/api/v1/users/eve").bearer_auth(OPERATOR).header("if-match", "*");
    assert_eq!(request.json(&json!({"groups": []})).send().await.unwrap().status(), 404);
}
