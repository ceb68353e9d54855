//! Logins: what they may do, and that nothing else is possible.

use error_tracking_operator::store::{
    StoreError,
    admin::{DeletionPolicy, password_digest},
    console::{
        Session, User, begin_session, begin_session_once, end_session, find_session, make_ticket, ticket_user,
        use_ticket,
    },
    ingest::{Batch, Quarantined, Report, changed_settings, find_key, look_up_key, quarantine, report},
};
use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use crate::{Store, applied, key_identity, public_key, row, send};

#[tokio::test]
async fn an_ingest_login_executes_its_functions_and_reads_nothing() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
    changed_settings(&ingest, shop, 0).await.unwrap();
    let bad = row(1);
    let aside = Quarantined { event_id: bad.event_id, received_at: bad.received_at, reason: "bad", payload: b"x" };
    quarantine(&ingest, shop, &aside).await.unwrap();
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.quarantine").await, 1);

    let relations: Vec<(String,)> = sqlx::query_as(
        "SELECT format('%I.%I', relnamespace::regnamespace, relname) FROM pg_class
         WHERE relnamespace::regnamespace::text ~ '^(errortracking|project_.*)$' AND relkind IN ('r', 'p', 'v', 'S')",
    )
    .fetch_all(&store.pool)
    .await
    .unwrap();
    assert!(relations.len() > 30, "{relations:?}");
    for (relation,) in relations {
        let error = sqlx::query(AssertSqlSafe(format!("SELECT FROM {relation}"))).execute(&ingest).await.unwrap_err();
        assert!(matches!(StoreError::from(error), StoreError::NotPermitted { .. }), "{relation}");
    }
    for call in ["fence(9)", "authorize(1)"] {
        let call = format!("SELECT errortracking.{call}");
        let error = sqlx::query(AssertSqlSafe(call.clone())).execute(&ingest).await.unwrap_err();
        assert!(matches!(StoreError::from(error), StoreError::NotPermitted { .. }), "{call}");
    }
}

