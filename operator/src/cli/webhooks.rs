//! Webhooks of a repository's server, where `evenkeel run` takes them.

use std::sync::Arc;

use anyhow::bail;
use api::hooks::Hooks;
use api::view::Requests;
use clap::{Args, ValueEnum};
use cluster::Cluster;
use crds::{HookProvider, HookSpec, SecretRef};
use devices::Secrets;
use tokio_util::sync::CancellationToken;

use crate::engine::hooks::{Of, Repositories, TOKEN, hooks};

/// Whose webhooks are taken.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Webhooks")]
pub(crate) struct WebhookArgs {
    /// Let the repository's server ask for a look at once: POST /hooks/source, signed as this one does (generic: Standard Webhooks)
    #[arg(long, requires_all = ["listen", "webhook_secret", "repo"], conflicts_with = "kubernetes", value_name = "SERVER")]
    webhook: Option<Server>,
    /// The secret that they are signed with: `token`, of 16 characters or more
    #[arg(long, requires = "webhook", value_name = "NAME")]
    webhook_secret: Option<String>,
    /// In a cluster: take webhooks of Repositories that have `spec.webhook`: POST /hooks/NAMESPACE/NAME
    #[arg(long, requires_all = ["listen", "kubernetes"])]
    pub(super) webhooks: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Server {
    Github,
    Gitlab,
    Gitea,
    Generic,
}

/// Who takes webhooks, if anybody.
pub(super) async fn receiver(
    args: &WebhookArgs,
    branch: &str,
    requests: &Requests,
    cluster: Option<&Cluster>,
    secrets: Secrets,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Hooks>> {
    if let Some(cluster) = cluster.filter(|_| args.webhooks) {
        let repositories = Arc::new(Repositories::new(cluster));
        let (watched, stop) = (repositories.clone(), stop.clone());
        tokio::spawn(async move { watched.watch(stop).await });
        return Ok(Some(hooks(Of::Repositories(repositories), secrets)));
    }
    let (Some(server), Some(secret)) = (args.webhook, &args.webhook_secret) else { return Ok(None) };
    let provider = match server {
        Server::Github => HookProvider::GitHub,
        Server::Gitlab => HookProvider::GitLab,
        Server::Gitea => HookProvider::Gitea,
        Server::Generic => HookProvider::Generic,
    };
    // Here it is known at once; later there is nobody to tell.
    let value = secrets.read("default", secret, TOKEN).await.map_err(|error| anyhow::anyhow!("--webhook-secret: {error}"))?;
    if let Err(refusal) = forge::webhook::usable(&value) {
        bail!("--webhook-secret {secret}: {refusal}");
    }
    let spec = HookSpec { provider, secret_ref: SecretRef { name: secret.clone(), key: None } };
    let branch = format!("refs/heads/{branch}");
    Ok(Some(hooks(Of::Source { spec, branch, requests: requests.clone() }, secrets)))
}
