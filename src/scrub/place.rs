//! Where in an event a value stands, and what that means for it.

use super::{rules::Rules, signals::Signals};

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
    /// Removed whatever it is: an address nobody may store.
    Removed,
    /// The address of the user, `{{auto}}` for the one the request came from.
    UserAddress,
    /// Anything an application may put in: a text with a secret goes whole.
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

    Event,
    Breadcrumbs,
    Breadcrumb,
    Context,
    Contexts,
    Exceptions,
    Exception,
    Feedback,
    Frames,
    Frame,
    Mechanism,
    Message,
    Request,
    Sdk,
    Stacktrace,
    Threads,
    Thread,
    User,
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
    /// Whether a text that tells of a secret goes as a whole.
    pub(super) fn may_go_whole(self) -> bool {
        matches!(self, Self::Whole | Self::Form(_))
    }

    /// Whether what is secret is named by its kind, for people to read on: `[email]`.
    pub(super) fn is_inline(self) -> bool {
        matches!(self, Self::Inline | Self::Code | Self::Url)
    }
}

impl Place {
    /// How a text is treated that stands here; `None` if it stays.
    pub(super) fn style(self) -> Option<Style> {
        Some(match self {
            Self::Kept | Self::Name | Self::UserAddress => return None,
            Self::Inline | Self::Message | Self::Pairs(Pairs::Tags) | Self::Item(Pairs::Tags) => Style::Inline,
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
            Self::Breadcrumbs => Self::Breadcrumb,
            Self::Exceptions => Self::Exception,
            Self::Frames | Self::Stacktrace => Self::Frame,
            Self::Threads => Self::Thread,
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
        let may_be_secret = rules.has_own_words() && (self == Self::User || !place.is_structure());
        match may_be_secret && signals().any(Signals::OWN_WORD) {
            false => place,
            // An identity that reads `[Filtered]` would make all users the same.
            true if self == Self::User => Self::Removed,
            true => Self::Secret,
        }
    }

    /// Place of the value of a name that the protocol does not know.
    fn free_member(self, name: &str, rules: &Rules, signals: Signals) -> Self {
        if rules.is_secret_name(name, signals) {
            return Self::Secret;
        }
        match self {
            Self::Inline | Self::Pairs(Pairs::Tags) => Self::Inline,
            Self::Pairs(Pairs::Cookies) if rules.is_secret_cookie(name) => Self::Secret,
            Self::Contexts => Self::Context,
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
        Some(match self {
            Self::Frame => match name {
                b"filename" | b"function" | b"lineno" | b"in_app" | b"module" | b"abs_path" | b"colno" | b"package"
                | b"platform" | b"raw_function" | b"symbol" | b"instruction_addr" | b"symbol_addr" | b"image_addr"
                | b"addr_mode" | b"trust" | b"stack_start" => Self::Name,
                b"context_line" | b"pre_context" | b"post_context" => Self::Code,
                b"source_link" => Self::Inline,
                _ => return None,
            },
            Self::Event => return Self::event_attribute(name),
            Self::Exceptions | Self::Exception => match name {
                b"values" if self == Self::Exceptions => Self::Exceptions,
                b"type" | b"module" | b"thread_id" => Self::Name,
                b"value" => Self::Inline,
                b"stacktrace" | b"raw_stacktrace" => Self::Stacktrace,
                b"mechanism" => Self::Mechanism,
                _ => return None,
            },
            Self::Mechanism => match name {
                b"type"
                | b"handled"
                | b"synthetic"
                | b"exception_id"
                | b"parent_id"
                | b"is_exception_group"
                | b"source" => Self::Name,
                b"description" | b"help_link" => Self::Inline,
                b"meta" => Self::Kept,
                _ => return None,
            },
            Self::Stacktrace => match name {
                b"frames" => Self::Frames,
                b"registers" => Self::Kept,
                b"frames_omitted" | b"lang" | b"snapshot" | b"instruction_addr_adjustment" => Self::Name,
                _ => return None,
            },
            Self::Threads | Self::Thread => match name {
                b"values" if self == Self::Threads => Self::Threads,
                b"id" | b"crashed" | b"current" | b"main" => Self::Name,
                b"name" => Self::Inline,
                b"stacktrace" | b"raw_stacktrace" => Self::Stacktrace,
                _ => return None,
            },
            Self::Breadcrumbs | Self::Breadcrumb => match name {
                b"values" if self == Self::Breadcrumbs => Self::Breadcrumbs,
                b"timestamp" | b"type" | b"level" | b"event_id" => Self::Name,
                b"category" => Self::Inline,
                _ => return None,
            },
            Self::Message => match name {
                b"message" | b"formatted" | b"params" => Self::Inline,
                _ => return None,
            },
            Self::Request => match name {
                b"method" | b"inferred_content_type" | b"api_target" => Self::Name,
                b"url" => Self::Url,
                b"headers" => Self::Pairs(Pairs::Headers),
                b"cookies" => Self::Pairs(Pairs::Cookies),
                b"env" => Self::Pairs(Pairs::Environment),
                b"query_string" => Self::Pairs(Pairs::Query),
                b"data" => Self::Pairs(Pairs::Data),
                _ => return None,
            },
            Self::User => match name {
                b"id" | b"username" | b"email" => Self::Name,
                b"ip_address" => rules.address(Self::UserAddress),
                _ => return None,
            },
            Self::Contexts => match name {
                b"feedback" => Self::Feedback,
                b"response" => Self::Request,
                _ => return None,
            },
            Self::Context => match name {
                b"type" | b"trace_id" | b"span_id" | b"parent_span_id" | b"op" | b"status" | b"origin" => Self::Name,
                _ => return None,
            },
            Self::Feedback => match name {
                b"message" | b"name" => Self::Inline,
                b"contact_email" | b"associated_event_id" | b"replay_id" | b"source" => Self::Name,
                b"url" => Self::Url,
                _ => return None,
            },
            Self::Sdk if name == b"client_ip" => rules.address(Self::Name),
            Self::Sdk => Self::Kept,
            Self::Pairs(Pairs::Headers) if name.eq_ignore_ascii_case(b"User-Agent") => Self::Name,
            Self::Pairs(Pairs::Environment) => match name {
                b"REMOTE_ADDR" => rules.address(Self::Whole),
                b"HTTP_USER_AGENT" => Self::Name,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn event_attribute(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"event_id" | b"timestamp" | b"start_timestamp" | b"received" | b"level" | b"platform" | b"type"
            | b"dist" | b"release" | b"environment" | b"logger" | b"project" | b"key_id" | b"version" | b"checksum" => {
                Self::Name
            }
            b"modules" | b"debug_meta" | b"fingerprint" | b"transaction_info" => Self::Kept,
            b"sdk" => Self::Sdk,
            b"message" | b"logentry" | b"sentry.interfaces.Message" => Self::Message,
            b"transaction"
            | b"culprit"
            | b"server_name"
            | b"site"
            | b"csp"
            | b"sentry.interfaces.Csp"
            | b"nel"
            | b"hpkp"
            | b"expectct"
            | b"expectstaple" => Self::Inline,
            b"exception" | b"sentry.interfaces.Exception" => Self::Exceptions,
            b"stacktrace" | b"sentry.interfaces.Stacktrace" => Self::Stacktrace,
            b"template" | b"sentry.interfaces.Template" => Self::Frame,
            b"threads" | b"sentry.interfaces.Threads" => Self::Threads,
            b"breadcrumbs" | b"sentry.interfaces.Breadcrumbs" => Self::Breadcrumbs,
            b"request" | b"sentry.interfaces.Http" => Self::Request,
            b"user" | b"sentry.interfaces.User" => Self::User,
            b"contexts" | b"sentry.interfaces.Contexts" => Self::Contexts,
            b"tags" => Self::Pairs(Pairs::Tags),
            b"extra" => Self::Whole,
            _ => return None,
        })
    }
}

/// Names under which cookies stand outside of a request too, as in a breadcrumb or among the variables.
fn is_cookies(name: &str) -> bool {
    ["cookie", "cookies", "set-cookie", "http_cookie"].iter().any(|cookies| name.eq_ignore_ascii_case(cookies))
}
