use proptest::prelude::*;

use super::*;

const DSN: &str = "https://fake@errors.example/7";
const LINE: &str = "sentry_dsn = \"https://fake@errors.example/7\"";

/// Files as people have them, in our own words. `@` is where the key stands, or would go; tokens are none.
const FILES: [(&str, &str); 20] = [
    ("empty", "@"),
    ("one setting", "concurrent = 1\n@"),
    (
        "as register leaves it",
        "concurrent = 1\ncheck_interval = 0\nconnection_max_age = \"15m0s\"\nshutdown_timeout = 0\n@\n[session_server]\n  \
         session_timeout = 1800\n\n[[runners]]\n  name = \"one\"\n  url = \"https://gitlab.example\"\n  id = 1\n  token = \
         \"glrt-not-a-token-1\"\n  token_obtained_at = 2026-01-02T03:04:05Z\n  token_expires_at = 0001-01-01T00:00:00Z\n  \
         executor = \"shell\"\n",
    ),
    (
        "as GitLab's chart makes it",
        "shutdown_timeout = 0\nconcurrent = 10\ncheck_interval = 3\nlog_level = \"info\"\nlisten_address = ':9252'\n@",
    ),
    ("tables only", "@[[runners]]\n  name = \"two\"\n  token = \"glrt-not-a-token-2\"\n  executor = \"docker\"\n"),
    (
        "a comment for the first table",
        "# Kept by the platform team.\n\n@# Our large machines.\n[[runners]]\n  name = \"three\"\n",
    ),
    ("comments only", "# nothing yet\n# but soon\n@"),
    ("blank lines first", "\n\n@[[runners]]\nname = \"four\"\n"),
    (
        "docker",
        "concurrent = 4 # cores\n@\n[[runners]]\n  token = \"glrt-not-a-token-5\"\n  executor = \"docker\"\n  environment \
         = [\"A=1\", \"B=[x]\"]\n  [runners.docker]\n    image = \"debian:13\"\n    privileged = false\n    volumes = \
         [\n      \"/cache\", # warm\n      \"/var/run/docker.sock:/var/run/docker.sock\",\n    ]\n    shm_size = 0\n",
    ),
    (
        "kubernetes",
        "concurrent = 30\nlog_format = \"json\"\n@[[runners]]\n  name = 'six'\n  token = \"glrt-not-a-token-6\"\n  executor \
         = \"kubernetes\"\n  [runners.kubernetes]\n    namespace = \"ci\"\n    cpu_request = \"500m\"\n    \
         [runners.kubernetes.node_selector]\n      \"kubernetes.io/arch\" = \"amd64\"\n    \
         [runners.kubernetes.pod_labels]\n      sentry_dsn = \"a label\"\n    [[runners.kubernetes.volumes.empty_dir]]\n      \
         name = \"tmp\"\n      mount_path = \"/tmp\"\n",
    ),
    (
        "two runners with caches",
        "concurrent = 2\n@\n[[runners]]\n  token = \"glrt-not-a-token-7\"\n  [runners.cache]\n    Type = \"s3\"\n    Shared = \
         true\n    [runners.cache.s3]\n      ServerAddress = \"s3.example\"\n      SecretKey = \"not-a-secret\"\n\n\
         [[runners]]\n  token = \"glrt-not-a-token-8\"\n  [runners.feature_flags]\n    FF_NETWORK_PER_BUILD = true\n",
    ),
    (
        "scripts in several lines",
        "concurrent = 1\n@[[runners]]\n  pre_build_script = \"\"\"\n  sentry_dsn = \\\"no\\\"\n  [not_a_table]\n  echo \
         hello\n  \"\"\"\n  post_build_script = '''\n[[runners]]\nsentry_dsn = 'no'\n'''\n",
    ),
    (
        "line ends of Windows",
        "concurrent = 1\r\n# a comment\r\nlog_level = \"warn\"\r\n@\r\n[[runners]]\r\n  name = \"n\"\r\n",
    ),
    ("a BOM", "\u{feff}concurrent = 1\n@[[runners]]\n  name = \"n\"\n"),
    ("a BOM and no setting", "\u{feff}@# ours\n[[runners]]\n  name = \"n\"\n"),
    ("a value in several lines at the end", "names = [\n  \"a\",\n  \"b\", # last\n] # done\n@\n# end\n"),
    ("dotted keys", "concurrent = 1\nsession_server.listen_address = \"[::]:8093\"\n@[[runners]]\nname = \"n\"\n"),
    (
        "inline tables",
        "a = { b = 1, c = { d = [1, 2.5, nan, inf] } }\n@[[runners]]\ncustom_build_dir = { enabled = true }\nwhen = 07:32:00\n",
    ),
    (
        "letters of all kinds",
        "log_level = \"info\" # größer, 高い\n@[[runners]]\n\tname = \"Läufer \\u00e9\"\n\t\"quoted key\" = 'C:\\builds'\n",
    ),
    ("trailing blanks", "concurrent = 1   \n@   \n\t\n[[runners]]   # header\n  name = \"n\"  \n\n\n"),
];

