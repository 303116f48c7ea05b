//! `evenkeel can`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use api::can::{Answer, Question, answer};
use clap::{Args, ValueEnum};
use crds::{Kind, Verb};
use reconcile::finding::Severity;

use super::{Where, show};

/// What is asked.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  evenkeel can alice@example.com deploy deployment/web\n  evenkeel can alice@example.com edit devices --group platform -n fleet\n  evenkeel can group:web silence alertrules --in fleet/\n\nExit: 0 yes, 1 no, 2 it could not be told."
)]
pub(crate) struct CanArgs {
    /// A user's name, group:NAME, or signer:KEY with the public key that signs commits
    subject: String,
    /// view, edit, deploy, rollback, approve, silence or acknowledge
    verb: String,
    /// A kind for any object of it, or KIND/NAME for one
    #[arg(value_name = "KIND[/NAME]")]
    target: String,
    /// Where
    #[arg(long, short, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    /// A group that the user is in, beside those that the engine knows of; may be given several times
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Answer by the Roles of this folder of manifests, or of one file, instead of by those of a running engine
    #[arg(long, value_name = "DIR")]
    r#in: Option<PathBuf>,
    /// How it is printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: CanOutput,
    #[command(flatten)]
    engine: Where,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CanOutput {
    /// For people
    Text,
    /// JSON
    Json,
}

pub(crate) async fn run(args: &CanArgs) -> ExitCode {
    match ask(args).await {
        Ok(answer) => {
            print(args, &answer);
            if answer.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("evenkeel: {}", show::clean(&format!("{error:#}")));
            ExitCode::from(2)
        }
    }
}

async fn ask(args: &CanArgs) -> anyhow::Result<Answer> {
    let question = question(args)?;
    let Some(folder) = &args.r#in else { return Ok(args.engine.client()?.can(&question).await?) };
    let (desired, findings) = manifests::check(folder).map_err(|error| anyhow!(error))?;
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        eprintln!("evenkeel: some manifests can't be used as they are: see `evenkeel check {}`", folder.display());
    }
    answer(&desired, &question, None).map_err(|error| anyhow!(error))
}

fn question(args: &CanArgs) -> anyhow::Result<Question> {
    let verbs = || Verb::ALL.map(Verb::as_str).join(", ");
    let verb = Verb::parse(&args.verb).with_context(|| format!("there is no verb {}; there are {}", args.verb, verbs()))?;
    let (kind, name) = args.target.split_once('/').map_or((args.target.as_str(), None), |(kind, name)| (kind, Some(name)));
    let Some(kind) = Kind::parse(kind) else {
        let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.plural()).collect();
        bail!("there is no kind {kind}; there are {}", kinds.join(", "));
    };
    if name.is_some_and(|name| name.is_empty() || name.contains('/')) {
        bail!("{}: write KIND or KIND/NAME, and the namespace with -n", args.target);
    }
    let name = name.map(str::to_owned);
    Ok(Question { subject: args.subject.clone(), groups: args.group.clone(), verb, kind, namespace: args.namespace.clone(), name })
}

fn print(args: &CanArgs, answer: &Answer) {
    if args.output == CanOutput::Json {
        println!("{}", serde_json::to_string_pretty(answer).unwrap_or_default());
        return;
    }
    let Answer { allowed, role, entry, why, groups, kubectl } = answer;
    match (role, entry) {
        (Some(role), Some(entry)) => println!("yes: role/{} {entry}", show::clean(role)),
        _ => println!("{}: {}", if *allowed { "yes" } else { "no" }, show::clean(why.as_deref().unwrap_or_default())),
    }
    if !groups.is_empty() {
        println!("as a member of {}, which the engine knows of", show::clean(&groups.join(", ")));
    }
    if *allowed && !kubectl && !args.subject.starts_with("signer:") {
        println!("not by kubectl: RBAC knows names only, and changes no Repositories (docs/kinds.md, Role, `allow.devices`)");
    }
}
