//! What we tell a forge of a commit.
//!
//! Sources: docs.github.com "REST API endpoints for commit statuses", docs.gitlab.com "Commits API: set the pipeline status of a commit",
//! docs.gitea.com API `POST /repos/{owner}/{repo}/statuses/{sha}`, which Forgejo has too.

use std::time::Duration;

use crds::Forge;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Value, json};

/// Time limit of connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// Time limit of the whole request.
const LIMIT: Duration = Duration::from_secs(30);
/// The largest answer that is read; nothing but its message is of use.
const ANSWER: usize = 64 << 10;
/// Letters of a message that is repeated.
const MESSAGE: usize = 200;
/// Letters of a description: GitHub refuses more.
const DESCRIPTION: usize = 140;
/// The longest time to wait that a server may ask for.
const PATIENCE: Duration = Duration::from_secs(600);

/// How it stands with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being applied, or waits for somebody.
    Pending,
    /// It is applied.
    Success,
    /// It is refused, or some of it.
    Failure,
}

/// What is told of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its full id.
    pub commit: String,
    /// How it stands.
    pub state: State,
    /// Why, in one line.
    pub description: String,
}

/// A repository, as a forge's API knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    forge: Forge,
    /// Without a slash at its end.
    api: String,
    project: String,
}

/// A report that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// Why; nothing of the token.
    text: String,
    /// How long the server asks to be left in peace, if it does.
    pub after: Option<Duration>,
}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self { text, after: None }
    }
}

impl Place {
    /// Where a repository with this URL is in its forge's API, which is at `api` if that is given.
    pub fn of(forge: Forge, repository: &str, api: Option<&str>) -> Result<Self, String> {
        let (server, path) = parts(repository).ok_or("the repository's URL names no server and path")?;
        let path = path.trim_matches('/').trim_end_matches(".git").trim_start_matches('~');
        let segments: Vec<&str> = path.split('/').collect();
        let is_plain = |segment: &&str| {
            !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-~".contains(&b))
        };
        if segments.len() < 2 || !segments.iter().all(is_plain) {
            return Err("the path of the repository's URL is not one of a repository there, such as /OWNER/NAME".into());
        }
        // Below a folder of the server, Gitea has its API there too.
        let (folder, name) = segments.split_at(segments.len() - 2);
        let folder: String = folder.iter().map(|segment| format!("/{segment}")).collect();
        let own = match forge {
            Forge::GitHub if server == "github.com" => "https://api.github.com".to_owned(),
            Forge::GitHub => format!("https://{server}/api/v3"),
            Forge::GitLab => format!("https://{server}/api/v4"),
            Forge::Gitea => format!("https://{server}{folder}/api/v1"),
        };
        let api = api.map_or(own, |api| api.trim_end_matches('/').to_owned());
        let project = match forge {
            Forge::GitHub | Forge::Gitea => name.join("/"),
            // Groups may lie in groups, so all of it is the name but for the folder that GitLab itself is in.
            Forge::GitLab => {
                let below = Url::parse(&api).map(|url| url.path().trim_matches('/').trim_end_matches("api/v4").to_owned());
                below.ok().and_then(|below| path.strip_prefix(&below)).unwrap_or(path).replace('/', "%2F")
            }
        };
        Ok(Self { forge, api, project })
    }

    fn url(&self, commit: &str) -> String {
        let of = if self.forge == Forge::GitLab { "projects" } else { "repos" };
        format!("{}/{of}/{}/statuses/{commit}", self.api, self.project)
    }

    fn body(&self, context: &str, report: &Report) -> Value {
        let description = cut(&report.description, DESCRIPTION);
        let state = match (report.state, self.forge) {
            (State::Pending, _) => "pending",
            (State::Success, _) => "success",
            (State::Failure, Forge::GitLab) => "failed",
            (State::Failure, _) => "failure",
        };
        let name = if self.forge == Forge::GitLab { "name" } else { "context" };
        json!({"state": state, name: context, "description": description})
    }

