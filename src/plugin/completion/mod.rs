//! Completion. A shell asks the program itself what may come next, as `kubectl-errors __complete WORD…`, so that it
//! knows the names of keys too; here are the scripts that make it ask. kubectl asks for `kubectl errors …`, by calling
//! `kubectl_complete-errors WORD…`: that is this program by another name.

use clap::{Arg, Command, CommandFactory as _, Parser, ValueEnum};
use kube::{Resource, ResourceExt as _};

use super::{
    Arguments, PluginError,
    annotations::keys_of,
    cluster::{Cluster, Options},
    output::print,
};
use crate::crd::{ClientKey, ErrorTrackingProject};

/// Name under which kubectl asks, since 1.26.
const ASKED_BY_KUBECTL: &str = "kubectl_complete-errors";
/// The first word when a shell asks.
const ASKED_BY_SHELL: &str = "__complete";
/// To the shell: names of files are no answer.
const NO_FILES: &str = ":4";

/// Print a script that completes `kubectl-errors` in a shell.
///
/// For `kubectl errors`, link this program as kubectl_complete-errors into a folder of the PATH.
#[derive(Clone, Debug, clap::Args)]
pub struct Completion {
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub fn completion(command: &Completion) -> Result<(), PluginError> {
    print(match command.shell {
        Shell::Bash => include_str!("kubectl-errors.bash"),
        Shell::Zsh => include_str!("kubectl-errors.zsh"),
        Shell::Fish => include_str!("kubectl-errors.fish"),
    })
}

/// The words of the command line that is being written, if it is a shell or kubectl that calls.
pub fn asked(arguments: &[String]) -> Option<&[String]> {
    let (program, words) = arguments.split_first()?;
    if program.rsplit('/').next() == Some(ASKED_BY_KUBECTL) {
        return Some(words);
    }
    words.split_first().filter(|(first, _)| *first == ASKED_BY_SHELL).map(|(_, words)| words)
}

/// Answers as cobra's `__complete` does: a candidate a line, with its description behind a tab, and what the shell
/// should make of them at the end.
pub async fn answer(words: &[String]) -> Result<(), PluginError> {
    let mut root = Arguments::command();
    root.build();
    let line = Line::read(&root, words);
    let mut candidates = match &line.next {
        Next::Words(words) => words.clone(),
        // A completion that cannot ask has nothing to say.
        next => line.objects(next).await.unwrap_or_default(),
    };
    candidates.retain(|(candidate, _)| candidate.starts_with(line.begun));
    let describe = |(candidate, about): &(String, String)| {
        if about.is_empty() { format!("{candidate}\n") } else { format!("{candidate}\t{about}\n") }
    };
    print(&format!("{}{NO_FILES}\n", candidates.iter().map(describe).collect::<String>()))
}

/// What may come next.
#[derive(Debug, PartialEq, Eq)]
enum Next<'a> {
    /// With their descriptions.
    Words(Vec<(String, String)>),
    Keys,
    Projects,
    /// Those of this `ClientKey`.
    KeyIds(&'a str),
}

/// A command line that is being written.
struct Line<'a> {
    next: Next<'a>,
    /// The beginning of the next word.
    begun: &'a str,
    /// Options that say where the cluster is, as they were written.
    options: Vec<String>,
}

impl<'a> Line<'a> {
    fn read(root: &Command, words: &'a [String]) -> Self {
        let (begun, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
        let (mut command, mut positionals, mut options) = (root, Vec::new(), Vec::new());
        let mut waits: Option<&Arg> = None;
        for word in before {
            if word == "=" && waits.is_some() {
                // bash has taken --output=wide apart.
            } else if let Some(option) = waits.take() {
                note_option(&mut options, option, word);
            } else if let Some((option, value)) = option_of(command, word) {
                match value {
                    Some(value) => note_option(&mut options, option, value),
                    None if option.get_action().takes_values() => waits = Some(option),
                    None => {}
                }
            } else if let Some(found) = command.find_subcommand(word) {
                command = found;
            } else {
                positionals.push(word.as_str());
            }
        }
        let next = match waits {
            Some(option) => Next::Words(values(option)),
            None if begun.starts_with('-') => Next::Words(flags(command)),
            None if command.has_subcommands() => Next::Words(subcommands(command)),
            None => positional(command, &positionals),
        };
        Self { next, begun, options }
    }

    /// Names and ids, which the API server knows.
    async fn objects(&self, next: &Next<'_>) -> Result<Vec<(String, String)>, PluginError> {
        #[derive(Parser)]
        struct Connection {
            #[command(flatten)]
            options: Options,
        }
        let words = ["kubectl-errors"].into_iter().chain(self.options.iter().map(String::as_str));
        let Ok(Connection { options }) = Connection::try_parse_from(words) else { return Ok(Vec::new()) };
        let cluster = options.connect().await?;
        match next {
            Next::Words(words) => Ok(words.clone()),
            Next::Keys => names::<ClientKey>(&cluster).await,
            Next::Projects => names::<ErrorTrackingProject>(&cluster).await,
            Next::KeyIds(name) => {
                let key = cluster.key(name).await?.key;
                let (active, retiring) = keys_of(&key);
                let named = |id: Option<&str>, about: &str| id.map(|id| (id.to_owned(), about.to_owned()));
                Ok(named(active, "active").into_iter().chain(named(retiring, "retiring")).collect())
            }
        }
    }
}

async fn names<K: Resource<DynamicType = ()>>(cluster: &Cluster) -> Result<Vec<(String, String)>, PluginError> {
    let objects = cluster.objects::<K>(false).await?;
    Ok(objects.iter().map(|object| (object.name_any(), String::new())).collect())
}

/// The option that a word is, and its value if that is in the same word.
fn option_of<'a, 'w>(command: &'a Command, word: &'w str) -> Option<(&'a Arg, Option<&'w str>)> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let option = command.get_arguments().find(|option| option.get_long() == Some(name))?;
        return Some((option, value));
    }
    let mut letters = word.strip_prefix('-')?.chars();
    let short = letters.next()?;
    let option = command.get_arguments().find(|option| option.get_short() == Some(short))?;
    Some((option, Some(letters.as_str()).filter(|value| !value.is_empty())))
}

