//! What a browser takes along to the identity provider and brings back: one random secret in a cookie, from which all
//! that OpenID Connect wants is derived. Nothing is kept here, so that any pod may see it come back. Pure.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

use crate::console::sign_in::sha256;

/// How long somebody may take at the provider.
pub const LASTS: SignedDuration = SignedDuration::from_mins(10);

/// How far the clocks of two pods may be apart.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// A sign-in that has begun. Whoever knows its secret can end it, which is the browser alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Departure {
    secret: [u8; 32],
    /// In seconds since 1970.
    began: i64,
    /// Where to go on to, relative to the console's root.
    to: String,
}

impl Departure {
    #[must_use]
    pub fn new(secret: [u8; 32], now: Timestamp, to: String) -> Self {
        Self { secret, began: now.as_second(), to }
    }

    /// As the cookie holds it.
    #[must_use]
    pub fn encode(&self) -> String {
        let [secret, to] = [&self.secret[..], self.to.as_bytes()].map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes));
        format!("{secret}.{}.{to}", self.began)
    }

    #[must_use]
    pub fn decode(cookie: &str) -> Option<Self> {
        let mut parts = cookie.split('.');
        let (secret, began, to) = (parts.next()?, parts.next()?, parts.next()?);
        let secret = BASE64_URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
        let to = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(to).ok()?).ok()?;
        parts.next().is_none().then_some(Self { secret, began: began.parse().ok()?, to })
    }

    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        let age = SignedDuration::from_secs(now.as_second().saturating_sub(self.began));
        !(-SKEW..LASTS).contains(&age)
    }

    #[must_use]
    pub fn into_place(self) -> String {
        self.to
    }

    /// Says that an answer belongs to this sign-in. It covers the rest of the cookie.
    #[must_use]
    pub fn state(&self) -> String {
        self.derive(&format!("state {} {}", self.began, self.to))
    }

    /// Whether `state` is [`Self::state`]. In constant time: digests are compared.
    #[must_use]
    pub fn has_state(&self, state: &str) -> bool {
        sha256(self.state().as_bytes()) == sha256(state.as_bytes())
    }

    /// What the id token repeats.
    #[must_use]
    pub fn nonce(&self) -> String {
        self.derive("nonce")
    }

    /// What the code is exchanged with: `code_verifier` of RFC 7636.
    #[must_use]
    pub fn verifier(&self) -> String {
        self.derive("verifier")
    }

    /// What the provider knows of the verifier before: `S256` of RFC 7636.
    #[must_use]
    pub fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(sha256(self.verifier().as_bytes()))
    }

    /// What Postgres keeps of it once it has led to a session.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.secret)
    }

    fn derive(&self, what: &str) -> String {
        #[expect(clippy::expect_used, reason = "HMAC hashes a longer key first")]
        let mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        BASE64_URL_SAFE_NO_PAD.encode(mac.chain_update(what).finalize().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn departure() -> Departure {
        Departure::new([7; 32], Timestamp::from_second(1_800_000_000).unwrap(), "web/shop/issues?status=a.b".to_owned())
    }

    #[test]
    fn a_departure_comes_back_from_its_cookie() {
        let cookie = departure().encode();
        assert!(cookie.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{cookie}");
        assert!(Departure::decode(&cookie) == Some(departure()));
        for (name, broken) in [
            ("empty", String::new()),
            ("a part less", cookie.rsplit_once('.').unwrap().0.to_owned()),
            ("a part more", format!("{cookie}.")),
            ("a short secret", cookie.replacen("Bw", "", 1)),
            ("no time", cookie.replacen("1800000000", "soon", 1)),
            ("no text", cookie.rsplit_once('.').unwrap().0.to_owned() + "._w"),
        ] {
            assert!(Departure::decode(&broken).is_none(), "{name}");
        }
    }

    #[test]
    fn the_state_covers_all_of_the_cookie() {
        let departure = departure();
        assert!(departure.has_state(&departure.state()));
        for (name, other) in [
            ("secret", Departure { secret: [8; 32], ..departure.clone() }),
            ("time", Departure { began: departure.began + 1, ..departure.clone() }),
            ("place", Departure { to: String::new(), ..departure.clone() }),
        ] {
            assert!(!other.has_state(&departure.state()), "{name}");
        }
        assert!(!departure.has_state(""));
    }

    #[test]
    fn what_goes_to_the_provider_says_nothing_of_what_stays() {
        let departure = departure();
        let all = [departure.state(), departure.nonce(), departure.verifier(), departure.challenge()];
        for (place, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 43, "RFC 7636 asks for 43 to 128 letters");
            assert!(!all[place + 1..].contains(one) && !departure.encode().contains(one));
        }
    }

    #[test]
    fn a_departure_is_over_after_ten_minutes() {
        let began = departure().began;
        for (seconds, over) in [(0, false), (599, false), (600, true), (-60, false), (-61, true)] {
            let now = Timestamp::from_second(began + seconds).unwrap();
            assert_eq!(departure().is_over(now), over, "{seconds} s");
        }
        assert!(Departure { began: i64::MIN, ..departure() }.is_over(Timestamp::UNIX_EPOCH));
        assert!(Departure { began: i64::MAX, ..departure() }.is_over(Timestamp::UNIX_EPOCH));
    }
}