fn end_of(file: &str) -> &'static str {
    if file.contains("\r\n") { "\r\n" } else { "\n" }
}

#[test]
fn only_the_key_changes_in_files_as_people_have_them() {
    for (what, file) in FILES {
        let end = end_of(file);
        let without = file.replace('@', "");
        let with = |line: &str| file.replace('@', &format!("{line}{end}"));
        assert_eq!(set(&without, Some(DSN)).unwrap(), with(LINE), "{what}");
        assert_eq!(read(&without).unwrap().sentry_dsn(), None, "{what}");
        assert_eq!(set(&without, None).unwrap(), without, "{what}");
        for line in [
            LINE,
            "sentry_dsn=\"\" # set by hand",
            "  sentry_dsn  =  'https://old@errors.example/1'",
            "\"sentry_dsn\" = \"\"\"\nhttps://old@errors.example/1\"\"\" # over two lines",
        ] {
            let old = with(line);
            let config = read(&old).unwrap();
            let start = old.find(line).unwrap();
            assert_eq!(config.line(), Some(line_at(&old, start)), "{what}");
            let new = set(&old, Some(DSN)).unwrap();
            assert_eq!(read(&new).unwrap().sentry_dsn(), Some(DSN), "{what}");
            let value = &LINE["sentry_dsn = ".len()..];
            let replaced = [
                (LINE, LINE.to_owned()),
                ("sentry_dsn=\"\" # set by hand", format!("sentry_dsn={value} # set by hand")),
                ("  sentry_dsn  =  'https://old@errors.example/1'", format!("  sentry_dsn  =  {value}")),
            ];
            let expected = replaced.into_iter().find(|(old, _)| *old == line).map(|(_, new)| new);
            assert_eq!(new, with(&expected.unwrap_or(format!("\"sentry_dsn\" = {value} # over two lines"))), "{what}");
            assert_eq!(set(&old, None).unwrap(), without, "{what}: {line}");
        }
    }
}

#[test]
fn a_last_line_without_an_end_stays_one() {
    for (without, with) in [
        ("concurrent = 1", "concurrent = 1\nsentry_dsn = \"https://fake@errors.example/7\""),
        ("a = 1\r\nb = 2", "a = 1\r\nb = 2\r\nsentry_dsn = \"https://fake@errors.example/7\""),
        ("# nothing", "# nothing\nsentry_dsn = \"https://fake@errors.example/7\""),
        ("a = 1\n[[runners]]", "a = 1\nsentry_dsn = \"https://fake@errors.example/7\"\n[[runners]]"),
        ("[[runners]]", "sentry_dsn = \"https://fake@errors.example/7\"\n[[runners]]"),
    ] {
        assert_eq!(set(without, Some(DSN)).unwrap(), with);
        assert_eq!(set(with, None).unwrap(), without);
    }
    assert_eq!(set(LINE, None).unwrap(), "");
    assert_eq!(set(&format!("{BOM}{LINE}"), None).unwrap(), "\u{feff}");
    assert_eq!(set("\u{feff}", Some(DSN)).unwrap(), format!("\u{feff}{LINE}\n"));
    assert_eq!(set("concurrent = 1\n\nsentry_dsn = ''", None).unwrap(), "concurrent = 1\n");
}

