//! Where in an event a value stands, and what that means for it.

use super::{rules::Rules, signals::Signals};
use crate::protocol::event::attributes::{Attribute, Content, Interface, is_user_agent};

/// Lists of names and values, which come as an object, as pairs, as entries or as one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pairs {
    Cookies,
    Data,
    Environment,
    Headers,
    Query,
    Tags,
}

/// What a value is in the protocol's words, or, where it does not matter, how it is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Structure: it and all below it stays as it is.
    Kept,
    /// Structure as long as it is a scalar.
    Name,
    /// Stands under the name of a secret.
    Secret,
    /// The same, unless it is a number, which counts something.
    Counted,
    /// Removed whatever it is: an address nobody may store.
    Removed,
    /// The address of the user, `{{auto}}` for the one the request came from.
    UserAddress,
    /// Anything an application may put in: what is secret in a text is `[Filtered]`.
    Whole,
    /// Text that people must be able to read: only the pieces that are secret go.
    Inline,
    /// Source code: as inline, but decorators and annotations are no email addresses.
    Code,
    Url,
    /// All names and values.
    Pairs(Pairs),
    /// An element of such a list.
    Item(Pairs),
    /// `["name", "value"]`
    Pair(Pairs),
    PairName(Pairs),
    /// `{"key": "name", "value": "value"}`
    Entry(Pairs),
    EntryName,

    /// An object that the protocol knows.
    Object(Interface),
    /// Such objects in a list, in `{"values": […]}`, or a single one.
    Values(Interface),
}

/// How the rules treat a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Whole,
    Inline,
    Code,
    Url,
    /// The first of a pair: as whole, but a name that tells of a secret is none.
    Name,
    /// Names and values, and what stands between two of them.
    Form(Pairs),
}

impl Style {
    /// Whether what is secret is named by its kind, for people to read on: `[email]`.
    pub(super) fn is_inline(self) -> bool {
        matches!(self, Self::Inline | Self::Code | Self::Url)
    }
}

impl Place {
    pub(super) const EVENT: Self = Self::Object(Interface::Event);
    const USER: Self = Self::Object(Interface::User);

    /// How a text is treated that stands here; `None` if it stays.
    pub(super) fn style(self) -> Option<Style> {
        Some(match self {
            Self::Kept | Self::Name | Self::UserAddress => return None,
            Self::Inline | Self::Object(Interface::Message) | Self::Pairs(Pairs::Tags) | Self::Item(Pairs::Tags) => {
                Style::Inline
            }
            Self::Code => Style::Code,
            Self::PairName(_) | Self::EntryName => Style::Name,
            Self::Url => Style::Url,

            Self::Pairs(pairs @ (Pairs::Cookies | Pairs::Data | Pairs::Query))
            | Self::Item(pairs @ (Pairs::Cookies | Pairs::Data | Pairs::Query)) => Style::Form(pairs),
            _ => Style::Whole,
        })
    }

    /// What a list is that stands here.
    pub(super) fn list(self) -> Self {
        if let Self::Item(pairs) = self { Self::Pair(pairs) } else { self }
    }

    /// What an object is that stands here. A body's objects are the application's own.
    pub(super) fn object(self) -> Self {
        match self {
            Self::Item(Pairs::Data) => Self::Pairs(Pairs::Data),
            Self::Item(pairs) => Self::Entry(pairs),
            place => place,
        }
    }

    /// Place of the elements of a list that stands here, but for those of a pair.
    pub(super) fn element(self) -> Self {
        match self {
            Self::Kept | Self::Inline | Self::Code => self,
            Self::Pairs(pairs) => Self::Item(pairs),
            Self::Values(interface) => Self::Object(interface),
            Self::Object(Interface::Stacktrace) => Self::Object(Interface::Frame),
            _ => Self::Whole,
        }
    }

