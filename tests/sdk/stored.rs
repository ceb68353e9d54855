//! What one SDK's run left in the store, read as the console reads it.

use error_tracking_operator::{protocol::event::EventId, store::console::Snapshot};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{rows::Row, support::ingest::World};

/// What every sample reports.
const EXCEPTION: &str = "the cart is empty";
const MESSAGE: &str = "Hello from ";
const USER: &str = "42";

#[derive(Default)]
pub struct Stored {
    pub events: usize,
    pub exception: Option<Exception>,
    pub message: bool,
    /// Both events name the user.
    pub user: bool,
    /// Of the issues that the events were grouped into.
    pub titles: Vec<String>,
    /// `None`: this version keeps no sessions.
    pub sessions: Option<Sessions>,
    /// `sdk` of the event: name and version.
    pub sdk: Option<(String, String)>,
}

/// Release health, over all hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    pub total: i64,
    pub errored: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exception {
    pub frames: usize,
    pub frames_with_line: usize,
    pub frames_with_source: usize,
}

impl Stored {
    pub async fn read(world: &World) -> Self {
        let schema = world.project.schema();
        let events = format!("SELECT event_id FROM {schema}.events ORDER BY received_at, event_id");
        let ids: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(events)).fetch_all(&world.pool).await.unwrap();
        let mut stored = Self { events: ids.len(), user: !ids.is_empty(), ..Self::default() };
        let mut snapshot = Snapshot::begin(&world.pool).await.unwrap();
        for id in ids {
            let event = snapshot.event(world.project, EventId(id.into_bytes())).await.unwrap().expect("it is there");
            stored.add(&serde_json::from_slice(&event.json().unwrap()).expect("JSON"));
        }
        snapshot.end().await.unwrap();
        let titles = format!("SELECT title FROM {schema}.issues ORDER BY issue_id");
        stored.titles = sqlx::query_scalar(AssertSqlSafe(titles)).fetch_all(&world.pool).await.unwrap();
        stored.sessions = Sessions::read(world, &schema).await;
        stored
    }

    fn add(&mut self, event: &Value) {
        self.user &= text(&event["user"]["id"]) == USER;
        if let Some(name) = event["sdk"]["name"].as_str() {
            self.sdk = Some((name.to_owned(), text(&event["sdk"]["version"])));
        }
        if let Some(exception) = values(&event["exception"]).iter().find(|it| text(&it["value"]).contains(EXCEPTION)) {
            self.exception = Some(Exception::of(event, exception));
        }
        let logentry = if event["logentry"].is_null() { &event["message"] } else { &event["logentry"] };
        let formatted = [logentry, &logentry["formatted"], &logentry["message"]];
        self.message |= formatted.into_iter().any(|message| text(message).starts_with(MESSAGE));
    }

    /// The two reports are two issues, and a list of issues tells which is which.
    pub fn is_readable(&self) -> bool {
        let titled = |text: &str| self.titles.iter().filter(|title| title.contains(text)).count() == 1;
        self.titles.len() == 2 && titled(EXCEPTION) && titled(MESSAGE)
    }

    /// Nothing more needs to be waited for.
    pub fn is_complete(&self, row: &Row) -> bool {
        let session_outstanding =
            row.session && self.sessions.is_some_and(|sessions| !sessions.are_one_with_an_error());
        self.exception.is_some() && self.message && !session_outstanding
    }
}

impl Exception {
    /// The stack is the exception's own, or that of the thread or the event when the SDK puts it there.
    fn of(event: &Value, exception: &Value) -> Self {
        let own = frames(exception);
        let of_thread = values(&event["threads"]).iter().map(frames).find(|frames| !frames.is_empty());
        let frames = if own.is_empty() { of_thread.unwrap_or_else(|| frames(event)) } else { own };
        let with = |member: &str| frames.iter().filter(|frame| !text(&frame[member]).is_empty()).count();
        Self { frames: frames.len(), frames_with_line: with("lineno"), frames_with_source: with("context_line") }
    }
}

impl Sessions {
    /// What a sample's run is: one session, in which the exception was seen.
    pub fn are_one_with_an_error(self) -> bool {
        self == Self { total: 1, errored: 1 }
    }

    /// `None` while there is no table for them.
    async fn read(world: &World, schema: &str) -> Option<Self> {
        let table: Option<String> = sqlx::query_scalar("SELECT to_regclass($1)::text")
            .bind(format!("{schema}.sessions"))
            .fetch_one(&world.pool)
            .await
            .unwrap();
        table?;
        let sum = |column| format!("SELECT coalesce(sum({column}), 0)::bigint FROM {{schema}}.sessions");
        Some(Self { total: world.count(&sum("total")).await, errored: world.count(&sum("errored")).await })
    }
}

/// The three shapes of a list: `{"values": […]}`, `[…]` and a single object.
fn values(list: &Value) -> &[Value] {
    match list {
        Value::Array(values) => values,
        Value::Object(members) => match members.get("values") {
            Some(Value::Array(values)) => values,
            Some(_) => &[],
            None => std::slice::from_ref(list),
        },
        _ => &[],
    }
}

fn frames(holder: &Value) -> &[Value] {
    holder["stacktrace"]["frames"].as_array().map_or(&[], Vec::as_slice)
}

/// A string or a number as text, else nothing.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}