#[test]
fn every_letter_comes_back() {
    for dsn in ["", "a\"b\\c", "a\nb\r\nc\td", "\0\u{1b}\u{7f}\u{85}", "é高\u{1f600}\u{feff}"] {
        let text = set("", Some(dsn)).unwrap();
        assert_eq!(read(&text).unwrap().sentry_dsn(), Some(dsn));
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn a_value_that_is_there_is_not_written_again() {
    let text = "sentry_dsn = 'https://fake@errors.example/7'   # in other quotes\n";
    assert_eq!(set(text, Some(DSN)).unwrap(), text);
}

#[test]
fn what_the_runner_would_read_otherwise_is_refused() {
    let in_table = |table: &str, line| Err(ConfigError::InTable { table: table.to_owned(), line });
    for (text, error) in [
        ("a = \n", Err(ConfigError::NotToml { line: 1 })),
        ("a = 1\nb = 2\ntoken = glrt-not-a-token\n", Err(ConfigError::NotToml { line: 3 })),
        ("a = 1\n[[runners]\nb = 1\n", Err(ConfigError::NotToml { line: 2 })),
        ("a = 1\r\nb = \"x\r\n", Err(ConfigError::NotToml { line: 2 })),
        ("a = 1\na = 2\n", Err(ConfigError::NotToml { line: 2 })),
        ("{\"a\": 1}", Err(ConfigError::NotToml { line: 1 })),
        ("sentry_dsn = 'a'\nb = 1\nsentry_dsn = 'c'\n", Err(ConfigError::Twice { line: 3 })),
        ("sentry_dsn = 'a'\n\"sentry_dsn\" = 'c'\n", Err(ConfigError::Twice { line: 2 })),
        ("a = 1\n[[runners]]\nsentry_dsn = 'a'\n", in_table("runners", 3)),
        ("[session_server]\nx = 1\nsentry_dsn = 'a'\n", in_table("session_server", 3)),
        ("[[runners]]\n[runners.cache.s3]\n\nsentry_dsn = 'a'\n", in_table("runners.cache.s3", 4)),
        ("[[runners]]\n[[runners]]\nsentry_dsn = 'a'\n", in_table("runners", 3)),
        ("sentry_dsn = 'a'\n[global]\nsentry_dsn = 'a'\n", in_table("global", 3)),
        ("runners = [{ name = 'n' }, { sentry_dsn = 'a' }]\n", in_table("runners", 1)),
        ("runners.docker.sentry_dsn = 'a'\n", in_table("runners.docker", 1)),
        ("[runners.glrt-not-a-token]\nsentry_dsn = 'a'\n", in_table("runners.…", 2)),
        ("a = 1\nSentry_DSN = 'a'\n", Err(ConfigError::OtherCase { line: 2 })),
        ("sentry_dsn = ''\nSENTRY_DSN = 'a'\n", Err(ConfigError::OtherCase { line: 2 })),
        ("sentry_dsn = 7\n", Err(ConfigError::NotAString { line: 1 })),
        ("a = 1\nsentry_dsn = ['a']\n", Err(ConfigError::NotAString { line: 2 })),
        ("a = 1\nsentry_dsn = {}\n", Err(ConfigError::NotAString { line: 2 })),
        ("a = 1\nsentry_dsn.a = 'b'\n", Err(ConfigError::NotAString { line: 2 })),
        ("a = 1\n\n[sentry_dsn]\na = 'b'\n", Err(ConfigError::NotAString { line: 3 })),
        ("a = 1\n[[sentry_dsn]]\na = 'b'\n", Err(ConfigError::NotAString { line: 2 })),
    ] {
        assert_eq!(read(text).map(|_| ()), error, "{text}");
        assert_eq!(set(text, Some(DSN)).map(|_| ()), error, "{text}");
        let bom = format!("\u{feff}{text}");
        assert_eq!(read(&bom).map(|_| ()), error, "{bom}");
    }
}

#[test]
fn the_key_in_a_table_does_not_keep_ours_in_the_file() {
    let text = "sentry_dsn = 'a'\n[[runners]]\nsentry_dsn = 'b'\n";
    assert_eq!(set(text, None).unwrap(), "[[runners]]\nsentry_dsn = 'b'\n");
    assert_eq!(set("SENTRY_DSN = 'b'\n", None).unwrap(), "SENTRY_DSN = 'b'\n");
}

#[test]
fn a_file_is_as_large_as_a_secret_can_be() {
    let mut text = "#".repeat(MAX_BYTES - 1) + "\n";
    assert!(read(&text).is_ok());
    assert_eq!(set(&text, Some(DSN)), Err(ConfigError::TooLarge));
    text.push('#');
    assert_eq!(read(&text).map(|_| ()), Err(ConfigError::TooLarge));
}

#[test]
fn no_file_is_too_deep() {
    let most = MAX_BYTES - 64;
    for text in [
        "a.".repeat(most / 2) + "b = 1",
        format!("[{}b]", "a.".repeat(most / 2)),
        format!("a = {}", "[".repeat(most)),
        format!("a = {}1{}", "[".repeat(most / 2), "]".repeat(most / 2)),
        format!("a = {}", "{a=".repeat(most / 3)),
        "[[a]]\n".repeat(most / 6),
        (0..most / 40).map(|number| format!("[t.t{number}]")).collect::<Vec<_>>().join("\n"),
    ] {
        let _ = (read(&text).is_ok(), set(&text, Some(DSN)).is_ok());
    }
}

#[test]
fn nothing_of_a_file_is_repeated() {
    let secret = "glrt-not-a-token";
    for text in [
        format!("token = {secret}\n"),
        format!("{secret} = 1\n{secret} = 2\n"),
        format!("sentry_dsn = '{secret}'\nsentry_dsn = '{secret}'\n"),
        format!("[{secret}]\nsentry_dsn = '{secret}'\n"),
        format!("[runners.{secret}.docker]\nsentry_dsn = '{secret}'\n"),
        format!("sentry_dsn = ['{secret}']\n"),
        format!("SENTRY_DSN = '{secret}'\n"),
        format!("[{secret}]\n[{secret}]\n"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    let text = format!("sentry_dsn = '{secret}'\n");
    assert_eq!(format!("{:?}", read(&text).unwrap()), "Config { sentry_dsn: Some(\"…\"), line: Some(1) }");
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|number| number.to_string()),
        Just("true".to_owned()),
        Just("2026-01-02T03:04:05Z".to_owned()),
        Just("-1.5e3".to_owned()),
        "[ -!#-\\[\\]-~é高]{0,12}".prop_map(|text| format!("\"{text}\"")),
        "[ -&(-~]{0,12}".prop_map(|text| format!("'{text}'")),
        "[a-z= #\\[\\]\n]{0,20}".prop_map(|text| format!("\"\"\"{text}\"\"\"")),
        "[a-z= #\\[\\]\n]{0,20}".prop_map(|text| format!("'''\n{text}'''")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| format!("[ {} ]", values.join(", "))),
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|values| format!("[\n{}]", values.join(",# x\n") + "\n")),
            prop::collection::vec(inner, 0..3).prop_map(|values| {
                let pairs = values.iter().enumerate().map(|(number, value)| format!("i{number} = {value}"));
                format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
            }),
        ]
    })
}