#[tokio::test]
async fn the_login_of_another_project_is_refused() {
    let store = Store::create().await;
    let (shop, _) = store.ingesting("shop").await;
    let (_, blog_login) = store.ingesting("blog").await;
    let batch = Batch { stream: uuid::Uuid::new_v4(), sequence: 1, rows: &[row(1)], ..Batch::default() };
    let quiet = Report { instance: "pod", settings_version: 0, ending: false, key_usage: &[], refused: &[] };
    for refused in [
        error_tracking_operator::store::ingest::ingest_batch(&blog_login, shop, &batch).await.map(drop),
        changed_settings(&blog_login, shop, 0).await.map(drop),
        find_key(&blog_login, shop, &public_key()).await.map(drop),
        look_up_key(&blog_login, shop, &public_key()).await.map(drop),
        report(&blog_login, shop, &quiet).await,
    ] {
        assert!(matches!(refused, Err(StoreError::NotPermitted { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn nobody_else_may_execute_anything() {
    let store = Store::create().await;
    store.ingesting("shop").await;
    let (open,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM pg_proc CROSS JOIN LATERAL aclexplode(coalesce(proacl, acldefault('f', proowner))) AS a
         WHERE pronamespace::regnamespace::text ~ '^(errortracking|project_.*)$' AND a.grantee = 0",
    )
    .fetch_one(&store.pool)
    .await
    .unwrap();
    assert_eq!(open, 0);
}

#[tokio::test]
async fn a_changed_password_comes_with_another_login_and_the_one_before_stays_a_while() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    send(&ingest, shop, &[row(1)]).await;
    let state = store.admin.observe_project(shop).await.unwrap().unwrap();
    assert!(state.login_ready(password_digest(&"secret".into())), "{state:?}");
    let first = state.ingest_role.unwrap();
    assert_eq!(store.admin.ensure_ingest_role(shop, &"secret".into()).await.unwrap(), first, "nothing changed");

    let second = store.admin.ensure_ingest_role(shop, &"changed".into()).await.unwrap();
    let state = store.admin.observe_project(shop).await.unwrap().unwrap();
    assert!(state.login_ready(password_digest(&"changed".into())));
    assert_ne!(second, first);
    // Open sessions go on, and new ones of both logins are served.
    assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
    for (role, password) in [(&first, "secret"), (&second, "changed")] {
        let pool = store.database.pool_as(role, password);
        assert_eq!(send(&pool, shop, &[row(1)]).await, applied(1, 0), "{role}");
        assert!(!find_key(&pool, shop, &public_key()).await.unwrap());
    }
    assert_eq!(store.admin.drop_former_logins().await.unwrap(), 0, "it is not time");
    // A third one within the time of the first takes a third name, and ends the first: there are two at a time.
    let third = store.admin.ensure_ingest_role(shop, &"again".into()).await.unwrap();
    assert!(third != first && third != second, "{third}");
    let refused = find_key(&store.database.pool_as(&first, "secret"), shop, &public_key()).await;
    assert!(matches!(refused, Err(StoreError::NotPermitted { .. })), "{refused:?}");
    assert_eq!(store.admin.drop_former_logins().await.unwrap(), 1, "the first");

    let former = store.database.pool_as(&second, "changed");
    assert_eq!(send(&former, shop, &[row(1)]).await, applied(1, 0));
    let over = "UPDATE errortracking.former_logins SET valid_until = now() - interval '1 second'";
    store.execute(shop, over).await;
    // From then on, whoever removes it: functions refuse, and then nobody gets in.
    assert!(find_key(&former, shop, &public_key()).await.is_err());
    assert_eq!(store.admin.drop_former_logins().await.unwrap(), 1);
    let refused = find_key(&store.database.pool_as(&second, "changed"), shop, &public_key()).await;
    assert!(matches!(refused, Err(StoreError::NotPermitted { .. })), "{refused:?}");
    let left = format!("SELECT count(*) FROM pg_roles WHERE rolname IN ('{first}', '{second}', '{third}')");
    assert_eq!(store.number(shop, &left).await, 1);
    assert_eq!(store.admin.ensure_ingest_role(shop, &"fourth".into()).await.unwrap(), first, "names come back");
}

#[tokio::test]
async fn nobody_is_refused_while_the_login_changes() {
    let store = Store::create().await;
    let (shop, _) = store.ingesting("shop").await;
    let first = store.admin.installation().ingest_role(shop);
    let login = std::sync::RwLock::new((first, "secret".to_owned()));
    let read = || login.read().unwrap().clone();
    let changing = async {
        let mut connections = 0;
        for round in 0..5 {
            let password = format!("changed-{round}");
            let role = store.admin.ensure_ingest_role(shop, &password.as_str().into()).await.unwrap();
            // Pods see the new Secret later.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            *login.write().unwrap() = (role, password);
            // And nobody uses the one before any more when there is another one.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            connections += 1;
        }
        connections
    };
    let connecting = async {
        let mut served = 0;
        loop {
            let (role, password) = read();
            let pool = store.database.pool_as(&role, &password);
            send(&pool, shop, &[row(1)]).await;
            pool.close().await;
            served += 1;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            if password == "changed-4" && served > 30 {
                return served;
            }
        }
    };
    let (changes, served) = tokio::join!(changing, connecting);
    assert_eq!(changes, 5);
    assert_eq!(store.number(shop, "SELECT count(*) FROM {schema}.events").await, served);
}

#[tokio::test]
async fn a_login_that_a_backup_forgot_is_put_back_as_pods_have_it() {
    let store = Store::create().await;
    let (shop, _) = store.ingesting("shop").await;
    let published = store.admin.ensure_ingest_role(shop, &"newer".into()).await.unwrap();
    // The backup is of before the change, and so are its roles.
    store.execute(shop, &format!("DROP OWNED BY {published}; DROP ROLE {published}")).await;
    store.execute(shop, "TRUNCATE errortracking.former_logins").await;
    let first = store.admin.installation().ingest_role(shop);
    store.execute(shop, &format!("UPDATE errortracking.projects SET ingest_role = '{first}'")).await;

    store.admin.restore_ingest_role(shop, &published, &"newer".into()).await.unwrap();
    send(&store.database.pool_as(&published, "newer"), shop, &[row(1)]).await;
    let state = store.admin.observe_project(shop).await.unwrap().unwrap();
    assert!(state.login_ready(password_digest(&"newer".into())));
    assert_eq!(state.ingest_role.as_deref(), Some(&*published));
    for foreign in ["postgres", "owner", "et_00000000_1_ingest"] {
        let refused = store.admin.restore_ingest_role(shop, foreign, &"newer".into()).await;
        assert!(matches!(refused, Err(StoreError::SchemaMismatch { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn lost_rights_are_seen_and_given_again() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    let role = store.admin.installation().ingest_role(shop);
    store.execute(shop, &format!("REVOKE EXECUTE ON FUNCTION {{schema}}.ingest_batch FROM {role}")).await;
    let state = store.admin.observe_project(shop).await.unwrap().unwrap();
    assert!(state.role_exists && !state.grants_ok, "{state:?}");
    store.admin.ensure_ingest_role(shop, &"secret".into()).await.unwrap();
    assert!(store.admin.observe_project(shop).await.unwrap().unwrap().grants_ok);
    send(&ingest, shop, &[row(1)]).await;
}

#[tokio::test]
async fn logins_of_many_projects_are_made_at_once() {
    let store = Store::create().await;
    let mut projects = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        projects.push(store.project(name).await);
    }
    let made = projects.iter().map(|project| async {
        store.admin.ensure_ingest_role(*project, &"secret".into()).await.unwrap();
    });
    futures::future::join_all(made).await;
    for project in projects {
        assert!(store.admin.observe_project(project).await.unwrap().unwrap().grants_ok);
    }
}

#[tokio::test]
async fn the_console_reads_and_cannot_write_or_see_keys() {
    let store = Store::create().await;
    let (before, _) = store.ingesting("before").await;
    let key = public_key();
    store.admin.mint_key(before, &key_identity("shop", "k"), 1, &key, &"hidden".into()).await.unwrap();
    assert_eq!(store.admin.console_password_digest().await.unwrap(), None);
    let role = store.admin.ensure_console_role(&"secret".into()).await.unwrap();
    let digest = password_digest(&"secret".into());
    assert_eq!(store.admin.console_password_digest().await.unwrap(), Some(digest));
    let (after, ingest) = store.ingesting("after").await;
    send(&ingest, after, &[row(1)]).await;

    let console = store.database.pool_as(&role, "secret");
    for project in [before, after] {
        let read = format!("SELECT FROM {0}.events, {0}.issues, {0}.issue_counters", project.schema());
        sqlx::query(AssertSqlSafe(read)).execute(&console).await.unwrap();
    }
    let (prefix,): (String,) = sqlx::query_as("SELECT public_key_prefix FROM errortracking.console_client_keys")
        .fetch_one(&console)
        .await
        .unwrap();
    assert_eq!(prefix, key.prefix());

    let update = format!("UPDATE {}.issues SET status = 'resolved'", after.schema());
    let refused = sqlx::query(AssertSqlSafe(update.clone())).execute(&console).await.unwrap_err();
    assert!(refused.to_string().contains("read-only"), "{refused}");
    // The setting is the role's own to change; the rights are not.
    let mut transaction = console.begin_with("BEGIN READ WRITE").await.unwrap();
    let refused = sqlx::query(AssertSqlSafe(update)).execute(&mut *transaction).await.unwrap_err();
    assert!(matches!(StoreError::from(refused), StoreError::NotPermitted { .. }));
    drop(transaction);
    for hidden in [
        "client_keys",
        "projects",
        "console_login",
        "console_sessions",
        "console_arrivals",
        "console_tickets",
        "console_api_tokens",
    ]
    .map(|table| format!("errortracking.{table}"))
    {
        let refused = sqlx::query(AssertSqlSafe(format!("SELECT FROM {hidden}"))).execute(&console).await.unwrap_err();
        assert!(matches!(StoreError::from(refused), StoreError::NotPermitted { .. }), "{hidden}");
    }
}

#[tokio::test]
async fn a_retired_project_has_no_login_and_no_sessions() {
    let store = Store::create().await;
    for (name, policy, schemas) in [("kept", DeletionPolicy::Retain, 1), ("gone", DeletionPolicy::Delete, 0)] {
        let (project, ingest) = store.ingesting(name).await;
        let key = public_key();
        store.admin.mint_key(project, &key_identity(name, name), 1, &key, &"x".into()).await.unwrap();
        send(&ingest, project, &[row(1)]).await;
        let mut open = ingest.acquire().await.unwrap();

        for _ in 0..2 {
            store.admin.retire_project(project, policy).await.unwrap();
        }
        assert!(sqlx::query("SELECT 1").execute(&mut *open).await.is_err(), "{name}: the session goes on");
        drop(open);
        let role = store.admin.installation().ingest_role(project);
        let left = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{role}'");
        assert_eq!(store.number(project, &left).await, 0, "{name}");
        let left = "SELECT count(*) FROM pg_namespace WHERE nspname = '{schema}'";
        assert_eq!(store.number(project, left).await, schemas, "{name}");
        assert!(find_key(&ingest, project, &key).await.is_err());
        assert!(store.admin.keys_of(name).await.unwrap().iter().all(|key| !key.state.is_alive()));
    }
}

#[tokio::test]
async fn a_login_that_cannot_be_dropped_yet_stores_nothing_more() {
    let store = Store::create().await;
    let (shop, ingest) = store.ingesting("shop").await;
    send(&ingest, shop, &[row(1)]).await;
    let refuse = "CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'not now';
        END $$;
        CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('DROP OWNED') EXECUTE FUNCTION public.refuse()";
    sqlx::raw_sql(refuse).execute(&store.database.superuser()).await.unwrap();
    store.admin.retire_project(shop, DeletionPolicy::Retain).await.unwrap_err();
    let role = store.admin.installation().ingest_role(shop);
    let callable = format!(
        "SELECT count(*) FROM pg_proc WHERE pronamespace = '{{schema}}'::regnamespace
            AND has_function_privilege('{role}', oid, 'EXECUTE')"
    );
    assert_eq!(store.number(shop, &callable).await, 0);
}

#[tokio::test]
async fn the_console_begins_and_ends_sessions_and_sees_no_others() {
    let store = Store::create().await;
    let role = store.admin.ensure_console_role(&"secret".into()).await.unwrap();
    let console = store.database.pool_as(&role, "secret");
    let session = |name: &str, seconds: i64| Session {
        user: User {
            name: name.to_owned(),
            uid: "u".to_owned(),
            groups: vec!["team".to_owned(), "system:authenticated".to_owned()],
            extra: [("example.org/pod".to_owned(), vec!["a".to_owned(), "b\"".to_owned()])].into(),
        },
        expires_at: Timestamp::from_second(Timestamp::now().as_second() + seconds).unwrap(),
    };
    let ada = session("ada", 600);
    begin_session(&console, [1; 32], &ada).await.unwrap();
    begin_session(&console, [2; 32], &session("eve", -1)).await.unwrap();
    assert_eq!(find_session(&console, [1; 32]).await.unwrap(), Some(ada));
    assert_eq!(find_session(&console, [2; 32]).await.unwrap(), None, "over");
    assert_eq!(find_session(&console, [3; 32]).await.unwrap(), None);
    end_session(&console, [1; 32]).await.unwrap();
    end_session(&console, [1; 32]).await.unwrap();
    assert_eq!(find_session(&console, [1; 32]).await.unwrap(), None, "ended");

    // One user cannot fill the table, and takes nobody else's place.
    begin_session(&console, [4; 32], &session("ada", 600)).await.unwrap();
    for number in 100..=205 {
        begin_session(&console, [number; 32], &session("eve", 600)).await.unwrap();
    }
    let (sessions,): (i64,) = sqlx::query_as("SELECT count(*) FROM errortracking.console_sessions")
        .fetch_one(&store.database.superuser())
        .await
        .unwrap();
    assert_eq!(sessions, 101);
    assert!(find_session(&console, [4; 32]).await.unwrap().is_some());
    assert!(find_session(&console, [205; 32]).await.unwrap().is_some());
    assert_eq!(find_session(&console, [100; 32]).await.unwrap(), None);
}

#[tokio::test]
async fn what_a_browser_brought_back_begins_one_session() {
    let store = Store::create().await;
    let role = store.admin.ensure_console_role(&"secret".into()).await.unwrap();
    let console = store.database.pool_as(&role, "secret");
    let user = User { name: "oidc:ada".to_owned(), uid: String::new(), groups: Vec::new(), extra: [].into() };
    let expires_at = Timestamp::from_second(Timestamp::now().as_second() + 600).unwrap();
    let session = Session { user, expires_at };
    let begin =
        async |arrival, digest| begin_session_once(&console, [arrival; 32], [digest; 32], &session).await.unwrap();
    assert!(begin(9, 1).await);
    assert!(!begin(9, 2).await);
    end_session(&console, [1; 32]).await.unwrap();
    assert!(!begin(9, 3).await, "its session has ended");
    let found = async |digest| find_session(&console, [digest; 32]).await.unwrap();
    assert_eq!([found(1).await, found(2).await, found(3).await], [None, None, None]);
    // At once in two pods.
    let (one, other) = tokio::join!(begin(8, 4), begin(8, 5));
    assert!(one != other && found(if one { 4 } else { 5 }).await == Some(session.clone()));
    assert_eq!(found(if one { 5 } else { 4 }).await, None);

    // What is too old for the console is not kept.
    let superuser = store.database.superuser();
    sqlx::query("UPDATE errortracking.console_arrivals SET expires_at = now()").execute(&superuser).await.unwrap();
    assert!(begin(7, 6).await);
    let (kept,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM errortracking.console_arrivals").fetch_one(&superuser).await.unwrap();
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn a_ticket_is_used_once_and_in_time() {
    let store = Store::create().await;
    let role = store.admin.ensure_console_role(&"secret".into()).await.unwrap();
    let console = store.database.pool_as(&role, "secret");
    let session = |name: &str| Session {
        user: User {
            name: name.to_owned(),
            uid: "u".to_owned(),
            groups: vec!["team".to_owned()],
            extra: [("example.org/pod".to_owned(), vec!["a".to_owned()])].into(),
        },
        expires_at: Timestamp::from_second(Timestamp::now().as_second() + 600).unwrap(),
    };
    let ada = session("ada");
    make_ticket(&console, [1; 32], &ada).await.unwrap();
    for _ in 0..2 {
        assert_eq!(ticket_user(&console, [1; 32]).await.unwrap().as_deref(), Some("ada"));
    }
    // Two pods are asked at the same time.
    let other = store.database.pool_as(&role, "secret");
    let (one, two) = tokio::join!(use_ticket(&console, [1; 32]), use_ticket(&other, [1; 32]));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.is_none() || two.is_none(), "both used it");
    assert_eq!(one.or(two), Some(ada));
    assert_eq!(ticket_user(&console, [1; 32]).await.unwrap(), None);

    make_ticket(&console, [2; 32], &session("ada")).await.unwrap();
    sqlx::query("UPDATE errortracking.console_tickets SET expires_at = now()")
        .execute(&store.database.superuser())
        .await
        .unwrap();
    assert_eq!(ticket_user(&console, [2; 32]).await.unwrap(), None, "over");
    assert_eq!(use_ticket(&console, [2; 32]).await.unwrap(), None, "over");

    make_ticket(&console, [3; 32], &session("ada")).await.unwrap();
    for number in 100..=120 {
        make_ticket(&console, [number; 32], &session("eve")).await.unwrap();
    }
    let (tickets,): (i64,) = sqlx::query_as("SELECT count(*) FROM errortracking.console_tickets")
        .fetch_one(&store.database.superuser())
        .await
        .unwrap();
    assert_eq!(tickets, 11, "one user cannot fill the table, and takes nobody else's place");
    assert!(ticket_user(&console, [3; 32]).await.unwrap().is_some());
}
