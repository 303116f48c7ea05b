//! Where a repository is: a path, an HTTPS URL, or SSH in both of its spellings (gitrepository URLs as in git-clone(1)).

use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;

const PASSWORD: &str = "it holds a password: put a private key into a secret, and take the password out of the URL";

/// Where a repository is, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// On this machine.
    Local(PathBuf),
    /// HTTPS; plain HTTP only to this machine.
    Http(Url),
    /// SSH.
    Ssh(Ssh),
}

/// A repository that is reached by SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ssh {
    pub(super) user: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// As the server is asked for it.
    pub(super) path: String,
}

impl Location {
    /// Reads a URL or a path. The error never repeats it: it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(char::is_control) {
            return Err("it has control characters".into());
        }
        match text.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => Ok(Self::Local(PathBuf::from(path))),
            Some(("http" | "https", _)) => http(text).map(Self::Http),
            Some(("ssh" | "git+ssh" | "ssh+git", rest)) => ssh_url(rest).map(Self::Ssh),
            Some((scheme, _)) => {
                let is_plain = scheme.len() < 20 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+');
                let scheme = if is_plain { format!("`{scheme}://`") } else { "that kind of URL".into() };
                Err(format!("{scheme} is not supported: give an https:// or ssh:// URL, user@host:path, or a path"))
            }
            None => match text.split_once(':') {
                // As Git has it: a colon before the first slash is a host, unless there is a path of that name.
                Some((host, path)) if !host.contains('/') && !std::path::Path::new(text).exists() => scp(host, path).map(Self::Ssh),
                _ if text.is_empty() => Err("it is empty".into()),
                _ => Ok(Self::Local(PathBuf::from(text))),
            },
        }
    }
}

fn http(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds credentials, which then stand in logs and process lists: put them into a secret, as `token` or as \
                    `username` and `password`, and take them out of the URL"
            .into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a repository's URL has no `?` and no `#`".into());
    }
    if url.scheme() == "http" && !url.host_str().is_some_and(is_loopback) {
        return Err(
            "plain http:// is for this machine only: anybody on the way could read the token and change the manifests; use https://".into(),
        );
    }
    Ok(url)
}

/// Whether a host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn ssh_url(rest: &str) -> Result<Ssh, String> {
    let (authority, path) = rest.split_once('/').ok_or("it names no path on the server")?;
    let (user, host) = user(authority)?;
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| "its port is not a number from 1 to 65535")?),
        _ => (host, 22),
    };
    // `ssh://host/~ann/fleet.git` is ann's home, not a folder at the root.
    let path = if path.starts_with('~') { path.to_owned() } else { format!("/{path}") };
    ssh(user, host, port, path)
}

fn scp(authority: &str, path: &str) -> Result<Ssh, String> {
    if !authority.contains('@') && path.split(['/', ':']).next().is_some_and(|first| first.contains('@')) {
        return Err(PASSWORD.into());
    }
    let (user, host) = user(authority)?;
    ssh(user, host, 22, path.to_owned())
}

fn user(authority: &str) -> Result<(&str, &str), String> {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("git", authority));
    if user.contains(':') {
        return Err(PASSWORD.into());
    }
    Ok((user, host))
}

fn ssh(user: &str, host: &str, port: u16, path: String) -> Result<Ssh, String> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || user.is_empty() || path.trim_matches('/').is_empty() {
        return Err("it lacks a user, a host or a path: ssh://user@host/path".into());
    }
    // What begins with a dash could be taken for an option on the server.
    if path.starts_with('-') || port == 0 {
        return Err("its path begins with `-`, or its port is 0".into());
    }
    Ok(Ssh { user: user.to_owned(), host: host.to_owned(), port, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(text: &str) -> (String, String, u16, String) {
        match Location::parse(text) {
            Ok(Location::Ssh(ssh)) => (ssh.user, ssh.host, ssh.port, ssh.path),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_forms_of_git() {
        let of = |user: &str, host: &str, port, path: &str| (user.to_owned(), host.to_owned(), port, path.to_owned());
        assert_eq!(ssh("ssh://ann@git.example.com:2222/fleet.git"), of("ann", "git.example.com", 2222, "/fleet.git"));
        assert_eq!(ssh("ssh://git.example.com/~ann/fleet.git"), of("git", "git.example.com", 22, "~ann/fleet.git"));
        assert_eq!(ssh("ssh://git@[::1]:2222/fleet.git"), of("git", "::1", 2222, "/fleet.git"));
        assert_eq!(ssh("git@git.example.com:team/fleet.git"), of("git", "git.example.com", 22, "team/fleet.git"));
        assert_eq!(ssh("git.example.com:/srv/fleet.git"), of("git", "git.example.com", 22, "/srv/fleet.git"));
        for local in ["/srv/fleet.git", "./a:b", "fleet", "file:///srv/fleet.git"] {
            assert!(matches!(Location::parse(local), Ok(Location::Local(_))), "{local}");
        }
        for http in ["https://git.example.com/fleet.git", "http://127.0.0.1:3000/fleet", "http://localhost/fleet", "http://[::1]:80/fleet"]
        {
            assert!(matches!(Location::parse(http), Ok(Location::Http(_))), "{http}");
        }
    }

    #[test]
    fn what_is_unsafe_is_refused_and_not_repeated() {
        for text in [
            "https://ann:s3cret@git.example.com/fleet.git",
            "https://s3cret@git.example.com/fleet.git",
            "https://git.example.com/fleet.git?private_token=s3cret",
            "ssh://ann:s3cret@git.example.com/fleet.git",
            "ann:s3cret@git.example.com:fleet.git",
            "http://git.example.com/s3cret",
            "git://git.example.com/s3cret",
            "ext::sh -c s3cret://",
            "git@git.example.com:-s3cret",
            "git@git.example.com:",
            "ssh://git.example.com:99999/s3cret",
            "https://git.example.com/s3cret\n",
            "",
        ] {
            let error = Location::parse(text).expect_err(text);
            assert!(!error.contains("s3cret"), "{text}: {error}");
        }
    }
}
