//! Whether an id token is what this provider made for this console, for this sign-in, just now. Pure: OpenID Connect
//! Core 3.1.3.7, with RS256 and ES256, which every provider has one of.

use std::fmt;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jiff::Timestamp;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How far the provider's clock may be from ours, in seconds.
const SKEW: f64 = 60.0;

pub type Claims = Map<String, Value>;

/// What a token must say.
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub now: Timestamp,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    #[error("is not a signed JWT")]
    Malformed,
    #[error("is signed in another way than RS256 or ES256")]
    Algorithm,
    #[error("is signed with a key that the provider does not publish")]
    UnknownKey,
    #[error("has a signature that is not the provider's")]
    Signature,
    #[error("is of another issuer")]
    Issuer,
    #[error("is for another client")]
    Audience,
    #[error("has expired")]
    Expired,
    #[error("is of a time that has not come yet: compare the provider's clock")]
    NotYet,
    #[error("is for another sign-in")]
    Nonce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
}

impl Algorithm {
    const ALL: [Self; 2] = [Self::Rs256, Self::Es256];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.to_string() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        })
    }
}

/// The keys that a provider publishes (`jwks_uri`), as far as they can sign in one of our ways.
pub struct Keys(Vec<Key>);

struct Key {
    id: String,
    public: Public,
}

enum Public {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point of P-256.
    Elliptic(Vec<u8>),
}

/// RFC 7517 and 7518.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    r#use: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood. We know none.
    crit: Option<Value>,
}

impl Keys {
    /// `None`: this is no set of keys. A key that is not for us is passed over.
    #[must_use]
    pub fn parse(json: &[u8]) -> Option<Self> {
        let jwks: Jwks = serde_json::from_slice(json).ok()?;
        let keys = jwks.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Some(Self(keys.filter_map(key).collect()))
    }

    /// The claims of a token that one of the keys has signed, and that is as expected.
    pub fn verify(&self, token: &str, expected: &Expected<'_>) -> Result<Claims, BadToken> {
        let (signed, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(BadToken::Malformed)?;
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| BadToken::Malformed)?;
        let algorithm = Algorithm::named(&header.alg).ok_or(BadToken::Algorithm)?;
        if header.crit.is_some() {
            return Err(BadToken::Malformed);
        }
        let id = header.kid.ok_or(BadToken::UnknownKey)?;
        let mut candidates = self.0.iter().filter(|key| key.id == id && key.public.algorithm() == algorithm);
        let key = candidates.next().ok_or(BadToken::UnknownKey)?;
        key.public.verify(signed.as_bytes(), &decoded(signature)?)?;
        let claims = serde_json::from_slice(&decoded(claims)?).map_err(|_| BadToken::Malformed)?;
        check(&claims, expected)?;
        Ok(claims)
    }
}

impl Public {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::Elliptic(_) => Algorithm::Es256,
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadToken> {
        let verified = match self {
            Self::Rsa { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Self::Elliptic(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature),
        };
        verified.map_err(|_| BadToken::Signature)
    }
}

fn key(jwk: Jwk) -> Option<Key> {
    if jwk.r#use.is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let decode = |part: Option<String>| decoded(&part?).ok();
    let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            // ring takes numbers without leading zeros.
            let number = |part| decode(part).map(|bytes| bytes.into_iter().skip_while(|byte| *byte == 0).collect());
            Public::Rsa { modulus: number(jwk.n)?, exponent: number(jwk.e)? }
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (decode(jwk.x)?, decode(jwk.y)?);
            Public::Elliptic([&[4][..], &x, &y].concat())
        }
        _ => return None,
    };
    let fits = jwk.alg.is_none_or(|name| Algorithm::named(&name) == Some(public.algorithm()));
    fits.then_some(Key { id: jwk.kid, public })
}