    /// Tells it. `authorities` are PEM certificates, where those of this system don't count.
    pub async fn tell(&self, token: &str, authorities: Option<&[u8]>, context: &str, report: &Report) -> Result<(), Error> {
        if report.commit.is_empty() || !report.commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::from("it is not a commit of Git".to_owned()));
        }
        let request = client(authorities)?.post(self.url(&report.commit)).json(&self.body(context, report));
        let answer = self.signed(request, token)?.send().await.map_err(|error| words(&error))?;
        self.read(answer).await
    }

    fn signed(&self, request: RequestBuilder, token: &str) -> Result<RequestBuilder, String> {
        let value = |text: String| {
            let mut value = HeaderValue::try_from(text).map_err(|_| "the token has letters that no HTTP header takes".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        Ok(match self.forge {
            Forge::GitHub => request
                .header(AUTHORIZATION, value(format!("Bearer {token}"))?)
                .header(ACCEPT, "application/vnd.github+json")
                .header("x-github-api-version", "2022-11-28"),
            Forge::GitLab => request.header("private-token", value(token.to_owned())?),
            Forge::Gitea => request.header(AUTHORIZATION, value(format!("token {token}"))?),
        })
    }

    async fn read(&self, mut answer: Response) -> Result<(), Error> {
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let after = after.map(|after| after.min(PATIENCE));
        let mut body = Vec::new();
        while let Ok(Some(piece)) = answer.chunk().await {
            body.extend_from_slice(&piece[..piece.len().min(ANSWER - body.len())]);
            if body.len() == ANSWER {
                break;
            }
        }
        let said = serde_json::from_slice::<Value>(&body).ok().and_then(|value| Some(cut(value["message"].as_str()?, MESSAGE)));
        let said = said.unwrap_or_default();
        // GitLab: it is so already, or a pipeline of its own has gone further.
        if self.forge == Forge::GitLab && status == StatusCode::BAD_REQUEST && said.starts_with("Cannot transition status") {
            return Ok(());
        }
        let why = match status {
            StatusCode::UNAUTHORIZED => "the token is not accepted",
            StatusCode::FORBIDDEN => "the token may not write commit statuses, or writes too many",
            StatusCode::NOT_FOUND => "there is no such repository or commit, or the token does not show it",
            _ if status.is_redirection() => "it redirects, and the token is sent nowhere else: put the API's right URL into `url`",
            _ => "it is not taken",
        };
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        Err(Error { text: format!("{}: {why} ({}){said}", self.api, status.as_u16()), after })
    }
}

/// The server of a repository's URL, with the port where that is one of HTTPS, and the path there.
fn parts(repository: &str) -> Option<(String, String)> {
    if !repository.contains("://") {
        let (authority, path) = repository.split_once(':')?;
        let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
        return Some((server.to_owned(), path.to_owned())).filter(|(server, _)| is_server(server));
    }
    let url = Url::parse(repository).ok()?;
    let host = url.host_str().filter(|host| is_server(host))?;
    let server = match (url.scheme(), url.port()) {
        ("https", Some(port)) => format!("{host}:{port}"),
        ("https" | "ssh" | "git+ssh" | "ssh+git", _) => host.to_owned(),
        _ => return None,
    };
    Some((server, url.path().to_owned()))
}

fn is_server(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte))
}

