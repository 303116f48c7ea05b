//! Users, sessions, tokens and failures: what lets somebody in counts for as long as it should, and is gone at once when it is taken.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp, ToSpan as _};
use store::users::{
    ABSOLUTE, ADMINS, FAILURES, IDLE, Invitation, NewSession, SESSIONS, TOKENS, TokenRow, TokenScope, User, UserChange, UserKind,
};
use store::{Error, Store};

use crate::places::{Place, entry, places, verified};

fn now() -> Timestamp {
    Timestamp::new(1_700_000_000, 123_456_789).unwrap()
}

fn hash(of: &str) -> String {
    format!("{of:0>64}")
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn said() -> store::audit::Entry {
    entry("change", "user/x", "")
}

async fn add(store: &Store, name: &str, groups: &[&str], password: Option<&str>) {
    let user = User { stored: set(groups), display_name: "\0 Ada \u{1a}".into(), ..User::local(name, now()) };
    store.add_user(&user, password, None, false, said()).await.unwrap();
}

async fn begin(store: &Store, user: &str, of: &str, at: Timestamp) {
    let new = NewSession { user, hash: &hash(of), address: "127.0.0.1", instead_of: None, at };
    store.start_session(&new, said()).await.unwrap();
}

fn token(user: &str, id: &str, scopes: Vec<TokenScope>) -> TokenRow {
    TokenRow {
        id: id.into(),
        name: "ci".into(),
        user: user.into(),
        prefix: "ek_abcdef".into(),
        scopes,
        created_at: now(),
        expires_at: now() + 24.hours(),
        last_used: None,
    }
}

async fn open(place: &Place) -> Store {
    place.open().await
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_and_go_with_all_that_hangs_on_them() {
    for place in places().await {
        let store = open(&place).await;
        assert!(!store.has_users().await.unwrap());
        let first = User { stored: set(&[ADMINS]), ..User::local("ada", now()) };
        store.add_user(&first, Some("$argon2id$a"), None, true, said()).await.unwrap();
        assert!(
            matches!(store.add_user(&User::local("eve", now()), None, None, true, said()).await, Err(Error::Exists(_))),
            "{}",
            place.name
        );
        assert!(matches!(store.add_user(&first, None, None, false, said()).await, Err(Error::Exists(_))));
        add(&store, "bob", &["web", "oncall"], Some("$argon2id$b")).await;
        begin(&store, "bob", "1", now()).await;
        store.add_token(&token("bob", "t1", Vec::new()), &hash("2"), said()).await.unwrap();

        let users = store.users(now()).await.unwrap();
        let shown: Vec<_> = users.iter().map(|listed| (listed.user.name.as_str(), listed.sessions, listed.tokens)).collect();
        assert_eq!(shown, [("ada", 0, 0), ("bob", 1, 1)], "{}", place.name);
        let bob = store.user("bob").await.unwrap().unwrap();
        assert_eq!((bob.groups(), bob.is_admin(), bob.display_name.as_str()), (set(&["oncall", "web"]), false, "\0 Ada \u{1a}"));
        assert_eq!(users[1].user, bob);
        assert!(users[0].user.is_admin() && users[0].user.has_password);
        assert_eq!(store.password_of("bob").await.unwrap().as_deref(), Some("$argon2id$b"));

        assert!(store.delete_user("bob", said()).await.unwrap() && !store.delete_user("bob", said()).await.unwrap());
        assert_eq!(store.session(&hash("1"), now()).await.unwrap(), None);
        assert_eq!(store.token(&hash("2"), now()).await.unwrap(), None);
        for table in ["session", "api_token", "user_group WHERE user_name = 'bob'"] {
            assert_eq!(place.count(table).await, 0, "{} {table}", place.name);
        }
        // Each change is in the log, and what was refused is not.
        assert_eq!(verified(&store).await, 5, "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_local_administrator_stays() {
    for place in places().await {
        let store = open(&place).await;
        add(&store, "ada", &[ADMINS], Some("p")).await;
        // Invited only, and disabled: nobody could come in.
        add(&store, "invited", &[ADMINS], None).await;
        add(&store, "bob", &[ADMINS], Some("p")).await;
        let disabled = UserChange { disabled: Some(true), ..UserChange::default() };
        assert!(store.change_user("bob", &disabled, said()).await.unwrap());
        let groups = UserChange { groups: Some(set(&["web"])), ..UserChange::default() };
        for change in [&disabled, &groups] {
            assert!(matches!(store.change_user("ada", change, said()).await, Err(Error::LastAdmin)), "{}", place.name);
        }
        assert!(matches!(store.delete_user("ada", said()).await, Err(Error::LastAdmin)));
        let ada = store.user("ada").await.unwrap().unwrap();
        assert!(ada.is_admin() && !ada.disabled);
        assert!(store.change_user("bob", &UserChange { disabled: Some(false), ..UserChange::default() }, said()).await.unwrap());
        assert!(store.change_user("ada", &groups, said()).await.unwrap());
        assert!(!store.change_user("nobody", &groups, said()).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_to_their_user() {
    for place in places().await {
        let store = open(&place).await;
        add(&store, "ada", &[], Some("p")).await;
        add(&store, "bob", &[], Some("p")).await;
        let later = |seconds: i64| now() + SignedDuration::from_secs(seconds);
        begin(&store, "ada", "1", now()).await;
        begin(&store, "ada", "2", later(1)).await;
        begin(&store, "bob", "3", now()).await;
        store.see_session(&hash("1"), later(60)).await.unwrap();
        let sessions = store.sessions("ada", later(60)).await.unwrap();
        let seen: Vec<_> = sessions.iter().map(|session| (session.hash.clone(), session.created_at, session.seen_at)).collect();
        assert_eq!(seen, [(hash("1"), now(), later(60)), (hash("2"), later(1), later(1))], "{}", place.name);
        assert!(!sessions[0].address.is_empty());
        assert_eq!(store.sessions("ada", later(60) + IDLE).await.unwrap(), [], "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end() {
    for place in places().await {
        let store = open(&place).await;
        add(&store, "ada", &[], Some("p")).await;
        let later = |by: SignedDuration| now() + by;
        begin(&store, "ada", "idle", now()).await;
        let almost = later(IDLE - SignedDuration::from_secs(1));
        assert_eq!(store.session(&hash("idle"), almost).await.unwrap().unwrap().user.name, "ada");
        assert_eq!(store.session(&hash("idle"), later(IDLE)).await.unwrap(), None, "{}", place.name);
        // However much is asked in it.
        store.see_session(&hash("idle"), later(ABSOLUTE - SignedDuration::from_secs(1))).await.unwrap();
        assert!(store.session(&hash("idle"), later(ABSOLUTE - SignedDuration::from_secs(1))).await.unwrap().is_some());
        assert_eq!(store.session(&hash("idle"), later(ABSOLUTE)).await.unwrap(), None, "{}", place.name);

        // One in place of another, and of too many the oldest ends.
        let new = NewSession { user: "ada", hash: &hash("new"), address: "::1", instead_of: Some(&hash("idle")), at: now() };
        store.start_session(&new, said()).await.unwrap();
        assert_eq!(store.session(&hash("idle"), now()).await.unwrap(), None);
        for number in 0..SESSIONS {
            begin(&store, "ada", &number.to_string(), later(SignedDuration::from_secs(i64::from(number) + 1))).await;
        }
        assert_eq!(place.count("session").await, i64::from(SESSIONS));
        assert_eq!(store.session(&hash("new"), now()).await.unwrap(), None, "{}", place.name);

        store.end_other_sessions("ada", Some(&hash("3")), said()).await.unwrap();
        assert_eq!(place.count("session").await, 1);
        assert!(store.set_password("ada", "q", Some(&hash("3")), said()).await.unwrap());
        assert!(store.session(&hash("3"), now()).await.unwrap().is_some());
        assert!(store.set_password("ada", "r", None, said()).await.unwrap());
        assert_eq!(place.count("session").await, 0, "{}", place.name);
        begin(&store, "ada", "gone", now()).await;
        let change = UserChange { disabled: Some(true), ..UserChange::default() };
        store.change_user("ada", &change, said()).await.unwrap();
        assert_eq!(place.count("session").await, 0, "{}", place.name);
        // What is over is swept when somebody else comes.
        begin(&store, "ada", "old", now()).await;
        begin(&store, "ada", "young", later(ABSOLUTE)).await;
        assert_eq!(place.count("session").await, 1, "{}", place.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_narrowed_limited_and_revoked() {
    for place in places().await {
        let store = open(&place).await;
        add(&store, "ada", &[], Some("p")).await;
        add(&store, "bob", &[], Some("p")).await;
        let scopes = vec![
            TokenScope { verbs: set(&["view", "edit"]), kinds: set(&["Device", "Deployment"]) },
            TokenScope { verbs: set(&["view"]), kinds: set(&[]) },
            TokenScope::default(),
        ];
        store.add_token(&token("ada", "narrow", scopes.clone()), &hash("n"), said()).await.unwrap();
        let (row, user) = store.token(&hash("n"), now()).await.unwrap().unwrap();
        assert_eq!((row.scopes, user.name.as_str()), (scopes.clone(), "ada"), "{}", place.name);
        assert_eq!(store.tokens(Some("ada")).await.unwrap()[0].scopes, scopes);
        assert_eq!(store.token(&hash("n"), now() + 24.hours()).await.unwrap(), None, "its time is over");
        store.use_token("narrow", now(), "::1").await.unwrap();
        assert_eq!(store.tokens(None).await.unwrap()[0].last_used, Some((now(), "::1".into())));

        for number in 1..TOKENS {
            store.add_token(&token("ada", &number.to_string(), Vec::new()), &hash(&format!("x{number}")), said()).await.unwrap();
        }
        let more = store.add_token(&token("ada", "more", Vec::new()), &hash("more"), said()).await;
        assert!(matches!(more, Err(Error::TooMany(_))), "{}", place.name);
        store.add_token(&token("bob", "bobs", Vec::new()), &hash("bobs"), said()).await.unwrap();
        assert!(store.revoke_token("narrow", said()).await.unwrap() && !store.revoke_token("narrow", said()).await.unwrap());
        assert_eq!((store.token(&hash("n"), now()).await.unwrap(), place.count("token_scope").await), (None, 0), "{}", place.name);
        assert_eq!(store.tokens(Some("bob")).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_counts_once_and_for_a_while() {
    for place in places().await {
        let store = open(&place).await;
        let invitation = |of: &str| Invitation { hash: hash(of), expires_at: now() + 1.hour() };
        store.add_user(&User::local("bob", now()), None, Some(&invitation("1")), false, said()).await.unwrap();
        assert_eq!(store.invited(&hash("1"), now()).await.unwrap().as_deref(), Some("bob"));
        assert_eq!(store.invited(&hash("1"), now() + 1.hour()).await.unwrap(), None);
        assert!(!store.accept_invitation(&hash("1"), "p", now() + 1.hour(), said()).await.unwrap(), "{}", place.name);
        // A newer one takes the place of an earlier one.
        assert!(store.invite("bob", &invitation("2"), said()).await.unwrap());
        assert!(!store.accept_invitation(&hash("1"), "p", now(), said()).await.unwrap());
        assert!(store.accept_invitation(&hash("2"), "p", now(), said()).await.unwrap(), "{}", place.name);
        assert!(!store.accept_invitation(&hash("2"), "q", now(), said()).await.unwrap(), "once");
        assert_eq!(store.password_of("bob").await.unwrap().as_deref(), Some("p"));
        assert!(!store.invite("nobody", &invitation("3"), said()).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_provider_vouches_for_is_nobody_else() {
    for place in places().await {
        let store = open(&place).await;
        add(&store, "ada@example.com", &[], Some("p")).await;
        let vouched = |name: &str, subject: &str, groups: &[&str]| User {
            kind: UserKind::Oidc,
            claimed: set(groups),
            subject: Some(("https://idp".into(), subject.into())),
            ..User::local(name, now())
        };
        let taken = store.vouch(&vouched("ada@example.com", "1", &[]), said()).await;
        assert!(matches!(taken, Err(Error::Exists(_))), "{}: a local user's name", place.name);
        let bob = store.vouch(&vouched("bob@example.com", "1", &["web"]), said()).await.unwrap().unwrap();
        assert_eq!((bob.groups(), bob.kind), (set(&["web"]), UserKind::Oidc));
        let taken = store.vouch(&vouched("bob@example.com", "2", &["web"]), said()).await;
        assert!(matches!(taken, Err(Error::Exists(_))), "{}: an address that was given to somebody else", place.name);
        // What an administrator has said stays, what the provider says is as it says now, and a new name is the same user.
        let change = UserChange { groups: Some(set(&["oncall"])), ..UserChange::default() };
        store.change_user("bob@example.com", &change, said()).await.unwrap();
        begin(&store, "bob@example.com", "1", now()).await;
        let bob = store.vouch(&vouched("bob@example.org", "1", &["db"]), said()).await.unwrap().unwrap();
        assert_eq!((bob.groups(), store.user("bob@example.com").await.unwrap()), (set(&["db", "oncall"]), None), "{}", place.name);
        assert_eq!(store.session(&hash("1"), now()).await.unwrap().unwrap().user.name, "bob@example.org");
        let change = UserChange { disabled: Some(true), ..UserChange::default() };
        store.change_user("bob@example.org", &change, said()).await.unwrap();
        assert_eq!(store.vouch(&vouched("bob@example.net", "1", &[]), said()).await.unwrap(), None, "{}: disabled", place.name);
        assert!(!store.set_password("bob@example.org", "p", None, said()).await.unwrap(), "a provider's user has no password here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_lock_and_are_forgiven() {
    fn lock(failures: u32) -> SignedDuration {
        SignedDuration::from_secs(if failures >= 3 { 60 } else { 0 })
    }
    for place in places().await {
        let store = open(&place).await;
        for _ in 0..3 {
            assert_eq!(store.attempt(&hash("a"), now(), lock).await.unwrap(), None, "{}", place.name);
        }
        let until = now() + 60.seconds();
        assert_eq!(store.attempt(&hash("a"), now(), lock).await.unwrap(), Some(until), "{}", place.name);
        assert_eq!(store.locked_until(&hash("a"), now()).await.unwrap(), Some(until));
        // A restart forgets nothing.
        drop(store);
        let store = open(&place).await;
        assert_eq!(store.attempt(&hash("a"), now(), lock).await.unwrap(), Some(until), "{}", place.name);
        assert_eq!(store.attempt(&hash("a"), until, lock).await.unwrap(), None);
        store.forgive(&hash("a"), false, until).await.unwrap();
        assert_eq!(store.locked_until(&hash("a"), until).await.unwrap(), None, "one less");
        store.forgive(&hash("a"), true, until).await.unwrap();
        assert_eq!(place.count("sign_in_failure").await, 0, "{}", place.name);
    }
}

/// People who mistype now and then from one address, and come in much more often, are never locked out for good.
#[tokio::test(flavor = "multi_thread")]
async fn failures_are_made_up_for_and_grow_old() {
    fn lock(failures: u32) -> SignedDuration {
        SignedDuration::from_secs(if failures >= 3 { 60 } else { 0 })
    }
    for place in places().await {
        let store = open(&place).await;
        for _ in 0..20 {
            assert_eq!(store.attempt(&hash("office"), now(), lock).await.unwrap(), None, "{}: a typo", place.name);
            assert_eq!(store.attempt(&hash("office"), now(), lock).await.unwrap(), None, "{}: the right one", place.name);
            store.forgive(&hash("office"), false, now()).await.unwrap();
        }
        assert_eq!(place.count("sign_in_failure").await, 0, "{}", place.name);
        for _ in 0..3 {
            store.attempt(&hash("b"), now(), lock).await.unwrap();
        }
        let tomorrow = now() + 24.hours();
        assert_eq!(store.attempt(&hash("b"), tomorrow, lock).await.unwrap(), None);
        assert_eq!(store.attempt(&hash("b"), tomorrow, lock).await.unwrap(), None, "{}: the second of today", place.name);
    }
}

/// Whoever tries ten thousand names takes no more room than that.
#[tokio::test(flavor = "multi_thread")]
async fn failures_are_bounded() {
    for place in places().await {
        let store = open(&place).await;
        let many = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000)";
        // 63 digits before it, so that each has 64.
        let padding = "0".repeat(59);
        place
            .execute(&format!(
                "INSERT INTO sign_in_failure (hash, failures, failed_at, locked_until) {many} SELECT substr('{padding}' || (90000 + n), 1, 64), 1, '2020-01-01T00:00:00.' || (100000000 + n) || 'Z', '' FROM numbers"
            ))
            .await;
        assert_eq!(place.count("sign_in_failure").await, i64::try_from(FAILURES).unwrap(), "{}", place.name);
        store.attempt(&hash("a"), now(), |_| SignedDuration::ZERO).await.unwrap();
        assert_eq!(place.count("sign_in_failure").await, i64::try_from(FAILURES).unwrap(), "{}", place.name);
        assert_eq!(place.count("sign_in_failure WHERE failed_at LIKE '%.100000001Z'").await, 0, "the oldest is forgotten");
    }
}
