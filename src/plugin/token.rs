//! Makes an API token of the console.

use clap::builder::PossibleValuesParser;
use form_urlencoded::Serializer;
use serde_json::json;

use super::{
    PluginError, cluster, console,
    output::{Document, note, print, print_document},
};
use crate::console_api::{ApiToken, SCOPES};

/// Make a token for a program outside of the cluster, as CI, that reads or decides about errors.
///
/// It may do what its scopes name and you may do, and is printed once. The console's page of API tokens lists and revokes
/// them.
#[derive(Clone, Debug, clap::Args)]
pub struct Token {
    /// Where it is used, as "nightly report".
    name: String,
    /// What it may be used for.
    #[arg(long = "scope", required = true, value_delimiter = ',', value_parser = PossibleValuesParser::new(SCOPES))]
    scopes: Vec<String>,
    /// Days until it ends.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    #[arg(short, long, value_enum)]
    output: Option<Document>,
    #[command(flatten)]
    console: console::Options,
}

pub async fn token(command: &Token, options: &cluster::Options) -> Result<(), PluginError> {
    let mut console = command.console.find(options).await?;
    let mut form = Serializer::new(String::new());
    form.append_pair("name", &command.name).append_pair("days", &command.days.to_string());
    form.extend_pairs(command.scopes.iter().map(|scope| ("scope", scope)));
    let ApiToken { token, expires_at } = console.post("/-/tokens.json", &form.finish()).await?;
    if let Some(document) = command.output {
        return print_document(document, &json!({"token": token, "expiresAt": expires_at}));
    }
    print(&format!("{token}\n"))?;
    note(&format!("It ends on {}, and is not shown again.", expires_at.strftime("%Y-%m-%d")));
    Ok(())
}
