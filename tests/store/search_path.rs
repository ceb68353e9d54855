//! A database where PUBLIC may create in `public`, as one that was made before Postgres 15: what a tenant puts there is
//! run by nobody else.

use std::time::Duration;

use error_tracking_operator::store::{
    Admin,
    admin::{DeletionPolicy, PodGrant},
    console::Snapshot,
    ingest::{RefusedKey, Report, changed_settings, look_up_key, report},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Store, applied, heartbeat_of_the_version_before, key_identity, of_shop, project_identity, public_key, row, send,
};

/// Operators and functions that fit better than those of Postgres where types are mixed. Each remembers who ran it.
const TRAPS: &str = r"
    CREATE TABLE public.caught (who text, what text);
    GRANT INSERT ON public.caught TO PUBLIC;
    CREATE FUNCTION public.remember(text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
        IF pg_catalog.current_setting('transaction_read_only') = 'off' THEN
            INSERT INTO public.caught VALUES (current_user, $1);
        ELSIF pg_catalog.current_setting('transaction_read_only') = 'on' THEN
            RAISE EXCEPTION 'caught % by %', current_user, $1;
        END IF;
    END $$;
    CREATE FUNCTION public.joined(text, bigint) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
        PERFORM public.remember('||'); RETURN pg_catalog.concat($1, $2);
    END $$;
    CREATE OPERATOR public.|| (LEFTARG = text, RIGHTARG = bigint, FUNCTION = public.joined);
    CREATE FUNCTION public.above(bigint, integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        PERFORM public.remember('>'); RETURN $1 OPERATOR(pg_catalog.>) $2;
    END $$;
    CREATE FUNCTION public.same(name, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        PERFORM public.remember('='); RETURN $1::text OPERATOR(pg_catalog.=) $2;
    END $$;
    CREATE FUNCTION public.matches(name, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        PERFORM public.remember('~'); RETURN $1::text OPERATOR(pg_catalog.~) $2;
    END $$;
    CREATE FUNCTION public.times(double precision, interval) RETURNS interval LANGUAGE plpgsql AS $$ BEGIN
        PERFORM public.remember('*'); RETURN $2 OPERATOR(pg_catalog.*) $1;
    END $$;
    CREATE FUNCTION public.format(text, name, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
        PERFORM public.remember('format'); RETURN pg_catalog.format($1, variadic ARRAY[$2::text, $3]);
    END $$;
    CREATE FUNCTION public.pg_terminate_backend(integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        PERFORM public.remember('pg_terminate_backend'); RETURN true;
    END $$;
    CREATE FUNCTION public.has_schema_privilege(text, oid, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        PERFORM public.remember('has_schema_privilege'); RETURN true;
    END $$;
    CREATE FUNCTION public.left(text, smallint) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
        PERFORM public.remember('left'); RETURN '';
    END $$;
";

#[tokio::test]
async fn nobody_runs_what_a_tenant_put_into_public() {
    let store = Store::create().await;
    let superuser = store.database.superuser();
    sqlx::raw_sql("GRANT CREATE ON SCHEMA public TO PUBLIC").execute(&superuser).await.unwrap();
    let (trapper, trap) = store.ingesting("trapper").await;
    sqlx::raw_sql(TRAPS).execute(&trap).await.unwrap();

    // What an operator does in its life, from the first contact on.
    let admin = Admin::connect(store.pool.clone(), 2).await.unwrap();
    let shop = admin.allocate_project(&project_identity("shop", "u1"), None, DeletionPolicy::Retain).await.unwrap();
    admin.migrate_project(shop).await.unwrap();
    let now = Timestamp::now();
    admin.ensure_partitions(shop, now).await.unwrap();
    assert_eq!(admin.grant_pods(shop, 2, Some(10)).await.unwrap(), PodGrant::Granted);
    let role = admin.ensure_ingest_role(shop, &"secret".into()).await.unwrap();
    let console = admin.ensure_console_role(&"console".into()).await.unwrap();
    let key = public_key();
    admin.mint_key(shop, &key_identity("shop", "k"), 1, &key, &"x".into()).await.unwrap();
    admin.take_keys_over(shop, &key_identity("shop", "k")).await.unwrap();
    let minted = admin.observe_keys(of_shop("k")).await.unwrap().keys;
    let next = admin.succeed_key(of_shop("k"), minted[0].key_id, 2, &public_key(), &"x".into()).await.unwrap();
    admin.publish_key(of_shop("k"), next.keys[1].key_id, Some(now)).await.unwrap();
    admin.observe_object("shop-u1").await.unwrap().unwrap();
    admin.locate_object("shop-u1").await.unwrap().unwrap();
    admin.check_lead().await.unwrap();
    admin.catalog_projects().await.unwrap();
    admin.living_keys().await.unwrap();
    admin.left_logins().await.unwrap();

    // Pods and console, whose logins could be tenants' too.
    let ingest = store.database.pool_as(&role, "secret");
    assert_eq!(send(&ingest, shop, &[row(1)]).await, applied(1, 0));
    assert_eq!(look_up_key(&ingest, shop, &key).await.unwrap(), Some(true));
    changed_settings(&ingest, shop, 0).await.unwrap();
    let key_usage = [(key.clone(), Duration::from_secs(1))];
    let dead = admin.mint_key(shop, &key_identity("shop", "k"), 3, &public_key(), &"x".into()).await.unwrap();
    admin.revoke_key(dead.key_id).await.unwrap();
    let refused = [RefusedKey {
        key: dead.public_key,
        age: Duration::ZERO,
        events: 1,
        sentry_client: Some("test/1.0".into()),
        server_name: None,
        addresses: vec![([10, 0, 0, 1].into(), Duration::ZERO)],
    }];
    let told = Report { instance: "pod", settings_version: 0, ending: false, key_usage: &key_usage, refused: &refused };
    report(&ingest, shop, &told).await.unwrap();
    heartbeat_of_the_version_before(&ingest, shop, &[("too_large", 1)]).await;
    assert_eq!(admin.observe_keys(of_shop("k")).await.unwrap().instances.unwrap().len(), 2);
    admin.mark_instance_gone(shop, "pod").await.unwrap();
    assert_eq!(admin.refused_uses("k").await.unwrap().len(), 1);
    let pages = store.database.pool_as(&console, "console");
    let mut snapshot = Snapshot::begin(&pages).await.unwrap();
    assert_eq!(snapshot.projects(now - SignedDuration::from_hours(24)).await.unwrap().len(), 2);
    snapshot.end().await.unwrap();

    admin.project_bytes(shop).await.unwrap();
    admin.project_usage(shop, now).await.unwrap();
    admin.has_events(shop).await.unwrap();
    admin.drop_expired(shop, 30, now).await.unwrap();
    admin.ensure_ingest_role(shop, &"changed".into()).await.unwrap();
    sqlx::query("UPDATE errortracking.former_logins SET valid_until = now() - interval '1 s'")
        .execute(&store.pool)
        .await
        .unwrap();
    admin.drop_former_logins().await.unwrap();
    admin.retire_project(shop, DeletionPolicy::Delete).await.unwrap();

    let caught: Vec<(String, String)> = sqlx::query_as("SELECT DISTINCT who, what FROM public.caught ORDER BY 1, 2")
        .fetch_all(&superuser)
        .await
        .unwrap();
    assert_eq!(caught, [], "ran what a tenant wrote");
    assert!(admin.observe_project(trapper).await.unwrap().is_some());
}
