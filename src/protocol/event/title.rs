use super::{Event, Exception};

impl Event {
    /// The exception that was not caught: the outermost.
    #[must_use]
    pub fn main_exception(&self) -> Option<&Exception> {
        self.exceptions.last()
    }

    /// `error` for exceptions, `default` for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.exceptions.is_empty() { "default" } else { "error" }
    }

    #[must_use]
    pub fn title(&self) -> String {
        "<unlabeled event>".into()
    }

    #[must_use]
    pub fn culprit(&self) -> String {
        String::new()
    }
}
