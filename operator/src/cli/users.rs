//! `evenkeel users` and `evenkeel tokens`

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use crds::{Kind, Verb};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Output, Where, show};

/// The size of a file with a password, with what is around it.
const MAX_PASSWORD: u64 = 4096;

/// Who may come in.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  evenkeel users add alice --admin                asks for the password\n  evenkeel users invite bob --group web           prints a link by which bob chooses one\n  evenkeel users groups bob web oncall            these groups and no others\n  evenkeel users disable bob\n\nWhat groups may do is said by Roles (docs/kinds.md); members of `admins` may everything. See docs/sign-in.md."
)]
pub(crate) struct UsersArgs {
    #[command(subcommand)]
    command: UsersCommand,
}

#[derive(Subcommand)]
enum UsersCommand {
    /// List users
    List {
        /// How they are printed
        #[arg(long, short, value_enum, default_value = "text")]
        output: Output,
        #[command(flatten)]
        engine: Where,
    },
    /// Add a local user with a password, which is asked for
    Add {
        #[command(flatten)]
        user: NewUser,
        #[command(flatten)]
        password: PasswordArgs,
        #[command(flatten)]
        engine: Where,
    },
    /// Add a local user who chooses a password, or let one that is there choose another: prints a token that counts once
    Invite {
        #[command(flatten)]
        user: NewUser,
        #[command(flatten)]
        engine: Where,
    },
    /// Set a local user's password, which is asked for; their sessions end, and a lock for failed sign-ins does
    Password {
        /// The user
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
        #[command(flatten)]
        engine: Where,
    },
    /// Keep a user out at once: sessions end, tokens count no more
    Disable {
        /// The user
        name: String,
        /// Let them in again instead
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        engine: Where,
    },
    /// Delete a user with their sessions and tokens; the audit log keeps their name
    Delete {
        /// The user
        name: String,
        #[command(flatten)]
        engine: Where,
    },
    /// Show the groups of a user, or put them into these and no others
    Groups {
        /// The user
        name: String,
        /// The groups
        #[arg(conflicts_with = "none")]
        groups: Vec<String>,
        /// None at all
        #[arg(long)]
        none: bool,
        #[command(flatten)]
        engine: Where,
    },
}

/// A user who is added.
#[derive(Args)]
struct NewUser {
    /// Small letters, digits and . _ - + @
    name: String,
    /// As people call them
    #[arg(long, default_value = "", hide_default_value = true)]
    display_name: String,
    /// Where they can be written to
    #[arg(long, default_value = "", hide_default_value = true)]
    email: String,
    /// A group that they are in; may be given several times
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// May everything: the group `admins`
    #[arg(long)]
    admin: bool,
}

