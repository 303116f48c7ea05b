//! Telling a forge of a commit, over real TLS to a server that says what such servers say.

#[path = "../../manifests/tests/common/https.rs"]
#[allow(dead_code, reason = "shared with others")]
mod https;

use std::path::Path;
use std::time::Duration;

use crds::Forge;
use forge::status::{Error, Place, Report, State};
use https::{Reply, Server, answer};

const COMMIT: &str = "0123456789012345678901234567890123456789";
const TOKEN: &str = "s3cret-token-of-the-forge";

async fn server(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Server {
    Server::start(Path::new("/nonexistent"), move |_| reply()).await
}

async fn tell(server: &Server, forge: Forge) -> Result<(), Error> {
    let place = Place::of(forge, &server.url("ops/fleet.git"), None).unwrap();
    let report = Report { commit: COMMIT.into(), state: State::Failure, description: "device/web-01: no".into() };
    place.tell(TOKEN, Some(server.ca.as_bytes()), "evenkeel/fleet/fleet", &report).await
}

#[tokio::test]
async fn each_forge_is_asked_as_its_documents_say() {
    let server = server(|| answer("201 Created", "application/json", b"{}")).await;
    for (forge, target, login, body) in [
        (
            Forge::GitHub,
            "/api/v3/repos/ops/fleet/statuses/",
            "authorization: Bearer s3cret-token-of-the-forge",
            r#"{"context":"evenkeel/fleet/fleet","description":"device/web-01: no","state":"failure"}"#,
        ),
        (
            Forge::GitLab,
            "/api/v4/projects/ops%2Ffleet/statuses/",
            "private-token: s3cret-token-of-the-forge",
            r#"{"description":"device/web-01: no","name":"evenkeel/fleet/fleet","state":"failed"}"#,
        ),
        (
            Forge::Gitea,
            "/api/v1/repos/ops/fleet/statuses/",
            "authorization: token s3cret-token-of-the-forge",
            r#"{"context":"evenkeel/fleet/fleet","description":"device/web-01: no","state":"failure"}"#,
        ),
    ] {
        server.forget();
        tell(&server, forge).await.unwrap();
        let asked = server.requests();
        let [asked] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", format!("{target}{COMMIT}").as_str()));
        assert!(asked.head.contains(login) && asked.head.contains("user-agent: evenkeel/"), "{}", asked.head);
        assert_eq!((asked.content_type.as_str(), String::from_utf8_lossy(&asked.body).as_ref()), ("application/json", body));
    }
}

#[tokio::test]
async fn what_is_refused_is_said_in_short_and_without_the_token() {
    for (status, body, expected) in [
        ("401 Unauthorized", r#"{"message": "Bad credentials"}"#, "the token is not accepted (401): Bad credentials"),
        ("403 Forbidden", "<html>no</html>", "the token may not write commit statuses, or writes too many (403)"),
        ("404 Not Found", "", "there is no such repository or commit, or the token does not show it (404)"),
        ("302 Found", "", "it redirects, and the token is sent nowhere else: put the API's right URL into `url` (302)"),
        ("422 Unprocessable", r#"{"message": "No\u001b[31m\ncommit"}"#, "it is not taken (422): No [31m commit"),
        ("500 Oops", r#"{"message": 7}"#, "it is not taken (500)"),
        ("400 Bad Request", r#"{"message": "Cannot transition status via :enqueue from :pending"}"#, "it is not taken (400): Cannot"),
    ] {
        let server = server(move || {
            let location = "application/json\r\nLocation: https://localhost:1/elsewhere\r\nRetry-After: 99999";
            answer(status, location, body.as_bytes())
        })
        .await;
        let error = tell(&server, Forge::Gitea).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected) && text.starts_with("https://localhost:") && !text.contains(TOKEN), "{text}");
        assert_eq!(error.after, Some(Duration::from_secs(600)), "no server holds us up for ever");
        assert_eq!(server.requests().len(), 1, "nothing is followed");
        if status.starts_with("400") {
            tell(&server, Forge::GitLab).await.expect("GitLab says so where it is so already");
        }
    }
    let long = server(|| answer("400 No", "application/json", format!(r#"{{"message": "{}"}}"#, "x".repeat(5000)).as_bytes())).await;
    assert!(tell(&long, Forge::GitHub).await.unwrap_err().to_string().len() < 400);
    let endless = server(|| Reply::Flood(b"HTTP/1.1 400 No\r\n\r\n".to_vec(), vec![b'x'; 1 << 16])).await;
    assert!(tell(&endless, Forge::GitHub).await.unwrap_err().to_string().ends_with("it is not taken (400)"));
}

#[tokio::test]
async fn a_token_goes_to_nobody_who_is_not_known() {
    let server = server(|| answer("201 Created", "application/json", b"{}")).await;
    let report = |commit: &str| Report { commit: commit.into(), state: State::Success, description: String::new() };
    let place = Place::of(Forge::Gitea, &server.url("ops/fleet.git"), None).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap().cert.pem();
    for (authorities, expected) in
        [(Some(other.as_bytes()), "certificate"), (None, "certificate"), (Some(&b"no"[..]), "no PEM certificate")]
    {
        let error = place.tell(TOKEN, authorities, "c", &report(COMMIT)).await.unwrap_err().to_string();
        assert!(error.to_lowercase().contains(&expected.to_lowercase()), "{error}");
    }
    let plain = Place::of(Forge::Gitea, "https://git.example.com/a/b", Some("http://127.0.0.1:1/api")).unwrap();
    assert!(plain.tell(TOKEN, None, "c", &report(COMMIT)).await.is_err(), "plain HTTP");
    for (token, commit) in [("to\nken", COMMIT), (TOKEN, "working-tree-1"), (TOKEN, "")] {
        assert!(place.tell(token, Some(server.ca.as_bytes()), "c", &report(commit)).await.is_err(), "{token} {commit}");
    }
    assert!(server.requests().is_empty());
}
