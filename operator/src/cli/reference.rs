//! `evenkeel reference`: the whole command line as one page of Markdown, which docs/cli.md keeps.
//!
//! It is made from what clap knows, so it says what `--help` says. Neither the terminal nor the environment has a part in it.

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command};

/// What stands above everything else.
const HEAD: &str = "<!-- Generated from operator/src/cli by `cargo xtask generate`; do not edit. -->\n# The command line\n\n";

/// The page of a command with everything below it; what is hidden there is left out.
pub(crate) fn page(mut root: Command) -> String {
    root.build();
    let mut page = String::from(HEAD);
    let _ = writeln!(page, "{}\n", sentence(root.get_about()));
    for command in below(&root) {
        let name = full_name(command);
        let _ = writeln!(page, "- [`{name}`](#{}): {}", name.replace(' ', "-"), sentence(command.get_about()));
    }
    after(&mut page, &root);
    for command in below(&root) {
        section(&mut page, command, 2);
    }
    page
}

/// The commands below a command that are there for people.
fn below(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

/// Arguments that are there for people, positional ones or options; `--help` and `--version` go without saying.
fn arguments(command: &Command, positional: bool) -> impl Iterator<Item = &Arg> {
    let shown = |arg: &&Arg| {
        let about_itself = matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version);
        !arg.is_hide_set() && !about_itself
    };
    command.get_arguments().filter(shown).filter(move |arg| arg.is_positional() == positional)
}

fn section(page: &mut String, command: &Command, level: usize) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let about = sentence(command.get_long_about().or(command.get_about()));
    let _ = writeln!(page, "\n{} {}\n\n{about}\n\n```text\n{usage}\n```", "#".repeat(level), full_name(command));
    for (title, positional) in [("Arguments", true), ("Options", false)] {
        let mut lines = arguments(command, positional).map(argument).peekable();
        if lines.peek().is_some() {
            let _ = writeln!(page, "\n{title}:\n\n{}", lines.collect::<Vec<_>>().join("\n"));
        }
    }
    after(page, command);
    for command in below(command) {
        section(page, command, level + 1);
    }
}

/// One argument in one line of a list.
fn argument(arg: &Arg) -> String {
    let mut line = format!("- `{}`", shape(arg));
    if arg.is_required_set() && !arg.is_positional() {
        line.push_str(" (required)");
    }
    let _ = write!(line, ": {}", sentence(arg.get_long_help().or(arg.get_help())));
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({})", value.get_name(), plain(Some(help))),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !values.is_empty() {
        let _ = write!(line, " One of {}.", values.join(", "));
    }
    // A flag's default is that it is not given.
    for default in arg.get_default_values().iter().filter(|value| !value.is_empty() && arg.get_action().takes_values()) {
        let _ = write!(line, " Default: `{}`.", default.to_string_lossy());
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(line, " Environment: `{}`.", variable.to_string_lossy());
    }
    if matches!(arg.get_action(), ArgAction::Append) {
        line.push_str(" May be given several times.");
    }
    line
}

/// How it is written: `-o, --output <OUTPUT>`, `<NAME>`, `[NAME]`.
fn shape(arg: &Arg) -> String {
    let names: Vec<&str> = arg.get_value_names().into_iter().flatten().map(|name| name.as_str()).collect();
    if arg.is_positional() {
        let name = names.join(" ");
        return if arg.is_required_set() { format!("<{name}>") } else { format!("[{name}]") };
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let mut shape = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    if arg.get_action().takes_values() {
        names.iter().for_each(|name| shape.push_str(&format!(" <{name}>")));
    }
    shape
}

/// What stands below the options in `--help`: what is indented there is code here.
fn after(page: &mut String, command: &Command) {
    let text = plain(command.get_after_long_help().or(command.get_after_help()));
    let mut code = false;
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if line.starts_with(' ') != code {
            page.push_str(if code { "```\n" } else { "\n```text\n" });
            code = !code;
        }
        let _ = match code {
            true => writeln!(page, "{}", line.strip_prefix("  ").unwrap_or(line)),
            false => writeln!(page, "\n{line}"),
        };
    }
    if code {
        page.push_str("```\n");
    }
}

fn full_name(command: &Command) -> String {
    command.get_bin_name().unwrap_or(command.get_name()).to_owned()
}

fn plain(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

/// Text that ends like a sentence; clap takes the last full stop away.
fn sentence(text: Option<&StyledStr>) -> String {
    let text = plain(text);
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '?', '!']) { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_and_every_argument_is_explained() {
        fn walk(command: &Command, missing: &mut Vec<String>) {
            if plain(command.get_about()).is_empty() {
                missing.push(full_name(command));
            }
            let all = arguments(command, true).chain(arguments(command, false));
            missing.extend(all.filter(|arg| plain(arg.get_help()).is_empty()).map(|arg| format!("{} {}", full_name(command), shape(arg))));
            below(command).for_each(|command| walk(command, missing));
        }
        let mut root = Cli::command();
        root.build();
        let mut missing = Vec::new();
        walk(&root, &mut missing);
        assert_eq!(missing, [""; 0]);
    }

    /// Words as a shell has them, single quotes taken into account.
    fn words(command: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (number, part) in command.split('\'').enumerate() {
            let mut last = true;
            if number % 2 == 1 {
                words.last_mut().unwrap().push_str(part);
                continue;
            }
            for word in part.split(' ') {
                if !std::mem::take(&mut last) {
                    words.push(String::new());
                }
                words.last_mut().unwrap().push_str(word);
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    /// A page that speaks of a command or an option which isn't there is a lie.
    #[test]
    fn the_commands_that_the_pages_name_can_be_given() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut given = 0;
        for page in ["README.md", "SECURITY.md", "docs/cli.md"] {
            let text = std::fs::read_to_string(root.join(page)).unwrap();
            // Usage lines are no commands; what stands two blanks behind one explains it.
            let lines = text
                .lines()
                .map(|line| line.trim().trim_start_matches("$ "))
                .filter(|line| line.starts_with("evenkeel ") && !line.contains(['<', '[']));
            for command in lines.filter_map(|line| line.split("  ").next()) {
                // In a shell, what follows is another command, another file, or a comment.
                let words = words(command);
                let words = words.iter().take_while(|word| !word.starts_with(['#', '|', '>', '&']));
                if let Err(error) = Cli::command().try_get_matches_from(words) {
                    panic!("{page}: {command}: {error}");
                }
                given += 1;
            }
        }
        assert!(given > 30, "only {given} commands were found");
    }
}