fn check(claims: &Claims, expected: &Expected<'_>) -> Result<(), BadToken> {
    let is = |name: &str, wanted: &str| claims.get(name).is_some_and(|value| value == wanted);
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    if !is("iss", expected.issuer) {
        return Err(BadToken::Issuer);
    }
    let (ours, others) = match claims.get("aud") {
        Some(Value::Array(audiences)) => (audiences.iter().any(|aud| aud == expected.client_id), audiences.len() > 1),
        _ => (is("aud", expected.client_id), false),
    };
    // Of several audiences one asked for the token: `azp` names it.
    if !ours || ((others || claims.contains_key("azp")) && !is("azp", expected.client_id)) {
        return Err(BadToken::Audience);
    }
    let now = expected.now.as_duration().as_secs_f64();
    if time("exp").is_none_or(|expiry| expiry <= now - SKEW) {
        return Err(BadToken::Expired);
    }
    let begins = [time("iat"), if claims.contains_key("nbf") { time("nbf") } else { Some(now) }];
    if begins.iter().any(|begin| begin.is_none_or(|begin| begin > now + SKEW)) {
        return Err(BadToken::NotYet);
    }
    if is("nonce", expected.nonce) { Ok(()) } else { Err(BadToken::Nonce) }
}

fn decoded(part: &str) -> Result<Vec<u8>, BadToken> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| BadToken::Malformed)
}