fn note_option(options: &mut Vec<String>, option: &Arg, value: &str) {
    let long = option.get_long().unwrap_or_default();
    if ["namespace", "context", "kubeconfig"].contains(&long) {
        options.push(format!("--{long}={value}"));
    }
}

fn values(option: &Arg) -> Vec<(String, String)> {
    option.get_possible_values().iter().map(|value| (value.get_name().to_owned(), String::new())).collect()
}

fn flags(command: &Command) -> Vec<(String, String)> {
    let described = |option: &Arg| {
        let about = option.get_help().map(ToString::to_string).unwrap_or_default();
        option.get_long().map(|long| (format!("--{long}"), about))
    };
    command.get_arguments().filter_map(described).collect()
}

fn subcommands(command: &Command) -> Vec<(String, String)> {
    let described = |command: &Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        (command.get_name().to_owned(), about)
    };
    command.get_subcommands().map(described).collect()
}

fn positional<'a>(command: &Command, before: &[&'a str]) -> Next<'a> {
    let Some(wanted) = command.get_positionals().nth(before.len()) else { return Next::Words(Vec::new()) };
    match (wanted.get_id().as_str(), before) {
        ("key", _) => Next::Keys,
        ("project", _) => Next::Projects,
        ("key_id", [key, ..]) => Next::KeyIds(key),
        _ => Next::Words(values(wanted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_is_told_what_may_come_next() {
        const ALL: &str = "issues show resolve ignore reopen merge tail open login token send-test rotate revoke restore keys dsn status completion help";
        let mut root = Arguments::command();
        root.build();
        for (line, next, options) in [
            ("", ALL, ""),
            ("ro", ALL, ""),
            ("-n web ", ALL, "--namespace=web"),
            ("-nweb rotate ", "Keys", "--namespace=web"),
            ("rotate --context=a --kubeconfig b ", "Keys", "--context=a --kubeconfig=b"),
            ("rotate shop ", "", ""),
            ("rotate --wait sh", "Keys", ""),
            ("rotate --timeout ", "", ""),
            ("revoke shop ", "ids of shop", ""),
            ("revoke --yes shop 4", "ids of shop", ""),
            ("restore shop 4", "ids of shop", ""),
            ("keys ", "Projects", ""),
            ("keys -o ", "wide json yaml name", ""),
            ("keys -A --output ", "wide json yaml name", ""),
            ("keys --output = w", "wide json yaml name", ""),
            ("rotate --namespace = web ", "Keys", "--namespace=web"),
            ("status ", "", ""),
            ("issues ", "Projects", ""),
            ("issues --status ", "unresolved resolved ignored", ""),
            ("show ", "", ""),
            ("tail ", "Projects", ""),
            ("send-test ", "Keys", ""),
            ("completion ", "bash zsh fish", ""),
            ("dsn --", "--for --runner-version --namespace --context --kubeconfig --help", ""),
            ("dsn shop --for ", "runner", ""),
            ("keys --o", "--output --namespace --context --kubeconfig --all-namespaces --help", ""),
        ] {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let read = Line::read(&root, &words);
            let said = match &read.next {
                Next::Words(words) => words.iter().map(|(word, _)| word.as_str()).collect::<Vec<_>>().join(" "),
                Next::KeyIds(key) => format!("ids of {key}"),
                other => format!("{other:?}"),
            };
            let sorted = |text: &str| {
                let mut words: Vec<_> = text.split(' ').map(str::to_owned).collect();
                words.sort_unstable();
                words
            };
            assert_eq!(sorted(&said), sorted(next), "{line:?}");
            assert_eq!(read.options.join(" "), options, "{line:?}");
        }
    }

    #[test]
    fn the_call_says_who_asks() {
        for (line, words) in [
            ("kubectl_complete-errors rotate sh", Some("rotate sh")),
            ("/usr/local/bin/kubectl_complete-errors", Some("")),
            ("kubectl-errors __complete keys -o", Some("keys -o")),
            ("kubectl-errors keys __complete", None),
            ("kubectl-errors", None),
        ] {
            let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(asked(&arguments).map(|words| words.join(" ")).as_deref(), words, "{line}");
        }
        assert_eq!(asked(&[]), None);
    }
}
