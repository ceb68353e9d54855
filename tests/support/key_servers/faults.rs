//! What goes wrong between a client and a server, and for which calls.

use serde::{Deserialize, Serialize};

use super::wire::Reply;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// An error of the server, as JSON.
    Status {
        status: u16,
    },
    /// An error of what stands in front of the server, as a page.
    Page {
        status: u16,
    },
    /// 429. `retry_after` goes into the header as it is: seconds, a date, or nonsense.
    TooManyRequests {
        retry_after: Option<String>,
    },
    Redirect {
        location: String,
    },
    /// The connection ends in the middle of the body.
    HalfBody,
    /// The connection ends instead of an answer.
    ConnectionClosed,
    /// The connection stays, and nothing comes.
    NeverAnswers,
    /// The answer begins later.
    Slow {
        milliseconds: u64,
    },
    /// The body comes byte by byte, with so long between two.
    Drip {
        milliseconds: u64,
    },
    /// The body is as long as this, by spaces behind it.
    Padded {
        bytes: usize,
    },
    /// The body has no end.
    Endless,
    /// What the header says of a body that stays as it is.
    ContentType {
        content_type: String,
    },
    /// Keys in the answer are others than were asked for.
    EchoOtherKey,
    /// The first page each time, which says that the same page is the next.
    SamePage,
    /// The first page each time, which always says that another page is next.
    PagesForever,
    /// The clock of the server, in the Date header and in what the server makes.
    ClockOffset {
        seconds: i64,
    },
    /// Somebody else makes a key in the project that the path names.
    StrangerMakesKey,
}

/// Whether the call has done its work when the fault comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Nothing is done.
    #[default]
    Before,
    /// It is done, and its answer is lost.
    After,
}

/// A fault for some calls. Several that match one call all apply, in the order in which they were switched on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default = "any_method")]
    pub method: String,
    #[serde(default = "any_path")]
    pub path: String,
    /// So many matching calls pass first.
    #[serde(default)]
    pub skip: u32,
    /// `None`: until it is cleared.
    #[serde(default)]
    pub times: Option<u32>,
    #[serde(default)]
    pub when: When,
    pub fault: Fault,
}

fn any_method() -> String {
    "*".into()
}

fn any_path() -> String {
    "**".into()
}

impl Rule {
    /// For all calls of a method (`*`: of each) and a path as [`matches_path`] reads it, until it is cleared.
    pub fn new(method: &str, path: &str, fault: Fault) -> Self {
        Self { method: method.into(), path: path.into(), skip: 0, times: None, when: When::Before, fault }
    }

    pub fn everywhere(fault: Fault) -> Self {
        Self::new("*", "**", fault)
    }

    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    pub fn once(self) -> Self {
        self.times(1)
    }

    pub fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    pub fn after(self) -> Self {
        Self { when: When::After, ..self }
    }

    /// Whether the rule applies to a call, which is counted.
    pub fn takes(&mut self, method: &str, path: &str) -> bool {
        if !matches_call(&self.method, &self.path, method, path) || self.times == Some(0) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times = self.times.map(|times| times - 1);
        true
    }
}

impl Fault {
    /// What stands in the place of the server's own reply.
    pub fn reply(&self) -> Option<Reply> {
        Some(match self {
            Self::Status { status } => {
                let message = "Internal Error";
                Reply::json(*status, serde_json::json!({ "detail": message, "message": message }))
            }
            Self::Page { status } => {
                let page =
                    format!("<!DOCTYPE html>\n<html><body><h1>{status}</h1><p>The gateway is sad.</p></body></html>\n");
                Reply::text(*status, "text/html; charset=utf-8", page)
            }
            Self::TooManyRequests { retry_after } => {
                let message = "You are attempting to use this endpoint too frequently.";
                let reply = Reply::json(429, serde_json::json!({ "detail": message, "message": message }));
                match retry_after {
                    Some(retry_after) => reply.header("retry-after", retry_after),
                    None => reply,
                }
            }
            Self::Redirect { location } => Reply::empty(302).header("location", location),
            _ => return None,
        })
    }

    /// Switched on before the effect, it keeps the server from acting.
    pub fn prevents(&self) -> bool {
        let lost = matches!(self, Self::HalfBody | Self::ConnectionClosed | Self::NeverAnswers | Self::Endless);
        lost || self.reply().is_some()
    }
}

/// Whether a call is meant by a method, or `*`, and a path.
pub fn matches_call(method: &str, pattern: &str, called: &str, path: &str) -> bool {
    (method == "*" || method.eq_ignore_ascii_case(called)) && matches_path(pattern, path)
}

/// `*` stands for one segment of a path, `**` for all that follow. Paths are compared as they were sent, without query.
pub fn matches_path(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        match (wanted, segments.next()) {
            ("**", _) => return true,
            ("*", Some(segment)) if !segment.is_empty() => {}
            (wanted, Some(segment)) if wanted == segment => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}
