//! Who and where: the user an event names, the request it happened in, and whether the address of the
//! client may stand for a user who is not named.

use std::net::IpAddr;

use serde::de::{MapAccess, SeqAccess};

use super::{
    User,
    attributes::{RequestAttribute, SdkAttribute, UserAttribute, VariablesAttribute, is_user_agent},
    lenient::{Any, Attributes, Lenient, Name, Object, Rest, assign, skip, value},
    text::{Strict, Text, cleaned},
};

/// Platforms whose programs run on the user's own device: whoever sends the event is the user.
const CLIENT_PLATFORMS: [&str; 3] = ["javascript", "cocoa", "objc"];

const MAX_USER_AGENT_CHARS: usize = 512;

impl User {
    /// What makes two events the same user's: the first of id, username, email and address, as `id:5`.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        let Self { id, username, email, ip_address } = self;
        [("id", id), ("username", username), ("email", email), ("ip", ip_address)]
            .into_iter()
            .find_map(|(name, value)| value.as_deref().map(|value| format!("{name}:{value}")))
    }
}

/// The `user` of an event as it came.
#[derive(Default)]
pub(super) struct NamedUser {
    user: User,
    address: Option<Address>,
}

impl NamedUser {
    /// The user with the address it names, else that of the request it made, else the client's own where
    /// that is the user's: the order of Sentry, which scrubbing counts on.
    pub(super) fn resolve(
        self,
        remote_address: Option<Address>,
        infer_ip: InferIp,
        platform: &str,
        client_ip: Option<IpAddr>,
    ) -> User {
        let client_ip = client_ip.filter(|_| infer_ip != InferIp::Never);
        let resolve = |address: Address| match address {
            Address::Fixed(address) => Some(address),
            Address::Auto => client_ip,
        };
        let remote_address = remote_address.filter(|_| infer_ip != InferIp::Never).and_then(resolve);
        let is_the_user = infer_ip == InferIp::Auto || CLIENT_PLATFORMS.contains(&platform);
        let address = self.address.and_then(resolve).or(remote_address).or(client_ip.filter(|_| is_the_user));
        User { ip_address: address.map(|address| address.to_string()), ..self.user }
    }
}

impl Attributes for NamedUser {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match UserAttribute::named(name.as_bytes()) {
            Some(UserAttribute::Id) => assign(&mut self.user.id, trimmed(value(object)?)),
            Some(UserAttribute::Username) => assign(&mut self.user.username, trimmed(value(object)?)),
            Some(UserAttribute::Email) => assign(&mut self.user.email, trimmed(value(object)?)),
            Some(UserAttribute::IpAddress) => assign(&mut self.address, address(value(object)?)),
            None => skip(object)?,
        }
        Ok(())
    }
}

fn trimmed(text: Text<200>) -> Option<String> {
    text.0.and_then(|text| cleaned(text.trim(), 200))
}

/// An address, or the wish that the server put in the one it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Fixed(IpAddr),
    /// Written `{{auto}}`.
    Auto,
}

fn address(text: Text<64>) -> Option<Address> {
    match text.0?.trim() {
        "{{auto}}" => Some(Address::Auto),
        text => text.parse().ok().map(Address::Fixed),
    }
}

/// `sdk.settings.infer_ip`: what newer SDKs say about addresses nobody named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum InferIp {
    /// The client's address is the user's on every platform.
    Auto,
    /// Only where the program runs on the user's device, and where the event asks for it.
    #[default]
    Legacy,
    /// Only an address that the event itself gives to its user.
    Never,
}

/// The `sdk` of an event.
#[derive(Default)]
pub(super) struct Sdk {
    pub(super) infer_ip: InferIp,
}

impl Attributes for Sdk {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match SdkAttribute::named(name.as_bytes()) {
            Some(SdkAttribute::Settings) => {
                if let Some(settings) = value::<Object<Settings>, A>(object)?.0 {
                    self.infer_ip = settings.0;
                }
            }
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Settings(InferIp);

impl Attributes for Settings {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "infer_ip" => {
                let word: Strict<16> = value(object)?;
                self.0 = match word.0.as_deref() {
                    Some("auto") => InferIp::Auto,
                    Some("never") => InferIp::Never,
                    _ => InferIp::Legacy,
                };
            }
            _ => skip(object)?,
        }
        Ok(())
    }
}

/// The `request` of an event.
#[derive(Default)]
pub(super) struct Request {
    /// Without query and fragment, which name people and carry tokens.
    pub(super) url: Option<String>,
    /// The client's address as the application's server saw it.
    pub(super) remote_address: Option<Address>,
    pub(super) user_agent: Option<String>,
}

impl Attributes for Request {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match RequestAttribute::named(name.as_bytes()) {
            Some(RequestAttribute::Url) => {
                let url: Strict<2048> = value(object)?;
                let bare = url.0.as_deref().and_then(|url| url.split(['?', '#']).next());
                assign(&mut self.url, bare.and_then(|url| cleaned(url.trim(), 2048)));
            }
            Some(RequestAttribute::Env) => {
                if let Some(variables) = value::<Object<Variables>, A>(object)?.0 {
                    self.remote_address = variables.0;
                }
            }
            Some(RequestAttribute::Headers) => assign(&mut self.user_agent, value::<UserAgent, A>(object)?.0),
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Variables(Option<Address>);

impl Attributes for Variables {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match VariablesAttribute::named(name.as_bytes()) {
            Some(VariablesAttribute::RemoteAddr) => assign(&mut self.0, address(value(object)?)),
            _ => skip(object)?,
        }
        Ok(())
    }
}

/// The one header we look at, out of an object of headers or a list of pairs.
#[derive(Default)]
struct UserAgent(Option<String>);

impl Lenient for UserAgent {
    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut user_agent = None;
        while let Some(name) = object.next_key::<Name<'_>>()? {
            if is_user_agent(name.as_str().as_bytes()) {
                assign(&mut user_agent, value::<HeaderValue, A>(&mut object)?.0);
            } else {
                skip(&mut object)?;
            }
        }
        Ok(Self(user_agent))
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut user_agent = None;
        while let Some(Any(Header(found))) = list.next_element()? {
            assign(&mut user_agent, found);
        }
        Ok(Self(user_agent))
    }
}

/// `[name, value]`: the value, if it is the header's we look for.
#[derive(Default)]
struct Header(Option<String>);

impl Lenient for Header {
    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let name = list.next_element::<Any<Strict<64>>>()?.and_then(|Any(name)| name.0);
        if !name.is_some_and(|name| is_user_agent(name.as_bytes())) {
            return Rest::from_list(list).map(|_| Self::default());
        }
        let found = list.next_element::<Any<HeaderValue>>()?.and_then(|Any(value)| value.0);
        Rest::from_list(list).map(|_| Self(found))
    }
}

/// A header's value, of which servers make a list when it may come twice.
#[derive(Default)]
struct HeaderValue(Option<String>);

impl Lenient for HeaderValue {
    fn from_text(text: &str) -> Self {
        Self(cleaned(text.trim(), MAX_USER_AGENT_CHARS))
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let first = list.next_element::<Any<Self>>()?;
        Rest::from_list(list).map(|_| first.map(|Any(value)| value).unwrap_or_default())
    }
}

#[cfg(test)]
#[path = "user_tests.rs"]
mod tests;
