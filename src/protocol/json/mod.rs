//! The tokens of JSON, as strangers write it: where each ends, and what a string stands for. Bytes come in, lengths and
//! characters go out; what a token is for is not known here. Used by the event's repair and by `scrub`, which mend what
//! a strict parser refuses.

mod string;
mod token;

pub(crate) use self::{
    string::{Piece, escape, escape_byte, piece, unescape},
    token::{after_blanks, container_end, is_finite, number_length, plain_length, string_end, value_end},
};
