//! How people come in, where `evenkeel run` listens for HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{anyhow, ensure};
use api::sign_in::oidc::{Provider, VOUCHED};
use api::sign_in::{Network, Options, Review, SignIn};
use clap::Args;
use reqwest::Url;
use store::Store;
use zeroize::Zeroizing;

/// Where browsers find us, and who vouches for people.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sign-in")]
pub(crate) struct SignInArgs {
    /// Where browsers find this engine, such as https://fleet.example.com: with https, cookies are for it alone and never go in plain
    #[arg(long, requires = "listen", value_name = "URL")]
    pub(super) external_url: Option<Url>,
    /// A reverse proxy, as an address or a network such as 10.0.0.0/8, whose X-Forwarded-For is believed: else everybody behind it is one
    /// address, and locked out together. May be given several times
    #[arg(long = "trusted-proxy", requires = "listen", value_name = "ADDRESS[/BITS]")]
    trusted_proxies: Vec<Network>,
    /// A provider of OpenID Connect that vouches for people, such as https://dex.example.com; it sends them back to
    /// EXTERNAL-URL/api/v1/oidc/callback
    #[arg(long, requires_all = ["external_url", "oidc_client_id", "oidc_client_secret_file"], value_name = "URL")]
    oidc_issuer: Option<String>,
    /// Who we are there
    #[arg(long, requires = "oidc_issuer", value_name = "ID")]
    oidc_client_id: Option<String>,
    /// File with the secret for it
    #[arg(long, requires = "oidc_issuer", value_name = "FILE")]
    oidc_client_secret_file: Option<PathBuf>,
    /// The claim that is a user's name here, as Roles name them: `email` counts only where the provider says that it is verified
    #[arg(long, requires = "oidc_issuer", default_value = "email", value_name = "CLAIM")]
    oidc_user_claim: String,
    /// The claim with a user's groups, as Roles name them
    #[arg(long, requires = "oidc_issuer", default_value = "groups", value_name = "CLAIM")]
    oidc_groups_claim: String,
    /// Only members of this group of the provider come in; may be given several times. Everybody it vouches for if none is given
    #[arg(long = "oidc-allowed-group", requires = "oidc_issuer", value_name = "GROUP")]
    oidc_allowed_groups: Vec<String>,
    /// Members of this group of the provider may everything here; its own group `admins` means nothing
    #[arg(long, requires = "oidc_issuer", value_name = "GROUP")]
    oidc_admins_group: Option<String>,
    /// A scope that is asked for beside openid, email and profile, such as groups; may be given several times
    #[arg(long = "oidc-scope", requires = "oidc_issuer", value_name = "SCOPE")]
    oidc_scopes: Vec<String>,
    /// How long what the provider said of a user counts for their API tokens: who has not signed in for longer has to, before these count
    /// again. Sessions end within 7 days anyway
    #[arg(long, requires = "oidc_issuer", default_value = "30d", value_name = "TIME")]
    oidc_vouched_for: Option<crds::Duration>,
    /// What the button says [default: the provider's host]
    #[arg(long, requires = "oidc_issuer", hide_default_value = true, value_name = "TEXT")]
    oidc_title: Option<String>,
}

/// What was said, checked.
pub(super) fn sign_in(args: &SignInArgs, mode: &'static str, review: Option<Review>) -> anyhow::Result<SignIn> {
    if let Some(url) = &args.external_url {
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        ensure!(
            ["http", "https"].contains(&url.scheme()) && url.has_host() && is_plain && url.path() == "/",
            "--external-url: https://HOST or https://HOST:PORT, without a path: the page is at the top of its host"
        );
    }
    let options =
        Options { external_url: args.external_url.clone(), proxies: args.trusted_proxies.clone(), mode, provider: provider(args)?, review };
    SignIn::new(options).map_err(|error| anyhow!(error))
}

fn provider(args: &SignInArgs) -> anyhow::Result<Option<Provider>> {
    let (Some(issuer), Some(id), Some(file)) = (&args.oidc_issuer, &args.oidc_client_id, &args.oidc_client_secret_file) else {
        return Ok(None);
    };
    let url: Url = issuer.parse().map_err(|error| anyhow!("--oidc-issuer: {error}"))?;
    // Over plain HTTP anybody on the way could be the provider.
    let is_here = url.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
    ensure!(url.scheme() == "https" || (url.scheme() == "http" && is_here), "--oidc-issuer: it has to be https");
    ensure!(url.query().is_none() && url.fragment().is_none(), "--oidc-issuer: an address without ? and #");
    let scopes = ["email", "profile"].map(str::to_owned).into_iter().chain(args.oidc_scopes.iter().cloned()).collect();
    Ok(Some(Provider {
        issuer: issuer.clone(),
        client_id: id.clone(),
        client_secret: Zeroizing::new(super::run::secret_line(file)?),
        scopes,
        user_claim: args.oidc_user_claim.clone(),
        groups_claim: args.oidc_groups_claim.clone(),
        allowed_groups: args.oidc_allowed_groups.iter().cloned().collect(),
        admins_group: args.oidc_admins_group.clone(),
        vouched_for: args.oidc_vouched_for.map_or(VOUCHED, |time| time.0),
        title: args.oidc_title.clone().unwrap_or_else(|| url.host_str().unwrap_or_default().to_owned()),
    }))
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