/// Where a password comes from: never an argument, which everybody on the machine could read.
#[derive(Args)]
struct PasswordArgs {
    /// File with the password; `-` is standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(crate) async fn run(args: &UsersArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        UsersCommand::List { output, engine } => list(*output, engine).await?,
        UsersCommand::Add { user, password, engine } => {
            let mut body = described(user);
            body["password"] = json!(*read(password)?);
            engine.client()?.send_json("POST", "/api/v1/users", &body).await?;
            println!("user {} added", user.name);
        }
        UsersCommand::Invite { user, engine } => invite(user, engine).await?,
        UsersCommand::Password { name, password, engine } => {
            let body = json!({"password": *read(password)?});
            engine.client()?.send_json("POST", &of(name, "/password"), &body).await?;
            println!("password of {name} set");
        }
        UsersCommand::Disable { name, undo, engine } => {
            engine.client()?.send_json("PATCH", &of(name, ""), &json!({"disabled": !undo})).await?;
            println!("user {name} {}", if *undo { "may come in again" } else { "may not come in any more" });
        }
        UsersCommand::Delete { name, engine } => {
            engine.client()?.send_json("DELETE", &of(name, ""), &Value::Null).await?;
            println!("user {name} deleted");
        }
        UsersCommand::Groups { name, groups, none, engine } => {
            let client = engine.client()?;
            let user = match groups.is_empty() && !none {
                true => client.get(&of(name, "")).await?,
                false => client.send_json("PATCH", &of(name, ""), &json!({"groups": groups})).await?,
            };
            words(&user["groups"]).iter().for_each(|group| println!("{}", show::clean(group)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn of(name: &str, more: &str) -> String {
    format!("/api/v1/users/{}{more}", show::in_url(name))
}

fn described(user: &NewUser) -> Value {
    let admins = user.admin.then(|| "admins".to_owned());
    let groups: Vec<String> = user.groups.iter().cloned().chain(admins).collect();
    json!({"name": user.name, "displayName": user.display_name, "email": user.email, "groups": groups})
}

async fn list(output: Output, engine: &Where) -> anyhow::Result<()> {
    let list = engine.client()?.pages("/api/v1/users?limit=1000").await?;
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Output::Json | Output::Yaml = output {
        return show::document(&items, output);
    }
    let row = |user: &Value| {
        let text = |key: &str| user[key].as_str().unwrap_or_default().to_owned();
        let state = match () {
            () if user["disabled"] == true => "disabled",
            () if user.get("lockedUntil").is_some() => "locked",
            () if user["invited"] == true => "invited",
            () => "",
        };
        let numbers = ["sessions", "tokens"].map(|key| user[key].to_string());
        let [sessions, tokens] = numbers;
        vec![
            text("name"),
            text("kind"),
            words(&user["groups"]).join(", "),
            state.into(),
            show::second(&text("lastSignIn")),
            sessions,
            tokens,
        ]
    };
    show::table(&["NAME", "KIND", "GROUPS", "STATE", "LAST CAME", "SESSIONS", "TOKENS"], &items.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn invite(user: &NewUser, engine: &Where) -> anyhow::Result<()> {
    let client = engine.client()?;
    let is_there = client.get(&of(&user.name, "")).await.is_ok();
    let body = described(user);
    let says_more = user.admin || !user.groups.is_empty() || !user.email.is_empty() || !user.display_name.is_empty();
    let said = match is_there {
        true if says_more => {
            bail!("{} is there already: invite them by name alone, and change groups with `evenkeel users groups`", user.name)
        }
        true => client.send_json("POST", &of(&user.name, "/invitation"), &Value::Null).await?,
        false => client.send_json("POST", "/api/v1/users", &body).await?,
    };
    let token = said["invitation"].as_str().context("no token came back")?;
    let until = show::second(said["invitationExpiresAt"].as_str().unwrap_or_default());
    println!("Give this to {} by a safe way; it counts once, until {until}:", user.name);
    println!("{}/sign-in#invitation={}", engine.url()?.unwrap_or_default(), show::clean(token));
    if engine.server.is_none() {
        eprintln!("before it goes the address where browsers find this engine, as in --external-url, such as https://fleet.example.com");
    }
    Ok(())
}

/// From a file, or from whoever sits there; twice, since nobody sees what they type.
fn read(args: &PasswordArgs) -> anyhow::Result<Zeroizing<String>> {
    let password = match &args.password_file {
        Some(file) => from_file(file)?,
        None if std::io::stdin().is_terminal() => {
            let ask = |prompt: &str| {
                console::Term::stderr().write_str(prompt)?;
                console::Term::stderr().read_secure_line().map(Zeroizing::new)
            };
            let first = ask("Password: ")?;
            ensure!(first == ask("The same again: ")?, "these are two different passwords");
            first
        }
        None => bail!("there is nobody to be asked for a password: --password-file FILE, or - for standard input"),
    };
    ensure!(!password.is_empty(), "that is no password");
    Ok(password)
}

fn from_file(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let mut from: Box<dyn std::io::Read> = match file == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(file).with_context(|| file.display().to_string())?),
    };
    from.by_ref().take(MAX_PASSWORD).read_to_string(&mut text).with_context(|| file.display().to_string())?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Tokens that programs show.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  evenkeel tokens create ci --user alice --scope view:devices,deployments --expires-in 30d\n  evenkeel tokens list\n  evenkeel tokens revoke 5436d8edaaac\n\nA program shows it as `Authorization: Bearer ek_…`; the command line elsewhere takes it from EVENKEEL_TOKEN: `get`, `explain`, `alerts`, `logs` and `rollout status` show what its user may see, all else needs an administrator's without scopes."
)]
pub(crate) struct TokensArgs {
    #[command(subcommand)]
    command: TokensCommand,
}

#[derive(Subcommand)]
enum TokensCommand {
    /// List tokens
    List {
        /// Only those of this user
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// How they are printed
        #[arg(long, short, value_enum, default_value = "text")]
        output: Output,
        #[command(flatten)]
        engine: Where,
    },
    /// Make a token, and print it: it is shown this once
    Create {
        /// What it is for
        name: String,
        /// Whose it is: it may what they may
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Narrows it to verbs on kinds, such as view:devices,deployments or deploy,rollback:deployments, where * is any; may be given several times
        #[arg(long = "scope", value_name = "VERBS:KINDS")]
        scopes: Vec<String>,
        /// How long it counts, 365d at most
        #[arg(long, default_value = "90d", value_name = "DURATION")]
        expires_in: String,
        #[command(flatten)]
        engine: Where,
    },
    /// Revoke a token: it counts no more with the next request
    Revoke {
        /// Its id, as `list` shows it
        id: String,
        #[command(flatten)]
        engine: Where,
    },
}

pub(crate) async fn tokens(args: &TokensArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        TokensCommand::List { user, output, engine } => {
            let of = user.as_ref().map(|user| format!("?user={}", show::in_url(user))).unwrap_or_default();
            let list = engine.client()?.pages(&format!("/api/v1/tokens{of}")).await?;
            let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            if let Output::Json | Output::Yaml = output {
                show::document(&items, *output)?;
                return Ok(ExitCode::SUCCESS);
            }
            let row = |token: &Value| {
                let text = |key: &str| token[key].as_str().unwrap_or_default().to_owned();
                let time = |key: &str| show::second(&text(key));
                let scopes = token["scopes"].as_array().map(Vec::as_slice).unwrap_or_default();
                let scopes = scopes.iter().map(|scope| format!("{}:{}", any(&scope["verbs"]), any(&scope["kinds"]))).collect::<Vec<_>>();
                vec![text("id"), text("user"), text("name"), text("prefix"), scopes.join(" "), time("expiresAt"), time("lastUsedAt")]
            };
            let rows: Vec<_> = items.iter().map(row).collect();
            show::table(&["ID", "USER", "NAME", "BEGINS", "ONLY", "UNTIL", "LAST USED"], &rows);
        }
        TokensCommand::Create { name, user, scopes, expires_in, engine } => {
            let scopes = scopes.iter().map(|text| scope(text)).collect::<anyhow::Result<Vec<_>>>()?;
            let body = json!({"name": name, "user": user, "scopes": scopes, "expiresIn": expires_in});
            let token = engine.client()?.send_json("POST", "/api/v1/tokens", &body).await?;
            println!("{}", show::clean(token["token"].as_str().context("no token came back")?));
        }
        TokensCommand::Revoke { id, engine } => {
            engine.client()?.send_json("DELETE", &format!("/api/v1/tokens/{}", show::in_url(id)), &Value::Null).await?;
            println!("token {id} revoked");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn any(list: &Value) -> String {
    let words = words(list);
    if words.is_empty() { "*".into() } else { words.join(",") }
}

/// `VERBS:KINDS`, each checked here, so that it is said what there is.
fn scope(text: &str) -> anyhow::Result<Value> {
    let example = "such as view:devices,deployments or view,silence:*";
    let (verbs, kinds) = text.split_once(':').with_context(|| format!("--scope {text}: write VERBS:KINDS, {example}"))?;
    let list = |text: &str| text.split(',').map(str::trim).filter(|word| !["", "*"].contains(word)).map(str::to_owned).collect::<Vec<_>>();
    let (verbs, kinds) = (list(verbs), list(kinds));
    if let Some(verb) = verbs.iter().find(|verb| Verb::parse(verb).is_none()) {
        bail!("--scope {text}: there is no verb {verb}, but {}; {example}", Verb::ALL.map(Verb::as_str).join(", "));
    }
    if let Some(kind) = kinds.iter().find(|kind| Kind::parse(kind).is_none()) {
        let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.plural()).collect();
        bail!("--scope {text}: there is no kind {kind} that a scope could be for, but {}; {example}", known.join(", "));
    }
    Ok(json!({"verbs": verbs, "kinds": kinds}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_that_cannot_be_meant_is_told_what_there_is() {
        assert_eq!(scope("view:devices,deployments").unwrap(), json!({"verbs": ["view"], "kinds": ["devices", "deployments"]}));
        assert_eq!(scope("*:").unwrap(), json!({"verbs": [], "kinds": []}));
        for (text, parts) in [
            ("devices", ["VERBS:KINDS", "view:devices"]),
            ("read:devices", ["no verb read", "view, edit, deploy, rollback, approve, silence, acknowledge"]),
            ("view:users", ["no kind users", "devices"]),
        ] {
            let why = scope(text).unwrap_err().to_string();
            assert!(parts.iter().all(|part| why.contains(part)) && why.contains("such as"), "{why}");
        }
    }
}