#[cfg(test)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
    };
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    /// RFC 7515, A.2: a token of RS256, its key, and what it says.
    const RSA_TOKEN: &str = concat!(
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19",
        "yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt",
        "_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb",
        "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI",
        "8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    const RSA_MODULUS: &str = concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR",
        "T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB",
        "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia",
        "GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    );

    struct Signer(EcdsaKeyPair, SystemRandom);

    impl Signer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
            Self(pair, random)
        }

        fn jwk(&self) -> Value {
            let [x, y] = [1..33, 33..65].map(|part| BASE64_URL_SAFE_NO_PAD.encode(&self.0.public_key().as_ref()[part]));
            json!({"kty": "EC", "crv": "P-256", "kid": "first", "use": "sig", "alg": "ES256", "x": x, "y": y})
        }

        fn sign(&self, header: &Value, claims: &str) -> String {
            let [header, claims] =
                [header.to_string().as_str(), claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
            let signed = format!("{header}.{claims}");
            let signature = self.0.sign(&self.1, signed.as_bytes()).unwrap();
            format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
        }
    }

    fn keys(jwk: &Value) -> Keys {
        Keys::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap()
    }

    fn expected() -> Expected<'static> {
        let now = Timestamp::from_second(NOW).unwrap();
        Expected { issuer: "https://login.example", client_id: "console", nonce: "n", now }
    }

    fn claims() -> Value {
        json!({
            "iss": "https://login.example", "aud": "console", "sub": "ada", "nonce": "n",
            "iat": NOW - 1, "exp": NOW + 300,
        })
    }

    #[test]
    fn claims_count_when_they_are_for_this_sign_in() {
        use BadToken::{Audience, Expired, Issuer, Malformed, Nonce, NotYet};
        let signer = Signer::new();
        let keys = keys(&signer.jwk());
        let header = json!({"alg": "ES256", "kid": "first"});
        for (change, result) in [
            (json!({}), Ok(())),
            (json!({"iss": "https://login.example/"}), Err(Issuer)),
            (json!({"iss": ["https://login.example"]}), Err(Issuer)),
            (json!({"iss": null}), Err(Issuer)),
            (json!({"aud": ["console"]}), Ok(())),
            (json!({"aud": ["console", "other"], "azp": "console"}), Ok(())),
            (json!({"aud": ["console", "other"]}), Err(Audience)),
            (json!({"aud": ["console", "other"], "azp": "other"}), Err(Audience)),
            (json!({"azp": "other"}), Err(Audience)),
            (json!({"aud": "other"}), Err(Audience)),
            (json!({"aud": ["other"], "azp": "console"}), Err(Audience)),
            (json!({"aud": null}), Err(Audience)),
            (json!({"exp": NOW - 59}), Ok(())),
            (json!({"exp": NOW - 60}), Err(Expired)),
            (json!({"exp": "2099"}), Err(Expired)),
            (json!({"exp": null}), Err(Expired)),
            (json!({"iat": NOW + 60}), Ok(())),
            (json!({"iat": NOW + 61}), Err(NotYet)),
            (json!({"iat": null}), Err(NotYet)),
            (json!({"nbf": NOW + 61}), Err(NotYet)),
            (json!({"nbf": "now"}), Err(NotYet)),
            (json!({"nbf": NOW}), Ok(())),
            (json!({"nonce": "m"}), Err(Nonce)),
            (json!({"nonce": null}), Err(Nonce)),
        ] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let token = signer.sign(&header, &claims.to_string());
            let verified = keys.verify(&token, &expected());
            assert_eq!(verified.map(drop), result, "{change}");
        }
        assert_eq!(keys.verify(&signer.sign(&header, "[]"), &expected()), Err(Malformed));
    }

    #[test]
    fn only_the_provider_signs() {
        use BadToken::{Algorithm, Malformed, Signature, UnknownKey};
        let (signer, other) = (Signer::new(), Signer::new());
        let keys = keys(&signer.jwk());
        let claims = claims().to_string();
        let good = signer.sign(&json!({"alg": "ES256", "kid": "first"}), &claims);
        assert_eq!(keys.verify(&good, &expected()).unwrap()["sub"], "ada");
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (header, body) = message.split_once('.').unwrap();
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        for (name, token, result) in [
            ("another key", other.sign(&json!({"alg": "ES256", "kid": "first"}), &claims), Signature),
            ("another key's name", signer.sign(&json!({"alg": "ES256", "kid": "second"}), &claims), UnknownKey),
            ("no key's name", signer.sign(&json!({"alg": "ES256"}), &claims), UnknownKey),
            (
                "another algorithm of the same name",
                signer.sign(&json!({"alg": "RS256", "kid": "first"}), &claims),
                UnknownKey,
            ),
            ("HS256", signer.sign(&json!({"alg": "HS256", "kid": "first"}), &claims), Algorithm),
            ("none", signer.sign(&json!({"alg": "none", "kid": "first"}), &claims), Algorithm),
            ("none, unsigned", format!("{}.{body}.", encode(r#"{"alg":"none"}"#)), Algorithm),
            ("in small letters", signer.sign(&json!({"alg": "es256", "kid": "first"}), &claims), Algorithm),
            ("extensions", signer.sign(&json!({"alg": "ES256", "kid": "first", "crit": ["b64"]}), &claims), Malformed),
            ("other claims", format!("{header}.{}.{signature}", encode("{}")), Signature),
            ("no signature", format!("{message}."), Signature),
            ("half a signature", format!("{message}.{}", &signature[..40]), Signature),
            ("no base64", format!("{message}.+"), Malformed),
            ("two parts", message.to_owned(), Malformed),
            ("four parts", format!("{good}.{signature}"), Signature),
            ("nothing", String::new(), Malformed),
        ] {
            assert_eq!(keys.verify(&token, &expected()).map(drop), Err(result), "{name}");
        }
    }

    #[test]
    fn a_token_of_rsa_is_verified_by_its_modulus() {
        let public = |modulus: &str| {
            let jwk = json!({"kty": "RSA", "kid": "", "n": modulus, "e": "AQAB"});
            key(serde_json::from_value(jwk).unwrap()).unwrap().public
        };
        let (signed, signature) = RSA_TOKEN.rsplit_once('.').unwrap();
        let signature = decoded(signature).unwrap();
        assert_eq!(public(RSA_MODULUS).verify(signed.as_bytes(), &signature), Ok(()));
        let zero_first = BASE64_URL_SAFE_NO_PAD.encode([&[0][..], &decoded(RSA_MODULUS).unwrap()].concat());
        assert_eq!(public(&zero_first).verify(signed.as_bytes(), &signature), Ok(()));
        assert_eq!(public(RSA_MODULUS).verify(b"other", &signature), Err(BadToken::Signature));
        assert_eq!(public("AQAB").verify(signed.as_bytes(), &signature), Err(BadToken::Signature), "a short key");
    }

    #[test]
    fn keys_for_other_purposes_are_passed_over() {
        let good = Signer::new().jwk();
        for (change, taken) in [
            (json!({}), true),
            (json!({"use": null, "alg": null}), true),
            (json!({"use": "enc"}), false),
            (json!({"alg": "RS256"}), false),
            (json!({"crv": "P-384"}), false),
            (json!({"kty": "oct", "k": "AQAB"}), false),
            (json!({"kid": null}), false),
            (json!({"x": "+"}), false),
            (json!({"y": null}), false),
        ] {
            let mut jwk = good.clone();
            jwk.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            assert_eq!(keys(&jwk).0.len(), usize::from(taken), "{change}");
        }
        for (json, read) in [(r#"{"keys":[1,"a"]}"#, true), (r#"{"keys":{}}"#, false), ("[]", false), ("", false)] {
            assert_eq!(Keys::parse(json.as_bytes()).is_some(), read, "{json}");
        }
    }
}