    /// Place of the member `name` of an object that stands here. The hints are asked for only if the name is
    /// not one of the protocol's.
    pub(super) fn member(self, name: &str, rules: &Rules, signals: impl FnOnce() -> Signals) -> Self {
        if self == Self::Kept {
            return self;
        }
        if rules.is_safe(name) {
            return Self::Kept;
        }
        let Some(place) = self.attribute(name.as_bytes(), rules) else {
            return self.free_member(name, rules, signals());
        };
        let may_be_secret = rules.has_own_words() && (self == Self::USER || !place.is_structure());
        match may_be_secret && signals().any(Signals::OWN_WORD) {
            false => place,
            // An identity that reads `[Filtered]` would make all users the same.
            true if self == Self::USER => Self::Removed,
            true => Self::Secret,
        }
    }

    /// Place of the value of a name that the protocol does not know.
    fn free_member(self, name: &str, rules: &Rules, signals: Signals) -> Self {
        if rules.is_secret_name(name, signals) {
            return if Rules::is_count(name, signals) { Self::Counted } else { Self::Secret };
        }
        match self {
            Self::Inline | Self::Pairs(Pairs::Tags) => Self::Inline,
            Self::Pairs(Pairs::Cookies) if rules.is_secret_cookie(name) => Self::Secret,
            Self::Pairs(Pairs::Headers) if Rules::is_session(name) => Self::Secret,
            Self::Object(Interface::Contexts) => Self::Object(Interface::Context),
            _ if signals.any(Signals::COOKIE) && is_cookies(name) => Self::Pairs(Pairs::Cookies),
            _ => Self::Whole,
        }
    }

    /// Whether nothing of a secret is ever looked for here, whatever the user's own words.
    fn is_structure(self) -> bool {
        !matches!(self, Self::Whole | Self::Inline | Self::Url | Self::UserAddress | Self::Pairs(_))
    }

    /// Place of an attribute that the protocol knows.
    fn attribute(self, name: &[u8], rules: &Rules) -> Option<Self> {
        let known = match self {
            Self::Values(_) if name == b"values" => return Some(self),
            Self::Object(interface) | Self::Values(interface) => interface.attribute(name),
            Self::Pairs(Pairs::Environment) => Interface::Variables.attribute(name),
            Self::Pairs(Pairs::Headers) if is_user_agent(name) => return Some(Self::Name),
            _ => return None,
        };
        match known {
            Some(Attribute { content, .. }) => Self::of(*content, rules),
            // What an SDK says of itself is structure, whatever it is.
            None => (self == Self::Object(Interface::Sdk)).then_some(Self::Kept),
        }
    }

    /// Place of an attribute with this content; `None` if the rules for free names hold.
    fn of(content: Content, rules: &Rules) -> Option<Self> {
        Some(match content {
            Content::Free => return None,
            Content::Kept => Self::Kept,
            Content::Name => Self::Name,
            Content::Text => Self::Inline,
            Content::Code => Self::Code,
            Content::Url => Self::Url,
            Content::UserAddress => rules.address(Self::UserAddress),
            Content::ClientAddress => rules.address(Self::Name),
            Content::RemoteAddress => rules.address(Self::Whole),
            Content::Cookies => Self::Pairs(Pairs::Cookies),
            Content::Data => Self::Pairs(Pairs::Data),
            Content::Variables => Self::Pairs(Pairs::Environment),
            Content::Headers => Self::Pairs(Pairs::Headers),
            Content::Query => Self::Pairs(Pairs::Query),
            Content::Tags => Self::Pairs(Pairs::Tags),
            Content::Object(interface) => Self::Object(interface),
            Content::Values(interface) => Self::Values(interface),
        })
    }
}

/// Names under which cookies stand outside of a request too, as in a breadcrumb or among the variables.
fn is_cookies(name: &str) -> bool {
    ["cookie", "cookies", "set-cookie", "http_cookie"].iter().any(|cookies| name.eq_ignore_ascii_case(cookies))
}
