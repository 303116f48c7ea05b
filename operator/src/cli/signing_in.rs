//! How people come in, where `evenkeel run` listens for HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::ensure;
use api::sign_in::{Network, Options, SignIn};
use clap::Args;
use reqwest::Url;
use store::Store;

/// Where browsers find us, and who vouches for people.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sign-in")]
pub(crate) struct SignInArgs {
    /// Where browsers find this engine, such as https://fleet.example.com: with https, cookies are for it alone and never go in plain
    #[arg(long, requires = "listen", value_name = "URL")]
    external_url: Option<Url>,
    /// A reverse proxy, as an address or a network such as 10.0.0.0/8, whose X-Forwarded-For is believed: else everybody behind it is one
    /// address, and locked out together. May be given several times
    #[arg(long = "trusted-proxy", requires = "listen", value_name = "ADDRESS[/BITS]")]
    trusted_proxies: Vec<Network>,
}

/// What was said, checked.
pub(super) fn sign_in(args: &SignInArgs, mode: &'static str) -> anyhow::Result<SignIn> {
    if let Some(url) = &args.external_url {
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        ensure!(
            ["http", "https"].contains(&url.scheme()) && url.has_host() && is_plain && url.path() == "/",
            "--external-url: https://HOST or https://HOST:PORT, without a path: the page is at the top of its host"
        );
    }
    let options = Options { external_url: args.external_url.clone(), proxies: args.trusted_proxies.clone(), mode, ..Options::default() };
    Ok(SignIn::new(options))
}

/// What is said once where nobody could come in yet: where the first administrator is made, by a token that counts once.
pub(super) async fn invitation(
    args: &SignInArgs,
    sign_in: &SignIn,
    store: &Arc<Store>,
    listens: Option<SocketAddr>,
) -> anyhow::Result<Option<String>> {
    let Some(listens) = listens else { return Ok(None) };
    if store.has_users().await? {
        return Ok(None);
    }
    let base = match &args.external_url {
        Some(url) => url.origin().ascii_serialization(),
        None if listens.ip().is_unspecified() => format!("http://localhost:{}", listens.port()),
        None => format!("http://{listens}"),
    };
    let token = sign_in.first_token();
    Ok(Some(format!(
        "There is no user yet. Make the first administrator at\n\n    {base}/sign-in#token={token}\n\nThis counts once, and until the next start; `evenkeel users add` on this machine is another way."
    )))
}

/// The port is open to whoever finds it: that is said where nothing hides passwords on the way.
pub(super) fn warn_of_plain(args: &SignInArgs, listens: SocketAddr) {
    let is_https = args.external_url.as_ref().is_some_and(|url| url.scheme() == "https");
    if !listens.ip().is_loopback() && !is_https {
        tracing::warn!(%listens, "passwords and cookies come in plain here: put a proxy with TLS before it, and say --external-url https://…");
    }
}
