//! The attributes of an event that we know: their names, their type, and what their value is to those who clean it.
//! The one table of them: the parser reads by it, the notes check by it, and `scrub` finds its places by it.
//!
//! An attribute is one row of [`attributes!`]: its name and older names, the type that the parser takes, what it holds.
//! Rows that the parser does not read, or takes in any type, have the type `Anything`. What is not in the table stays in
//! the payload and is cleaned as anything that an application may put in.

/// What a value may be. Null is no fault anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Text,
    /// Text, or a number or boolean that stands for its text.
    Scalar,
    /// A line or column.
    Number,
    Flag,
    Time,
    EventId,
    Release,
    Environment,
    /// Text or one of Python's numbers.
    Level,
    /// Any scalar, or an object of a template and its parameters.
    Message,
    Texts,
    Scalars,
    Object(Interface),
    /// Objects in a list, in `{"values": […]}`, or a single one.
    Values(Interface),
    /// `{"frames": […]}`, or the frames alone.
    Stacktrace,
    /// An object, or a list of pairs.
    Pairs,
    /// Any type is taken, or nobody reads it.
    Anything,
}

/// What a value holds, for those who clean it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// What an application may put in under a name that nobody knows.
    Free,
    /// Structure: nothing in it is secret, however deep it is.
    Kept,
    /// A name, an id, a number: nothing is secret as long as it is a scalar.
    Name,
    /// Text that people must be able to read.
    Text,
    /// Source code.
    Code,
    Url,
    /// The address of the user.
    UserAddress,
    /// The address that an SDK says of itself.
    ClientAddress,
    /// The address that a server says of whom it answers.
    RemoteAddress,
    Cookies,
    /// The body of a request.
    Data,
    /// Variables of a server.
    Variables,
    Headers,
    Query,
    Tags,
    Object(Interface),
    /// As [`Expected::Values`].
    Values(Interface),
}

/// The one header that is read, in any case.
#[must_use]
pub fn is_user_agent(header: &[u8]) -> bool {
    header.eq_ignore_ascii_case(b"user-agent")
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The protocol's name of today, then the older ones.
    pub names: &'static [&'static [u8]],
    pub expected: Expected,
    pub content: Content,
}

/// An object for each heading and an enum of its attributes, whose rows are numbered alike.
macro_rules! attributes {
    ($(
        $(#[$doc:meta])*
        $interface:ident $name:ident {
            $( $attribute:ident = $first:literal $(| $alias:literal)*:
                $expected:ident $(($expected_of:ident))?, $content:ident $(($content_of:ident))?; )*
        }
    )*) => {
        /// An object of the protocol, in its own word: what has attributes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Interface { $( $(#[$doc])* $interface, )* }

        impl Interface {
            pub const ALL: &'static [Self] = &[$( Self::$interface, )*];

            #[must_use]
            pub fn attributes(self) -> &'static [Attribute] {
                match self { $( Self::$interface => $name::ROWS, )* }
            }

            /// The row of the attribute that has this name, new or old.
            #[inline]
            #[must_use]
            pub fn attribute(self, name: &[u8]) -> Option<&'static Attribute> {
                match self { $( Self::$interface => $name::named(name).map($name::row), )* }
            }
        }

        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $name { $( $attribute, )* }

            impl $name {
                const ROWS: &'static [Attribute] = &[$( Attribute {
                    names: &[$first $(, $alias)*],
                    expected: Expected::$expected $((Interface::$expected_of))?,
                    content: Content::$content $((Interface::$content_of))?,
                }, )*];

                /// The attribute that has this name, new or old.
                #[inline]
                #[must_use]
                pub fn named(name: &[u8]) -> Option<Self> {
                    Some(match name {
                        $( $first $(| $alias)* => Self::$attribute, )*
                        _ => return None,
                    })
                }

                #[inline]
                fn row(self) -> &'static Attribute {
                    &Self::ROWS[self as usize]
                }
            }
        )*
    };
}