/// Lines of one table: settings with names of their own, comments and blank lines.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof![
        4 => (value(), "( |\t)?", "( # [a-z\\[\\]=]{0,8})?").prop_map(|(value, blank, note)| format!("{blank}NAME={blank}{value}{note}")),
        1 => "#[ a-z=\\[\\]\"]{0,20}",
        1 => "[ \t]{0,3}",
    ];
    prop::collection::vec(line, 0..6).prop_map(|mut lines| {
        for (number, line) in lines.iter_mut().enumerate() {
            *line = line.replace("NAME", &format!("k{number} "));
        }
        lines
    })
}

/// Global lines, and lines of tables with their header.
fn config() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let header = "(\\[\\[runners\\]\\]|\\[tNUMBER\\]|\\[runners2\\.tNUMBER\\]|\\[\\[runners\\]\\] # [a-z]{0,4})";
    let tables = prop::collection::vec((header, lines()), 0..4).prop_map(|tables| {
        let with_header = |(number, (header, lines)): (usize, (String, Vec<String>))| {
            std::iter::once(header.replace("NUMBER", &number.to_string())).chain(lines).collect::<Vec<_>>()
        };
        tables.into_iter().enumerate().flat_map(with_header).collect()
    });
    (lines(), tables)
}

/// `\n` within values stays: TOML lets a file mix line ends.
fn text_of(lines: &[String], end: &str, bom: bool, last: bool) -> String {
    let text = lines.join(end);
    format!("{}{text}{}", if bom { "\u{feff}" } else { "" }, if last && !lines.is_empty() { end } else { "" })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn only_the_key_changes(
        (global, tables) in config(), crlf in any::<bool>(), bom in any::<bool>(), last in any::<bool>(),
        dsn in "\\PC{0,30}|https://[a-z]{4}@errors\\.example/7", at in any::<prop::sample::Index>(),
        old in "sentry_dsn ?= ?('|\")[a-z:/@]{0,20}",
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let all = [global.clone(), tables.clone()].concat();
        let without = text_of(&all, end, bom, last);
        prop_assert!(read(&without).is_ok(), "{without}");

        // A new key: its line and nothing else is put in, and it can be taken out again.
        let with = set(&without, Some(&dsn)).unwrap();
        let config = read(&with).unwrap();
        prop_assert_eq!(config.sentry_dsn(), Some(dsn.as_str()));
        let ends = if with.contains("\r\n") { ["\r\n", "\n"] } else { ["\n", "\n"] };
        let line = format!("sentry_dsn = {}", quoted(&dsn));
        let put_in = ends.iter().flat_map(|end| [format!("{line}{end}"), format!("{end}{line}")]);
        prop_assert!(put_in.into_iter().any(|put| with.replacen(&put, "", 1) == without), "{without:?} {with:?}");
        prop_assert_eq!(set(&with, Some(&dsn)).unwrap(), with.as_str());
        prop_assert_eq!(set(&with, None).unwrap(), without);

        // A key that is there, on any global line: its value alone changes.
        let quote = if old.contains('\'') { '\'' } else { '"' };
        let old = format!("{old}{quote}");
        let start = old.find(quote).unwrap();
        let mut some = global.clone();
        let index = at.index(global.len() + 1);
        some.insert(index, old.clone());
        let some = [some, tables].concat();
        let before = text_of(&some, end, bom, last);
        let config = read(&before).unwrap();
        prop_assert_eq!(config.sentry_dsn(), Some(&old[start + 1..old.len() - 1]));
        let after = set(&before, Some(&dsn)).unwrap();
        if dsn != old[start + 1..old.len() - 1] {
            let new = format!("{}{}", &old[..start], quoted(&dsn));
            prop_assert_eq!(after, before.replacen(&old, &new, 1));
        }
        let mut rest = some;
        rest.remove(index);
        let taken = set(&before, None).unwrap();
        // A file that ends with our line without an end goes on without one.
        prop_assert_eq!(taken, text_of(&rest, end, bom, last));
    }

    #[test]
    fn nothing_is_repeated_whatever_the_file(text in "(\\PC|\n|=|\\[|\\]|'|\"){0,60}", at in 0usize..3) {
        let marked = ["x = ZEBRAS\n", "[ZEBRAS]\nsentry_dsn = 1\n", "sentry_dsn = [\"ZEBRAS\"]\n"][at].to_owned() + &text;
        if let Err(error) = read(&marked) {
            let said = format!("{error} {error:?}");
            prop_assert!(!said.contains("ZEBRAS"), "{}", said);
        }
        let _ = set(&text, Some(DSN));
        let _ = set(&text, None);
    }
}