/// Nothing is followed anywhere: a token is for one server.
fn client(authorities: Option<&[u8]>) -> Result<Client, String> {
    let configured = || {
        Client::builder()
            .user_agent(concat!("evenkeel/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .https_only(true)
            .connect_timeout(CONNECT)
            .timeout(LIMIT)
    };
    let Some(authorities) = authorities else {
        // Where this system has no authorities (a bare container), one that trusts nobody, so that the reason is said.
        return configured().build().or_else(|_| configured().tls_certs_only([]).build()).map_err(|error| words(&error));
    };
    let certificates = reqwest::Certificate::from_pem_bundle(authorities).unwrap_or_default();
    if certificates.is_empty() {
        return Err("there is no PEM certificate in the secret's `ca.crt`".into());
    }
    configured().tls_certs_only(certificates).build().map_err(|error| words(&error))
}

/// The innermost cause, which is mostly the reason; the URL is known already.
fn words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    for _ in 0..8 {
        let Some(next) = cause.source() else { break };
        cause = next;
    }
    let server = error.url().and_then(Url::host_str).unwrap_or("the server");
    if error.is_timeout() { format!("{server}: no answer within {} s", LIMIT.as_secs()) } else { format!("{server}: {cause}") }
}

/// In one line, without control characters, and no longer than so many letters.
fn cut(text: &str, letters: usize) -> String {
    let clean: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match clean.char_indices().nth(letters) {
        None => clean,
        Some(_) => clean.chars().take(letters - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(forge: Forge, repository: &str, api: Option<&str>) -> String {
        Place::of(forge, repository, api).map_or_else(|error| format!("error: {error}"), |place| place.url("c0ffee"))
    }

    #[test]
    fn the_apis_place_follows_from_the_repositorys() {
        let github = "https://api.github.com/repos/acme/fleet/statuses/c0ffee";
        for repository in [
            "https://github.com/acme/fleet",
            "https://github.com/acme/fleet.git",
            "ssh://git@github.com/acme/fleet.git",
            "git@github.com:acme/fleet.git",
            "github.com:acme/fleet",
        ] {
            assert_eq!(url(Forge::GitHub, repository, None), github, "{repository}");
        }
        assert_eq!(
            url(Forge::GitHub, "https://git.acme.com/a/b", None),
            "https://git.acme.com/api/v3/repos/a/b/statuses/c0ffee",
            "GitHub Enterprise Server"
        );
        let gitlab = |repository, api| url(Forge::GitLab, repository, api);
        let groups = "https://gitlab.com/api/v4/projects/acme%2Fops%2Ffleet/statuses/c0ffee";
        assert_eq!(gitlab("git@gitlab.com:acme/ops/fleet.git", None), groups);
        assert_eq!(
            gitlab("https://acme.com/gitlab/ops/fleet", Some("https://acme.com/gitlab/api/v4/")),
            "https://acme.com/gitlab/api/v4/projects/ops%2Ffleet/statuses/c0ffee"
        );
        let gitea = |repository, api| url(Forge::Gitea, repository, api);
        let plain = "https://git.acme.com:3000/api/v1/repos/ops/fleet/statuses/c0ffee";
        assert_eq!(gitea("https://git.acme.com:3000/ops/fleet.git", None), plain);
        assert_eq!(gitea("https://acme.com/git/a/b", None), "https://acme.com/git/api/v1/repos/a/b/statuses/c0ffee");
        // The port is SSH's.
        assert_eq!(gitea("ssh://git@git.acme.com:2222/a/b", None), "https://git.acme.com/api/v1/repos/a/b/statuses/c0ffee");
        assert_eq!(
            gitea("ssh://git@10.0.0.1:2222/a/b", Some("https://git.acme.com/x")),
            "https://git.acme.com/x/repos/a/b/statuses/c0ffee"
        );
    }

    #[test]
    fn what_is_no_repository_of_a_forge_has_no_place_there() {
        for repository in [
            "/srv/git/fleet",
            "file:///srv/git/fleet",
            "https://github.com/fleet",
            "https://github.com/",
            "https://github.com/a/../b",
            "https://github.com/a/b%2Fc",
            "https://github.com/a/b?x",
            "git@evil.com/x@github.com:a/b",
            "git@:a/b",
            "fleet",
        ] {
            let found = url(Forge::GitHub, repository, None);
            let is_refused = found.starts_with("error: ");
            // A URL's own rules have taken `..` out, and what comes after `?` is not of the path.
            let is_harmless = found == "https://api.github.com/repos/a/b/statuses/c0ffee";
            assert!(is_refused || is_harmless, "{repository}: {found}");
        }
    }

    #[test]
    fn what_is_said_is_what_each_of_them_understands() {
        let said = |forge, state, description: &str| {
            let place = Place::of(forge, "https://git.acme.com/a/b", None).unwrap();
            place.body("evenkeel/fleet/fleet", &Report { commit: "c0ffee".into(), state, description: description.into() })
        };
        let github = json!({"state": "failure", "context": "evenkeel/fleet/fleet", "description": "no"});
        assert_eq!(said(Forge::GitHub, State::Failure, "no"), github);
        assert_eq!(said(Forge::Gitea, State::Failure, "no"), github);
        let gitlab = json!({"state": "failed", "name": "evenkeel/fleet/fleet", "description": "no"});
        assert_eq!(said(Forge::GitLab, State::Failure, "no"), gitlab);
        let long = said(Forge::GitHub, State::Pending, &"é\n".repeat(100))["description"].as_str().unwrap().to_owned();
        assert!(long.chars().count() == DESCRIPTION && long.ends_with('…') && !long.contains('\n'), "{long}");
        assert_eq!(said(Forge::GitHub, State::Success, &"x".repeat(140))["description"], "x".repeat(140));
    }
}
