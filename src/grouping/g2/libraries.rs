//! Whose a frame is where no SDK says it: that of a runtime, a framework, a bridge from a logging library, or nobody's,
//! as what a runtime needs for a call by reflection.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::protocol::event::Frame;

/// Prefixes of what frames of one platform are in: its runtimes and frameworks, and the bridges that report what is
/// logged. Of files a part of the path, of native frames a part of the library's path.
struct Libraries {
    platforms: &'static str,
    modules: &'static str,
    paths: &'static str,
    bridges: &'static str,
    /// Called between any two frames, or not, as the runtime likes.
    machinery: &'static str,
}

/// The same, taken apart at the blanks.
struct Prefixes {
    platforms: Vec<&'static str>,
    modules: Vec<&'static str>,
    paths: PathParts,
    bridges: Vec<&'static str>,
    /// Those of `bridges` that are part of a path.
    bridge_paths: PathParts,
    machinery: Vec<&'static str>,
}

/// Parts of paths, made ready to be found in many.
struct PathParts {
    finders: Vec<Finder<'static>>,
    /// One of them is a directory.
    has_directory: bool,
}

impl PathParts {
    fn new(parts: &[&'static str]) -> Self {
        let has_directory = parts.iter().any(|part| part.contains(['/', '\\']));
        Self { finders: parts.iter().map(|part| Finder::new(*part)).collect(), has_directory }
    }
}

static PREFIXES: LazyLock<Vec<Prefixes>> = LazyLock::new(|| LIBRARIES.iter().map(Libraries::prefixes).collect());

impl Libraries {
    fn prefixes(&self) -> Prefixes {
        let parts = |text: &'static str| text.split_ascii_whitespace().collect::<Vec<_>>();
        // A word alone is no directory, and not looked for in paths.
        let is_path = |part: &&str| part.contains(['/', '\\', ':', '-', '.']) || part.len() > 7;
        Prefixes {
            platforms: parts(self.platforms),
            modules: parts(self.modules),
            paths: PathParts::new(&parts(self.paths)),
            bridges: parts(self.bridges),
            bridge_paths: PathParts::new(&parts(self.bridges).into_iter().filter(is_path).collect::<Vec<_>>()),
            machinery: parts(self.machinery),
        }
    }
}

/// A prefix that ends with a letter is a whole name: `log` is not `login`.
const LIBRARIES: &[Libraries] = &[
    Libraries {
        platforms: "java kotlin groovy cfml",
        modules: "
            java. javax. jakarta. jdk. sun. com.sun. kotlin. kotlinx. scala. groovy. clojure. android.
            androidx. com.android. dalvik. libcore. org.codehaus.groovy. org.springframework. org.apache.
            org.hibernate. org.jboss. org.wildfly. org.eclipse.jetty. org.glassfish. weblogic. com.ibm.ws.
            io.undertow. io.netty. io.quarkus. io.micronaut. io.vertx. io.ktor. io.grpc. io.reactivex.
            io.sentry. io.opentelemetry. akka. org.apache.pekko. play. reactor. rx. okhttp3. okio.
            retrofit2. com.google.common. com.google.inject. com.google.gson. com.fasterxml.jackson.
            com.zaxxer.hikari. com.mysql. org.postgresql. oracle. org.junit. junit. org.testng. org.mockito.
            net.bytebuddy. net.sf.cglib. javassist. org.aopalliance. org.aspectj. org.slf4j. ch.qos.logback.
            org.thymeleaf. freemarker. com.vaadin. org.quartz. ring. compojure. lucee. coldfusion.
        ",
        paths: "",
        bridges: "
            org.slf4j. ch.qos.logback. org.apache.logging. org.apache.log4j. org.apache.commons.logging.
            java.util.logging. org.jboss.logging. org.jboss.logmanager. io.sentry. timber.log.
            com.getsentry.raven. net.kencochrane.raven. mu. io.github.oshai.kotlinlogging.
        ",
        machinery: "sun.reflect. jdk.internal.reflect. java.lang.reflect. java.lang.invoke.",
    },
    Libraries {
        platforms: "csharp unity powershell",
        modules: "
            System System. Microsoft. Mono. UnityEngine. UnityEditor. Sentry. Castle. Autofac. NLog.
            Serilog. log4net. Newtonsoft. MediatR. Polly. Npgsql. Grpc. Dapper. NHibernate. Hangfire.
            MassTransit. Quartz. NUnit. Xunit. Moq. FSharp. StackExchange.
        ",
        paths: "",
        bridges: "
            Serilog. NLog. log4net. Microsoft.Extensions.Logging. Sentry. SharpRaven.
            System.Diagnostics.Trace
        ",
        machinery: "
            System.Runtime.CompilerServices. System.Runtime.ExceptionServices. System.Reflection.
            System.Threading.ExecutionContext System.Threading.Tasks.Task
        ",
    },
    Libraries {
        platforms: "go",
        modules: "
            archive/ bufio bytes compress/ container/ context crypto crypto/ database/sql encoding/ errors
            fmt hash hash/ html html/ image image/ internal/ io io/ iter log log/ maps math math/ mime mime/
            net net/ os os/ path path/ reflect regexp runtime runtime/ slices sort strconv strings sync
            sync/ syscall testing testing/ text/ time unicode unicode/ golang.org/x/ google.golang.org/
            github.com/getsentry/ github.com/gin-gonic/ github.com/labstack/echo github.com/gorilla/
            github.com/gofiber/ github.com/go-chi/ github.com/valyala/ github.com/sirupsen/logrus
            go.uber.org/ github.com/rs/zerolog github.com/urfave/ github.com/spf13/cobra k8s.io/
            sigs.k8s.io/ gorm.io/
        ",
        paths: "",
        bridges: "
            log log/ github.com/sirupsen/logrus go.uber.org/zap github.com/rs/zerolog github.com/go-logr/
            k8s.io/klog github.com/getsentry/ github.com/evalphobia/logrus_sentry
            github.com/inconshreveable/log15 github.com/go-kit/log github.com/op/go-logging
            github.com/golang/glog helpers/sentry gitlab.com/gitlab-org/gitlab-runner/helpers/sentry
        ",
        machinery: "runtime reflect",
    },
    Libraries {
        platforms: "python",
        modules: "
            django. rest_framework. flask. werkzeug. celery. kombu. billiard. fastapi. starlette. uvicorn.
            gunicorn. aiohttp. tornado. twisted. asyncio. concurrent. threading importlib. urllib. urllib3.
            requests. httpx. http. socket ssl json. sqlalchemy. psycopg2. psycopg. redis. boto3. botocore.
            jinja2. click. pydantic. sentry_sdk. raven. logging logging. contextlib functools unittest.
            pytest _pytest. rq. airflow. pandas. numpy. runpy multiprocessing. wsgiref.
        ",
        paths: r"/site-packages/ /dist-packages/ /lib/python2 /lib/python3 \site-packages\ \lib\ <frozen",
        bridges: "
            logging logging. sentry_sdk sentry_sdk. raven raven. loguru loguru. structlog structlog. logbook
            logbook.
        ",
        machinery: "",
    },
    Libraries {
        platforms: "ruby",
        modules: "",
        paths: "/gems/ /lib/ruby/ /rubygems <internal: /bundler/",
        bridges: "
            /logger.rb /gems/sentry- /gems/raven- /gems/logging- /gems/semantic_logger- /gems/lograge-
            /gems/ougai- /active_support/broadcast_logger.rb
        ",
        machinery: "",
    },
    Libraries {
        platforms: "php",
        modules: "",
        paths: r"/vendor/ \vendor\ /wp-includes/ [internal]",
        bridges: r"/monolog/ /psr/log/ /sentry/ /Illuminate/Log/ Monolog\ Psr\Log\ Sentry\ Illuminate\Log\",
        machinery: "",
    },
    Libraries {
        platforms: "javascript node",
        modules: "node: internal/",
        paths: "
            /node_modules/ node_modules/ ~/ node: internal/ webpack/bootstrap webpack/runtime [native
            -extension://
        ",
        bridges: "
            node_modules/winston node_modules/pino node_modules/bunyan node_modules/log4js
            node_modules/loglevel node_modules/debug node_modules/@sentry node_modules/raven
            node_modules/@sentry-internal node_modules/consola
        ",
        machinery: "",
    },
    Libraries {
        platforms: "rust",
        modules: "
            std:: core:: alloc:: tokio:: futures hyper tower axum:: actix rocket:: warp:: rayon serde sqlx
            tracing log:: sentry backtrace:: anyhow:: eyre:: color_eyre:: test:: async_std:: crossbeam
            parking_lot rust_begin_unwind __rust _start __libc_start clone3 start_thread main
        ",
        paths: "/rustc/ /.cargo/registry/ library/std/ library/core/",
        bridges: "tracing log:: sentry slog env_logger:: fern:: log4rs:: sentry_core:: backtrace::",
        machinery: "
            core::ops::function:: std::panicking:: core::panicking:: rust_begin_unwind std::sys::backtrace::
            std::sys_common::backtrace:: __rust_
        ",
    },
    Libraries {
        platforms: "native c cocoa objc swift unreal",
        modules: "",
        // Only what no application brings along: where a library is installed says nothing of whose it is.
        paths: r"
            linux-gate linux-vdso ld-linux libc.so libc-2 libpthread libsystem_ libdyld /usr/lib/system/ /System/
            /apex/com.android libobjc libswiftCore UIKitCore CoreFoundation libdispatch ntdll. kernel32. KERNELBASE.
            KERNEL32. ucrtbase. \Windows\System32\ \windows\system32\
        ",
        bridges: "Sentry.framework libsentry CocoaLumberjack libspdlog libglog SwiftyBeaver",
        machinery: "",
    },
    Libraries {
        platforms: "elixir",
        modules: "
            Elixir.Phoenix Phoenix. Elixir.Plug Plug. Elixir.Ecto Ecto. Elixir.Bandit Bandit. Elixir.Enum
            Enum GenServer Task. Elixir.Task Elixir.Oban Oban. Elixir.DBConnection DBConnection. gen_server
            gen_statem proc_lib cowboy ranch :gen_server :proc_lib :cowboy Logger Logger. Sentry. timer
            lists erl_eval elixir :elixir maps
        ",
        paths: "deps/ lib/elixir/ gen_server.erl proc_lib.erl",
        bridges: "Logger Logger. Elixir.Logger logger :logger logger_backend Sentry. Elixir.Sentry",
        machinery: "",
    },
    Libraries {
        platforms: "dart flutter",
        modules: "dart: package:flutter/ package:sentry package:logging/ package:dio/ package:http/",
        paths: "
            dart: package:flutter/ package:sentry package:logging/ package:dio/ package:http/
            org-dartlang-sdk:
        ",
        bridges: "package:logging/ package:sentry package:logger/ package:talker",
        machinery: "",
    },
    Libraries {
        platforms: "perl",
        modules: "
            Mojo:: Mojolicious Catalyst Dancer Plack:: Moose Class::MOP Try::Tiny DBI DBD:: DBIx:: Log::
            Carp
        ",
        paths: "/perl5/ /share/perl",
        bridges: "Log:: Sentry:: Raven:: Mojo::Log",
        machinery: "",
    },
    Libraries {
        platforms: "lua",
        modules: "resty. ngx.",
        paths: "/resty/ [C] /luarocks/",
        bridges: "/sentry/ /raven /logging",
        machinery: "",
    },
];

/// Whose frames are, by the names of one platform.
#[derive(Clone, Copy)]
pub(super) struct Owners(Option<&'static Prefixes>);

impl Owners {
    pub(super) fn of(platform: &str) -> Self {
        Self(PREFIXES.iter().find(|libraries| libraries.platforms.contains(&platform)))
    }

    /// Whether a runtime or framework has it.
    pub(super) fn is_library(self, frame: &Frame) -> bool {
        self.0.is_some_and(|own| starts_with_any(frame, &own.modules) || has_any(frame, &own.paths))
    }

    /// Whether it only passes on what was logged.
    pub(super) fn is_bridge(self, frame: &Frame) -> bool {
        let has_prefix = |own: &Prefixes| starts_with_any(frame, &own.bridges) || has_any(frame, &own.bridge_paths);
        is_hook(frame) || self.0.is_some_and(has_prefix)
    }

    /// Whether the runtime puts it between others, or not.
    pub(super) fn is_machinery(self, frame: &Frame) -> bool {
        self.0.is_some_and(|own| starts_with_any(frame, &own.machinery))
    }
}

fn starts_with_any(frame: &Frame, prefixes: &[&str]) -> bool {
    // Rust has modules as part of functions.
    let Some(name) = frame.module.as_deref().or(frame.function.as_deref()) else { return false };
    let name = name.trim_start_matches(['<', '&']);
    let first = name.as_bytes().first();
    prefixes.iter().any(|prefix| first == prefix.as_bytes().first() && is_prefix(name, prefix))
}

/// `log` of `log` and `log.Logger`, and not of `login`.
fn is_prefix(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| {
        prefix.ends_with(|end: char| !end.is_alphanumeric()) || !rest.starts_with(|next: char| next.is_alphanumeric())
    })
}

fn has_any(frame: &Frame, parts: &PathParts) -> bool {
    // A module says it, where there is one, and costs less.
    if frame.module.is_some() && !parts.has_directory {
        return false;
    }
    let mut paths = [&frame.abs_path, &frame.filename, &frame.package].into_iter().filter_map(Option::as_deref);
    paths.any(|path| parts.finders.iter().any(|part| part.find(path.as_bytes()).is_some()))
}

/// The parts that applications write themselves to report what is logged: `(*LogHook).Fire`, `SentryAppender.append`.
fn is_hook(frame: &Frame) -> bool {
    const LOGS: [&str; 4] = ["Log", "Logger", "Logging", "Logrus"];
    const HOOKS: [&str; 7] = ["Hook", "Handler", "Appender", "Sink", "Target", "Bridge", "Transport"];
    const CALLS: [&str; 8] = ["fire", "emit", "append", "write", "handle", "log", "levels", "invoke"];
    let Some(function) = frame.function.as_deref() else { return false };
    // A cheap look before the text is copied: nearly no function ends so.
    let last = function.rsplit(['.', ':', '#', '\\', '/']).next().unwrap_or(function);
    if !CALLS.iter().any(|call| last.eq_ignore_ascii_case(call)) {
        return false;
    }
    let owner = &function[..function.len() - last.len()];
    let owner = if owner.is_empty() { frame.module.as_deref().unwrap_or_default() } else { owner };
    let owner = owner.trim_end_matches(|end: char| !end.is_alphanumeric());
    let class = owner.rsplit(['.', ':', '\\', '/', '*', '(']).next().unwrap_or(owner);
    let Some(stem) = HOOKS.iter().find_map(|hook| class.strip_suffix(hook)) else { return false };
    LOGS.iter().any(|log| stem.ends_with(log)) || stem.contains("Sentry") || stem.contains("Raven")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(module: &str, path: &str, function: &str) -> Frame {
        let text = |text: &str| if text.is_empty() { None } else { Some(text.to_owned()) };
        Frame { module: text(module), abs_path: text(path), function: text(function), ..Frame::default() }
    }

    #[test]
    fn libraries_are_told_from_the_application() {
        for (platform, module, path, function, is_library) in [
            ("java", "org.springframework.web.Servlet", "", "run", true),
            ("java", "com.shop.Cart", "", "pay", false),
            ("java", "javassist.util.Proxy", "", "run", true),
            ("go", "log", "", "Fatal", true),
            ("go", "login", "", "Do", false),
            ("go", "net/http", "", "Serve", true),
            ("go", "network", "", "Serve", false),
            ("python", "shop.cart", "/srv/shop/cart.py", "pay", false),
            ("python", "stripe.api", "/venv/lib/python3.12/site-packages/stripe/api.py", "pay", true),
            ("ruby", "", "/usr/lib/ruby/gems/3.2/gems/rack-3/lib/rack.rb", "call", true),
            ("php", "", "/srv/vendor/x/y.php", "run", true),
            ("node", "", "/srv/node_modules/express/router.js", "next", true),
            ("rust", "", "", "core::ops::function::FnOnce::call_once", true),
            ("rust", "", "", "<core::iter::Map as Iterator>::next", true),
            ("rust", "", "", "corestore::pay", false),
            ("csharp", "Systematic.Cart", "", "Pay", false),
            ("haskell", "Data.List", "", "head", false),
        ] {
            let found = Owners::of(platform).is_library(&frame(module, path, function));
            assert_eq!(found, is_library, "{platform} {module}{path}{function}");
        }
    }

    #[test]
    fn bridges_are_told_from_what_logs() {
        for (platform, module, path, function, is_bridge) in [
            ("go", "helpers/sentry", "", "(*LogHook).Fire", true),
            ("go", "shop/errors", "", "(*SentryHook).Fire", true),
            ("go", "shop/guns", "", "(*Cannon).Fire", false),
            ("java", "com.shop.SentryAppender", "", "append", true),
            ("java", "com.shop.CatalogHandler", "", "handle", false),
            ("java", "com.shop.CartHandler", "", "handle", false),
            ("java", "com.shop.LoginHandler", "", "handle", false),
            ("java", "ch.qos.logback.classic.Logger", "", "error", true),
            ("python", "logging", "/usr/lib/python3.12/logging/__init__.py", "error", true),
            ("python", "loggingtools", "/srv/loggingtools.py", "error", false),
            ("php", "", "/srv/vendor/monolog/monolog/src/Logger.php", "Monolog\\Logger::error", true),
        ] {
            let found = Owners::of(platform).is_bridge(&frame(module, path, function));
            assert_eq!(found, is_bridge, "{platform} {module}{path}{function}");
        }
    }
}
