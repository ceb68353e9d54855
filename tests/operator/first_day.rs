//! The seventeen mistakes of a first day: each is made as a user would, and what `apply`, `get` and `describe` say must
//! name the thing and what to do. `make test-first-day` runs this alone; the last line is "first day: M mistakes, C clear".

use std::time::{Duration, Instant};

use crate::world::{Namespace, beside_others, pause};

/// Longest wait until a sentence stands in an object.
const SOON: Duration = Duration::from_secs(20);
/// What `Ready` needs when pods must come up.
const PODS: Duration = Duration::from_mins(2);

/// A row of the table. `make` makes it and gives what the user was told; each of `clear` must stand in that.
struct Mistake {
    name: &'static str,
    make: fn(&Namespace) -> String,
    clear: &'static [&'static str],
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "projectRef with a typo",
        make: |namespace| {
            namespace.key("typo", "{projectRef: {name: shpo}}");
            let said = sentence(namespace, "etk/typo", "Ready", "ProjectNotFound");
            // Nothing was made, so the typo can be corrected.
            namespace.key("typo", "{projectRef: {name: shop}}");
            said + &ready(namespace, "etk/typo", SOON)
        },
        clear: &["ErrorTrackingProject shpo", "create it", "correct spec.projectRef", "etk/typo is Ready"],
    },
    Mistake {
        name: "key before its project",
        make: |namespace| {
            namespace.key("early", "{projectRef: {name: early}}");
            namespace.project("early", "{backend: {integrated: {ingest: {replicas: 0}}}}");
            let said = ready(namespace, "etk/early", SOON);
            let warnings =
                namespace.kubectl(&["get", "events", "--field-selector=type=Warning,involvedObject.name=early"]);
            format!("{said} warnings: [{warnings}]")
        },
        clear: &["etk/early is Ready", "warnings: []"],
    },
    Mistake {
        name: "name of the Secret is taken",
        make: |namespace| {
            namespace.kubectl(&["create", "secret", "generic", "taken", "--from-literal=SENTRY_DSN=theirs"]);
            namespace.key("secret", "{projectRef: {name: shop}, secretTemplate: {name: taken}}");
            let said = sentence(namespace, "etk/secret", "Stalled", "SecretConflict");
            namespace.key("secret", "{projectRef: {name: shop}, secretTemplate: {name: free}}");
            said + &ready(namespace, "etk/secret", SOON)
        },
        clear: &["Secret taken", "delete it", "secretTemplate.name", "etk/secret is Ready"],
    },
    Mistake {
        name: "retentionDays: 0",
        make: |namespace| refusal(namespace, "p", "{backend: {integrated: {retentionDays: 0}}}"),
        clear: &["retentionDays", "between 1 and 3650"],
    },
    Mistake {
        name: "a name that is too long",
        make: |namespace| refusal(namespace, &"long".repeat(11), "{}"),
        clear: &["at most 40 characters", "choose a shorter name", "spec.displayName"],
    },
    Mistake {
        name: "replicas beside autoscaling",
        make: |namespace| {
            let both = "{replicas: 2, autoscaling: {minReplicas: 1, maxReplicas: 3}}";
            refusal(namespace, "p", &format!("{{backend: {{integrated: {{ingest: {both}}}}}}}"))
        },
        clear: &["replicas", "autoscaling", "not both"],
    },
    Mistake {
        name: "an Ingress that no controller takes",
        make: |namespace| {
            let ingress = "{className: nobody, host: errors.example.test}";
            namespace.project(
                "outside",
                &format!("{{backend: {{integrated: {{ingest: {{replicas: 0, ingress: {ingress}}}}}}}}}"),
            );
            namespace.key("outside", "{projectRef: {name: outside}, endpoint: External}");
            let project = sentence(namespace, "etp/outside", "Reconciling", "NoAddress");
            project + &contains(namespace, "etk/outside", "Ready", "no address")
        },
        clear: &["Ingress outside-ingest", "no address", "nobody", "className", "etk/outside"],
    },
    Mistake {
        name: "endpoint: External without an external URL",
        make: |namespace| {
            namespace.key("external", "{projectRef: {name: shop}, endpoint: External}");
            sentence(namespace, "etk/external", "Stalled", "NoExternalURL")
        },
        clear: &["externalURL, ingress or gateway", "endpoint: Internal"],
    },
    Mistake {
        name: "Secret of the database is missing",
        make: |namespace| {
            namespace.project("own", "{backend: {integrated: {database: {secretRef: {name: pg}}}}}");
            let said = sentence(namespace, "etp/own", "Stalled", "DatabaseSecretInvalid");
            // Nothing was made, so a typo in the name can be corrected.
            namespace.project("own", "{backend: {integrated: {database: {secretRef: {name: errors-db}}}}}");
            said + &contains(namespace, "etp/own", "Ready", "errors-db")
        },
        clear: &["Secret pg does not exist in this namespace", "create it with uri", "Secret errors-db"],
    },
    Mistake {
        name: "a host that is not allowed",
        make: |namespace| {
            let uri = "--from-literal=uri=postgresql://nobody@db.example.test/nothing";
            namespace.kubectl(&["create", "secret", "generic", "elsewhere", uri]);
            namespace.project("elsewhere", "{backend: {integrated: {database: {secretRef: {name: elsewhere}}}}}");
            sentence(namespace, "etp/elsewhere", "Stalled", "DatabaseHostNotAllowed")
        },
        clear: &["host db.example.test", "allowedDatabaseHosts", "use the operator's database"],
    },
    Mistake {
        name: "expressions that cannot be read",
        make: |namespace| {
            let filters = r#"{ignoreErrors: ["re:[", "fine", "re:(?<"]}"#;
            let spec = format!("{{backend: {{integrated: {{ingest: {{replicas: 1}}, filters: {filters}}}}}}}");
            let began = Instant::now();
            namespace.project("filters", &spec);
            let said = sentence(namespace, "etp/filters", "Stalled", "Invalid");
            let ready = ready(namespace, "etp/filters", PODS);
            println!("    Ready beside them: {:.1} s", began.elapsed().as_secs_f64());
            said + &ready
        },
        clear: &["filters.ignoreErrors", "re:[", "re:(?<", "etp/filters is Ready"],
    },
    Mistake {
        name: "an unknown field",
        make: |namespace| refusal(namespace, "p", "{backend: {integrated: {retentionDay: 7}}}"),
        clear: &["unknown field", "retentionDay"],
    },
    Mistake {
        name: "a quota of 0",
        make: |namespace| refusal(namespace, "p", "{backend: {integrated: {quota: {eventsPerMinute: 0}}}}"),
        clear: &["eventsPerMinute", "active: false"],
    },
    Mistake {
        name: "project deleted before its key",
        make: |namespace| {
            namespace.kubectl(&["delete", "etp/early", "--timeout=60s"]);
            sentence(namespace, "etk/early", "Ready", "ProjectNotFound")
        },
        clear: &["ErrorTrackingProject early", "Secret early-dsn", "is refused", "another key"],
    },
    Mistake {
        name: "status edited by hand",
        make: |namespace| {
            let forged = r#"{"status":{"conditions":[],"ingest":null}}"#;
            namespace.kubectl(&["patch", "etp/shop", "--subresource=status", "--type=merge", "--patch", forged]);
            ready(namespace, "etp/shop", SOON)
        },
        clear: &["etp/shop is Ready"],
    },
    Mistake {
        name: "Secret edited by hand",
        make: |namespace| {
            let before = namespace.get("secret/shop-dsn", ".data.SENTRY_DSN");
            let forged = r#"{"stringData":{"SENTRY_DSN":"mine"}}"#;
            namespace.kubectl(&["patch", "secret/shop-dsn", "--type=merge", "--patch", forged]);
            let told = event(namespace, "shop", "PutBack", "Secret shop-dsn");
            let same = namespace.get("secret/shop-dsn", ".data.SENTRY_DSN") == before;
            format!("{told} same DSN: {same}")
        },
        clear: &["Secret shop-dsn was changed", "put back", "errortracking.dev/paused=true", "same DSN: true"],
    },
    Mistake {
        name: "Deployment scaled by hand",
        make: |namespace| {
            namespace.kubectl(&["scale", "deployment/shop-ingest", "--replicas=5"]);
            let told = event(namespace, "shop", "PutBack", "Deployment shop-ingest");
            format!("{told} replicas: {}", namespace.get("deployment/shop-ingest", ".spec.replicas"))
        },
        clear: &[
            "Deployment shop-ingest had 5 replicas",
            "put back to 1",
            "ingest.replicas",
            "errortracking.dev/paused=true",
            "replicas: 1",
        ],
    },
];

