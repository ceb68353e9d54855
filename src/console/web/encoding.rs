//! Answers as gzip where the browser takes it: a page of fifty errors is a tenth of its length then. Used by `mod`.
//!
//! What the length of a page could tell about a form's token is of no use: a form counts only from our own origin.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY},
};
use http_body_util::BodyExt as _;
use tracing::warn;
use warp::reply::Response;

/// Shorter ones fit into one packet anyway.
const MIN_BYTES: usize = 1400;

/// The same, compressed for those who take that. All answers are whole in memory, and none is compressed yet.
pub async fn encode(response: Response, takes_gzip: bool) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            warn!(%error, "Failed to read an answer of our own.");
            Bytes::new()
        }
    };
    if body.len() < MIN_BYTES {
        return Response::from_parts(parts, body.into());
    }
    parts.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    if !takes_gzip {
        return Response::from_parts(parts, body.into());
    }
    // A page takes less than a millisecond. On threads of their own, many at once would each keep a window.
    let Ok(short) = compress(&body) else { return Response::from_parts(parts, body.into()) };
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, short.into())
}

fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// Whether headers of a request name it, or any, and not with a weight of nothing: RFC 9110, 12.5.3.
pub fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let mut any = false;
    for coding in values.flat_map(|value| value.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.split_once('=').map_or("", |(_, weight)| weight.trim());
        let is_taken = weight.is_empty() || weight.parse::<f32>().is_ok_and(|weight| weight > 0.0);
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") => return is_taken,
            "*" => any = is_taken,
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn asking(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_is_taken_where_it_is_named() {
        for (value, expected) in [
            ("gzip, deflate, br, zstd", true),
            ("GZIP;q=0.5", true),
            ("br, *;q=0.1", true),
            ("*;q=0", false),
            ("*, gzip;q=0", false),
            ("gzip;q=0.0", false),
            ("gzip;q=x", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip(&asking(value)), expected, "{value}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_long_answer_is_short_and_the_same() {
        let text = "<td>KeyError</td>".repeat(1000);
        let long = async |takes_gzip| encode(Response::new(text.clone().into()), takes_gzip).await;
        let response = long(true).await;
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(response.headers()[VARY], "accept-encoding");
        let short = response.into_body().collect().await.unwrap().to_bytes();
        assert!(short.len() < text.len() / 20, "{}", short.len());
        let mut read = String::new();
        GzDecoder::new(&short[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);

        let plain = long(false).await;
        assert!(!plain.headers().contains_key(CONTENT_ENCODING) && plain.headers().contains_key(VARY));
        assert_eq!(plain.into_body().collect().await.unwrap().to_bytes(), text);
        let little = encode(Response::new("little".into()), true).await;
        assert!(!little.headers().contains_key(CONTENT_ENCODING));
    }
}
