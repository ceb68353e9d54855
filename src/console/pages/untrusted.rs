//! Text that an SDK sent, made fit for a page.

pub use crate::text::visible;