/// What `kubectl apply` says of a project that the API server must refuse.
fn refusal(namespace: &Namespace, name: &str, spec: &str) -> String {
    let refused = namespace.try_apply(&format!(
        "apiVersion: errortracking.dev/v1alpha1\nkind: ErrorTrackingProject\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    ));
    refused.expect_err("it was accepted")
}

/// Looks until `found` gives a sentence; else what the object says instead.
fn look(namespace: &Namespace, object: &str, limit: Duration, found: impl Fn() -> Option<String>) -> String {
    let began = Instant::now();
    while began.elapsed() < limit {
        if let Some(sentence) = found() {
            return format!("{sentence} ");
        }
        pause(Duration::from_millis(200));
    }
    format!("in vain after {limit:?}: {}", namespace.try_kubectl(&["describe", object]).unwrap_or_else(|error| error))
}

/// The message of a condition once it has this reason.
fn sentence(namespace: &Namespace, object: &str, condition: &str, reason: &str) -> String {
    look(namespace, object, SOON, || {
        (namespace.condition(object, condition, "reason") == reason)
            .then(|| namespace.condition(object, condition, "message"))
    })
}

/// The message of a condition once it holds `part`, behind the object's name.
fn contains(namespace: &Namespace, object: &str, condition: &str, part: &str) -> String {
    look(namespace, object, SOON, || {
        let message = namespace.condition(object, condition, "message");
        message.contains(part).then(|| format!("{object}: {message}"))
    })
}

fn ready(namespace: &Namespace, object: &str, limit: Duration) -> String {
    look(namespace, object, limit, || {
        (namespace.condition(object, "Ready", "status") == "True").then(|| format!("{object} is Ready"))
    })
}

/// The newest Event of this reason about an object, once one names `part`.
fn event(namespace: &Namespace, object: &str, reason: &str, part: &str) -> String {
    let selector = format!("--field-selector=involvedObject.name={object},reason={reason}");
    look(namespace, &format!("etp/{object}"), SOON, || {
        let notes = namespace.kubectl(&[
            "get",
            "events",
            &selector,
            "--output=jsonpath={range .items[*]}{.message}{\"\\n\"}{end}",
        ]);
        notes.lines().find(|note| note.contains(part)).map(str::to_owned)
    })
}

#[test]
fn each_mistake_of_a_first_day_is_told_with_what_to_do() {
    let _turn = beside_others();
    let namespace = Namespace::new("first-day");
    namespace.ready_project("shop", 1);
    let mut unclear = Vec::new();
    for mistake in MISTAKES {
        let told = (mistake.make)(&namespace);
        println!("{}\n    {}", mistake.name, told.replace('\n', "\n    "));
        let missing: Vec<_> = mistake.clear.iter().filter(|part| !told.contains(**part)).collect();
        if !missing.is_empty() {
            println!("    UNCLEAR, without {missing:?}");
            unclear.push(mistake.name);
        }
    }
    println!("{}", namespace.kubectl(&["get", "etp,etk"]));
    println!("first day: {} mistakes, {} clear", MISTAKES.len(), MISTAKES.len() - unclear.len());
    assert!(unclear.is_empty(), "unclear: {unclear:?}");
}