attributes! {
    /// The event itself.
    Event EventAttribute {
        EventId = b"event_id": EventId, Name;
        Type = b"type": Text, Name;
        Timestamp = b"timestamp": Time, Name;
        StartTimestamp = b"start_timestamp": Anything, Name;
        Received = b"received": Anything, Name;
        Level = b"level": Level, Name;
        Platform = b"platform": Text, Name;
        Release = b"release": Release, Name;
        Dist = b"dist": Scalar, Name;
        Environment = b"environment": Environment, Name;
        Transaction = b"transaction": Text, Text;
        TransactionInfo = b"transaction_info": Anything, Kept;
        Culprit = b"culprit": Text, Text;
        Logger = b"logger": Text, Name;
        ServerName = b"server_name": Text, Text;
        Site = b"site": Text, Text;
        Project = b"project": Anything, Name;
        KeyId = b"key_id": Anything, Name;
        Version = b"version": Anything, Name;
        Checksum = b"checksum": Anything, Name;
        LogEntry = b"logentry" | b"sentry.interfaces.Message": Message, Object(Message);
        Message = b"message": Message, Object(Message);
        Exception = b"exception" | b"sentry.interfaces.Exception": Values(Exception), Values(Exception);
        Stacktrace = b"stacktrace" | b"sentry.interfaces.Stacktrace": Stacktrace, Object(Stacktrace);
        Template = b"template" | b"sentry.interfaces.Template": Anything, Object(Frame);
        Threads = b"threads" | b"sentry.interfaces.Threads": Values(Thread), Values(Thread);
        Breadcrumbs = b"breadcrumbs" | b"sentry.interfaces.Breadcrumbs": Values(Breadcrumb), Values(Breadcrumb);
        Csp = b"csp" | b"sentry.interfaces.Csp": Object(Csp), Text;
        Nel = b"nel": Anything, Text;
        Hpkp = b"hpkp": Anything, Text;
        ExpectCt = b"expectct": Anything, Text;
        ExpectStaple = b"expectstaple": Anything, Text;
        Fingerprint = b"fingerprint": Scalars, Kept;
        User = b"user" | b"sentry.interfaces.User": Object(User), Object(User);
        Request = b"request" | b"sentry.interfaces.Http": Object(Request), Object(Request);
        Contexts = b"contexts" | b"sentry.interfaces.Contexts": Object(Contexts), Object(Contexts);
        Sdk = b"sdk": Object(Sdk), Object(Sdk);
        Tags = b"tags": Pairs, Tags;
        Extra = b"extra": Anything, Free;
        Modules = b"modules": Anything, Kept;
        DebugMeta = b"debug_meta": Anything, Kept;
    }

    /// One exception of a chain.
    Exception ExceptionAttribute {
        Type = b"type": Text, Name;
        Value = b"value": Anything, Text;
        Module = b"module": Text, Name;
        ThreadId = b"thread_id": Anything, Name;
        Stacktrace = b"stacktrace" | b"sentry.interfaces.Stacktrace": Stacktrace, Object(Stacktrace);
        RawStacktrace = b"raw_stacktrace": Anything, Object(Stacktrace);
        Mechanism = b"mechanism": Object(Mechanism), Object(Mechanism);
    }

    /// What caught an exception.
    Mechanism MechanismAttribute {
        Type = b"type": Text, Name;
        Handled = b"handled": Flag, Name;
        Synthetic = b"synthetic": Flag, Name;
        ExceptionId = b"exception_id": Number, Name;
        ParentId = b"parent_id": Number, Name;
        IsExceptionGroup = b"is_exception_group": Flag, Name;
        Source = b"source": Text, Name;
        Description = b"description": Anything, Text;
        HelpLink = b"help_link": Anything, Text;
        Meta = b"meta": Anything, Kept;
    }

    /// Calls, oldest first.
    Stacktrace StacktraceAttribute {
        Frames = b"frames": Values(Frame), Values(Frame);
        FramesOmitted = b"frames_omitted": Anything, Name;
        Lang = b"lang": Anything, Name;
        Snapshot = b"snapshot": Anything, Name;
        InstructionAddrAdjustment = b"instruction_addr_adjustment": Anything, Name;
        Registers = b"registers": Anything, Kept;
    }

    /// One call.
    Frame FrameAttribute {
        Filename = b"filename": Text, Name;
        Function = b"function": Text, Name;
        Lineno = b"lineno": Number, Name;
        InApp = b"in_app": Flag, Name;
        Module = b"module": Text, Name;
        AbsPath = b"abs_path": Text, Name;
        Colno = b"colno": Number, Name;
        ContextLine = b"context_line": Text, Code;
        PreContext = b"pre_context": Texts, Code;
        PostContext = b"post_context": Texts, Code;
        Package = b"package": Text, Name;
        Platform = b"platform": Anything, Name;
        RawFunction = b"raw_function": Anything, Name;
        Symbol = b"symbol": Anything, Name;
        InstructionAddr = b"instruction_addr": Anything, Name;
        SymbolAddr = b"symbol_addr": Anything, Name;
        ImageAddr = b"image_addr": Anything, Name;
        AddrMode = b"addr_mode": Anything, Name;
        Trust = b"trust": Anything, Name;
        StackStart = b"stack_start": Anything, Name;
        SourceLink = b"source_link": Anything, Text;
    }

    /// One thread.
    Thread ThreadAttribute {
        Id = b"id": Anything, Name;
        Crashed = b"crashed": Flag, Name;
        Current = b"current": Anything, Name;
        Main = b"main": Anything, Name;
        Name = b"name": Anything, Text;
        Stacktrace = b"stacktrace": Stacktrace, Object(Stacktrace);
        RawStacktrace = b"raw_stacktrace": Anything, Object(Stacktrace);
    }

    /// What happened before.
    Breadcrumb BreadcrumbAttribute {
        Timestamp = b"timestamp": Anything, Name;
        Type = b"type": Anything, Name;
        Level = b"level": Anything, Name;
        EventId = b"event_id": Anything, Name;
        Category = b"category": Anything, Text;
    }

    /// A message: a template and its parameters.
    Message MessageAttribute {
        Message = b"message": Anything, Text;
        Formatted = b"formatted": Anything, Text;
        Params = b"params": Anything, Text;
    }

    /// A report of a browser, in both spellings of its names.
    Csp CspAttribute {
        EffectiveDirective = b"effective_directive" | b"effective-directive": Text, Free;
        ViolatedDirective = b"violated_directive" | b"violated-directive": Text, Free;
        BlockedUri = b"blocked_uri" | b"blocked-uri": Text, Free;
        DocumentUri = b"document_uri" | b"document-uri": Text, Free;
    }

    /// The request that was answered.
    Request RequestAttribute {
        Method = b"method": Anything, Name;
        InferredContentType = b"inferred_content_type": Anything, Name;
        ApiTarget = b"api_target": Anything, Name;
        Url = b"url": Text, Url;
        Headers = b"headers": Pairs, Headers;
        Cookies = b"cookies": Anything, Cookies;
        Env = b"env": Object(Variables), Variables;
        QueryString = b"query_string": Anything, Query;
        Data = b"data": Anything, Data;
    }

    /// Variables of the server, as CGI names them.
    Variables VariablesAttribute {
        RemoteAddr = b"REMOTE_ADDR": Anything, RemoteAddress;
        HttpUserAgent = b"HTTP_USER_AGENT": Anything, Name;
    }

    /// Whom it happened to.
    User UserAttribute {
        Id = b"id": Scalar, Name;
        Username = b"username": Scalar, Name;
        Email = b"email": Scalar, Name;
        IpAddress = b"ip_address": Scalar, UserAddress;
    }

    /// What surrounded the event.
    Contexts ContextsAttribute {
        Runtime = b"runtime": Object(Software), Free;
        Os = b"os": Object(Software), Free;
        Browser = b"browser": Object(Software), Free;
        Device = b"device": Object(Device), Free;
        Feedback = b"feedback": Anything, Object(Feedback);
        Response = b"response": Anything, Object(Request);
    }

    /// Any context.
    Context ContextAttribute {
        Type = b"type": Text, Name;
        TraceId = b"trace_id": Anything, Name;
        SpanId = b"span_id": Anything, Name;
        ParentSpanId = b"parent_span_id": Anything, Name;
        Op = b"op": Anything, Name;
        Status = b"status": Anything, Name;
        Origin = b"origin": Anything, Name;
    }

    /// A context with a name and a version.
    Software SoftwareAttribute {
        Name = b"name": Scalar, Free;
        Version = b"version": Scalar, Free;
        RawDescription = b"raw_description": Scalar, Free;
    }

    /// The context of the machine.
    Device DeviceAttribute {
        Model = b"model": Scalar, Free;
        Family = b"family": Scalar, Free;
    }

    /// What a user wrote about an error.
    Feedback FeedbackAttribute {
        Message = b"message" | b"comments": Anything, Text;
        Name = b"name": Anything, Text;
        ContactEmail = b"contact_email" | b"email": Anything, Name;
        AssociatedEventId = b"associated_event_id" | b"event_id": Anything, Name;
        ReplayId = b"replay_id": Anything, Name;
        Source = b"source": Anything, Name;
        Url = b"url": Anything, Url;
    }

    /// The SDK: structure, whatever else it says.
    Sdk SdkAttribute {
        Settings = b"settings": Anything, Kept;
        ClientIp = b"client_ip": Anything, ClientAddress;
    }
}
