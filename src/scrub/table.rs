//! The rules by example, as people read them.

/// Under each heading: an attribute of an event as it comes, and as it is stored.
///
/// In the second column `…` says that nothing is changed.
pub(super) const TABLE: [(&str, &[(&str, &str)]); 14] = [
    (
        "Under a name that tells of a secret nothing stays",
        &[
            (r#""extra":{"password":"hunter2"}"#, r#""extra":{"password":"[Filtered]"}"#),
            (r#""extra":{"DB_PassWord2":"hunter2"}"#, r#""extra":{"DB_PassWord2":"[Filtered]"}"#),
            (r#""extra":{"pass\u0077ord":"hunter2"}"#, r#""extra":{"pass\u0077ord":"[Filtered]"}"#),
            (r#""extra":{"secret":1,"secret":true}"#, r#""extra":{"secret":null,"secret":null}"#),
            (r#""extra":{"api-key":["a"],"apiKey":{"a":1}}"#, r#""extra":{"api-key":null,"apiKey":null}"#),
            (
                r#""extra":{"accessToken":"x","otp":"123456"}"#,
                r#""extra":{"accessToken":"[Filtered]","otp":"[Filtered]"}"#,
            ),
            (
                r#""extra":{"two_factor":"x","credentials":"x"}"#,
                r#""extra":{"two_factor":"[Filtered]","credentials":"[Filtered]"}"#,
            ),
            (
                r#""extra":{"private-key":"x","mysql_pwd":"x"}"#,
                r#""extra":{"private-key":"[Filtered]","mysql_pwd":"[Filtered]"}"#,
            ),
            (r#""extra":{"hotpot":"soup","passed":true,"key":"k","password":null}"#, "…"),
            (
                r#""extra":{"pwd":"x","dbPass":"x","db_pass2":"x","passphrase":"x","cvv":123,"user_jwt":"x","access_key":"x"}"#,
                r#""extra":{"pwd":"[Filtered]","dbPass":"[Filtered]","db_pass2":"[Filtered]","passphrase":"[Filtered]","cvv":null,"user_jwt":"[Filtered]","access_key":"[Filtered]"}"#,
            ),
            (
                r#""extra":{"author":"ann","authority":"a","authored_at":"b","co_authors":["c"],"secretary":"d","bypass":"e","compass":"f","pass_rate":1,"PWD":"/srv"}"#,
                "…",
            ),
            (
                r#""extra":{"max_tokens":100,"input_tokens":5,"token_count":7,"token_type":"bearer","password_changed_at":"2026","tokenizer":"bpe"}"#,
                "…",
            ),
            (
                r#""extra":{"access_tokens":["x"],"tokens":"x","authorization":"x","authorised_by_token":"x","oauth":"x"}"#,
                r#""extra":{"access_tokens":null,"tokens":"[Filtered]","authorization":"[Filtered]","authorised_by_token":"[Filtered]","oauth":"[Filtered]"}"#,
            ),
            (r#""password":"hunter2""#, r#""password":"[Filtered]""#),
            (r#""contexts":{"app":{"auth":"x"}}"#, r#""contexts":{"app":{"auth":"[Filtered]"}}"#),
            (r#""tags":{"auth.kind":"basic"}"#, r#""tags":{"auth.kind":"[Filtered]"}"#),
            (
                r#""logentry":{"message":"%(password)s","params":{"password":"x"}}"#,
                r#""logentry":{"message":"%(password)s","params":{"password":"[Filtered]"}}"#,
            ),
        ],
    ),
    (
        "Of a text what is assigned to the name of a secret goes",
        &[
            (r#""extra":{"note":"the password: hunter2"}"#, r#""extra":{"note":"the password: [Filtered]"}"#),
            (r#""breadcrumbs":[{"message":"password: abc"}]"#, r#""breadcrumbs":[{"message":"password: [Filtered]"}]"#),
            (
                r#""extra":{"note":"access_token=abc","kind":"token abc"}"#,
                r#""extra":{"note":"access_token=[Filtered]","kind":"token abc"}"#,
            ),
            (r#""extra":{"argv":["app","--api-key=abc"]}"#, r#""extra":{"argv":["app","--api-key=[Filtered]"]}"#),
            (
                r#""extra":{"argv":["app","--password","hunter2","--verbose"],"cmd":"app --db-password hunter2 run"}"#,
                r#""extra":{"argv":["app","--password","[Filtered]","--verbose"],"cmd":"app --db-password [Filtered] run"}"#,
            ),
            (r#""extra":{"note":"pass\u0077ord: x"}"#, r#""extra":{"note":"password: [Filtered]"}"#),
            (
                r#""exception":[{"value":"cannot connect: host=db user=app password=hunter2 port=5432"}]"#,
                r#""exception":[{"value":"cannot connect: host=db user=app password=[Filtered] port=5432"}]"#,
            ),
            (
                r#""message":"Server=db;Uid=app;Pwd=hun ter2;Pooling=true","tags":{"dsn":"password: hunter2"}"#,
                r#""message":"Server=db;Uid=app;Pwd=[Filtered] ter2;Pooling=true","tags":{"dsn":"password: [Filtered]"}"#,
            ),
            (
                r#""message":"SET PASSWORD = 'hunter2', \"secret\": \"x\", {api_key=>\"y\"}""#,
                r#""message":"SET PASSWORD = '[Filtered]', \"secret\": \"[Filtered]\", {api_key=>\"[Filtered]\"}""#,
            ),
            (
                r#""message":"Authorization: Bearer abc.def, X-Auth: Basic YTpi""#,
                r#""message":"Authorization: [Filtered], X-Auth: [Filtered]""#,
            ),
            (r#""message":"the password is hunter2""#, r#""message":"the password is [Filtered]""#),
            (
                r#""message":"password: must be set, password: incorrect, Unexpected token: x, password=null, token_type=bearer""#,
                "…",
            ),
            (
                r#""extra":{"a":"authentication failed for user ann","b":"the author: ann, max_tokens=100","c":"forgot the password?"}"#,
                "…",
            ),
            (r#""message":"the password was wrong""#, "…"),
            (r#""exception":[{"type":"AuthError","value":"invalid auth token: none"}]"#, "…"),
        ],
    ),
    (
        "Card, account and social security numbers",
        &[
            (r#""extra":{"a":"card 4111 1111 1111 1111."}"#, r#""extra":{"a":"card [Filtered]."}"#),
            (r#""extra":{"a":"5105-1051-0510-5100","b":378282246310005}"#, r#""extra":{"a":"[Filtered]","b":null}"#),
            (r#""extra":{"a":"DE89370400440532013000"}"#, r#""extra":{"a":"[Filtered]"}"#),
            (
                r#""extra":{"a":"GB82 WEST 1234 5698 7654 32, DE00 1111 2222"}"#,
                r#""extra":{"a":"[Filtered], DE00 1111 2222"}"#,
            ),
            (r#""extra":{"a":"ssn 078-05-1120"}"#, r#""extra":{"a":"ssn [Filtered]"}"#),
            (
                r#""message":"card 4111111111111111 of DE89370400440532013000, 078-05-1120""#,
                r#""message":"card [creditcard] of [iban], [usssn]""#,
            ),
            (r#""extra":{"id":"1732269600123456","hex":"4111111111111111a","n":1732269600123456789}"#, "…"),
            (
                r#""extra":{"uuid":"41111111-1111-4111-8111-111111111111","f":0.4532015112830366,"g":"0.4532015112830366","id":"4111111111111112","iban":"DE00370400440532013000"}"#,
                "…",
            ),
        ],
    ),
    (
        "Bearer tokens, passwords in URLs, keys",
        &[
            (r#""extra":{"a":"sent Bearer abc.def"}"#, r#""extra":{"a":"sent Bearer [Filtered]"}"#),
            (
                r#""exception":[{"value":"refused: bearer abc.def"}]"#,
                r#""exception":[{"value":"refused: bearer [token]"}]"#,
            ),
            (
                r#""extra":{"a":"postgres://app:hun%24ter2@db/shop"}"#,
                r#""extra":{"a":"postgres://app:[Filtered]@db/shop"}"#,
            ),
            (r#""extra":{"a":"redis:\/\/:a@b@db"}"#, r#""extra":{"a":"redis://:[Filtered]@db"}"#),
            (r#""message":"no answer of https://u:p/w@h/x""#, r#""message":"no answer of https://u:[Filtered]@h/x""#),
            (r#""message":"http://localhost:3000/node_modules/@babel/x.js""#, "…"),
            (
                r#""message":"Basic YW5uOmh1bnRlcjI=, Basic authentication, Basic plan""#,
                r#""message":"Basic [Filtered], Basic authentication, Basic plan""#,
            ),
            (
                r#""message":"sent eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0ZXN0In0.c2lnbmF0dXJl and AKIAEXAMPLEEXAMPLE00""#,
                r#""message":"sent [token] and [token]""#,
            ),
            (
                r#""extra":{"a":"ghp_exampleexampleexampleexampleexample0","b":"glpat-exampleexample00000000","c":"xoxb-0000000000-example"}"#,
                r#""extra":{"a":"[Filtered]","b":"[Filtered]","c":"[Filtered]"}"#,
            ),
            (r#""message":"Asia/Tokyo, task-7, ghp_short, eyJ, sk_live_""#, "…"),
            (
                r#""extra":{"a":"-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----"}"#,
                r#""extra":{"a":"-----BEGIN RSA PRIVATE KEY-----\n[Filtered]\n-----END RSA PRIVATE KEY-----"}"#,
            ),
            (
                r#""message":"-----BEGIN PRIVATE KEY-----\nMIIE cut off""#,
                r#""message":"-----BEGIN PRIVATE KEY-----\n[Filtered]""#,
            ),
        ],
    ),
    (
        "Names of people in paths and addresses",
        &[
            (
                r#""extra":{"a":"/home/ann/app.py","b":"file:///Users/Ann/x"}"#,
                r#""extra":{"a":"/home/[Filtered]/app.py","b":"file:///Users/[Filtered]/x"}"#,
            ),
            (r#""extra":{"a":"C:\\Users\\Ann Smith\\app.exe"}"#, r#""extra":{"a":"C:\\Users\\[Filtered]\\app.exe"}"#),
            (r#""extra":{"a":"GET /users/42 of https://shop.example/home/garden"}"#, "…"),
            (
                r#""message":"no mail for ann@example.com at /home/ann""#,
                r#""message":"no mail for [email] at /home/ann""#,
            ),
            (r#""tags":[["customer","ann@example.com"]]"#, r#""tags":[["customer","[email]"]]"#),
            (r#""extra":{"contact":"ann@example.com"}"#, "…"),
            (r#""user":{"id":"7","email":"ann@example.com","username":"ann","ip_address":"10.0.0.1"}"#, "…"),
        ],
    ),
    (
        "Headers, environment and other lists of names and values",
        &[
            (
                r#""request":{"headers":{"Authorization":"Basic YTpi","Accept":"*/*"}}"#,
                r#""request":{"headers":{"Authorization":"[Filtered]","Accept":"*/*"}}"#,
            ),
            (
                r#""request":{"headers":[["Authorization","x"],["Accept",["a","b"]]]}"#,
                r#""request":{"headers":[["Authorization","[Filtered]"],["Accept",["a","b"]]]}"#,
            ),
            (r#""request":{"headers":{"X-Api-Key":["a","b"]}}"#, r#""request":{"headers":{"X-Api-Key":null}}"#),
            (r#""request":{"headers":{"User-Agent":"auth-client/1.0"}}"#, "…"),
            (
                r#""request":{"env":{"DB_PASSWORD":"x","REMOTE_ADDR":"10.0.0.1"}}"#,
                r#""request":{"env":{"DB_PASSWORD":"[Filtered]","REMOTE_ADDR":"10.0.0.1"}}"#,
            ),
            (
                r#""tags":[{"value":"x","key":"secret"},{"key":"a","value":"b"}]"#,
                r#""tags":[{"value":"[Filtered]","key":"secret"},{"key":"a","value":"b"}]"#,
            ),
            (r#""tags":[["token",5],["a",5]]"#, r#""tags":[["token",null],["a",5]]"#),
        ],
    ),
    (
        "Cookies",
        &[
            (
                r#""request":{"cookies":{"sessionid":"x","theme":"dark","csrftoken":"x"}}"#,
                r#""request":{"cookies":{"sessionid":"[Filtered]","theme":"dark","csrftoken":"[Filtered]"}}"#,
            ),
            (
                r#""request":{"cookies":"theme=dark; PHPSESSID=x;su=1"}"#,
                r#""request":{"cookies":"theme=dark; PHPSESSID=[Filtered];su=[Filtered]"}"#,
            ),
            (
                r#""request":{"cookies":[["_csrf","x"],["theme","dark"]]}"#,
                r#""request":{"cookies":[["_csrf","[Filtered]"],["theme","dark"]]}"#,
            ),
            (
                r#""request":{"headers":{"Cookie":"a=b; session=x"}}"#,
                r#""request":{"headers":{"Cookie":"a=b; session=[Filtered]"}}"#,
            ),
            (
                r#""request":{"headers":[["set-cookie",["session=x; Path=/"]]]}"#,
                r#""request":{"headers":[["set-cookie",["session=[Filtered]; Path=/"]]]}"#,
            ),
            (
                r#""request":{"env":{"HTTP_COOKIE":"session=x"}}"#,
                r#""request":{"env":{"HTTP_COOKIE":"session=[Filtered]"}}"#,
            ),
            (
                r#""extra":{"request":{"cookies":{"session":"x"}}}"#,
                r#""extra":{"request":{"cookies":{"session":"[Filtered]"}}}"#,
            ),
        ],
    ),
    (
        "Bodies, queries and URLs",
        &[
            (
                r#""request":{"data":"name=ann&pass%77ord=a%20b&x=%20"}"#,
                r#""request":{"data":"name=ann&pass%77ord=[Filtered]&x=%20"}"#,
            ),
            (
                r#""request":{"data":"{\"card\":\"4111111111111111\",\"n\":1}"}"#,
                r#""request":{"data":"{\"card\":\"[Filtered]\",\"n\":1}"}"#,
            ),
            (r#""request":{"data":"log in with password x"}"#, "…"),
            (
                r#""request":{"data":"<a b='1'><password>x</password></a>"}"#,
                r#""request":{"data":"<a b='1'><password>[Filtered]</password></a>"}"#,
            ),
            (
                r#""extra":{"url":"https://h/p?token=x&page=2","referer":"https://h/;jsessionid=x?q=1"}"#,
                r#""extra":{"url":"https://h/p?token=[Filtered]&page=2","referer":"https://h/;jsessionid=x?q=1"}"#,
            ),
            (
                r#""request":{"data":"payload=%7B%22secret%22%3A1%7D"}"#,
                r#""request":{"data":"payload=%7B%22secret%22%3Anull%7D"}"#,
            ),
            (
                r#""request":{"data":[["secret","x"],["a",1]]}"#,
                r#""request":{"data":[["secret","[Filtered]"],["a",1]]}"#,
            ),
            (
                r#""request":{"query_string":"q=a b&token=x&card=4111+1111+1111+1111"}"#,
                r#""request":{"query_string":"q=a b&token=[Filtered]&card=[Filtered]"}"#,
            ),
            (
                r#""request":{"query_string":[["token","x"],["q","a"]]}"#,
                r#""request":{"query_string":[["token","[Filtered]"],["q","a"]]}"#,
            ),
            (
                r#""request":{"url":"https://h/p?q=1&api_key=x#token=y"}"#,
                r#""request":{"url":"https://h/p?q=1&api_key=[Filtered]#token=[Filtered]"}"#,
            ),
            (r#""message":"GET /login?password=x failed""#, r#""message":"GET /login?password=[Filtered] failed""#),
            (r#""request":{"fragment":"access_token=x"}"#, r#""request":{"fragment":"access_token=[Filtered]"}"#),
        ],
    ),
    (
        "JSON in strings",
        &[
            (
                r#""extra":{"body":"{\"password\":\"x\",\"a\":[1, 2]}"}"#,
                r#""extra":{"body":"{\"password\":\"[Filtered]\",\"a\":[1, 2]}"}"#,
            ),
            (
                r#""extra":{"body":"[\"{\\\"pass\\\\u0077ord\\\":5}\"]"}"#,
                r#""extra":{"body":"[\"{\\\"pass\\\\u0077ord\\\":null}\"]"}"#,
            ),
            (r#""extra":{"body":"{\"a\":\"x\"} secret"}"#, "…"),
            (
                r#""extra":{"body":"\"{\\\"password\\\":\\\"x\\\"}\""}"#,
                r#""extra":{"body":"\"{\\\"password\\\":\\\"[Filtered]\\\"}\""}"#,
            ),
            (r#""extra":{"body":"\"a quoted text\""}"#, "…"),
            (r#""extra":{"body":"\"a\": \"b\""}"#, "…"),
            (
                r#""message":"{\"password\":\"x\",\"text\":\"my password\"}""#,
                r#""message":"{\"password\":\"[Filtered]\",\"text\":\"my password\"}""#,
            ),
        ],
    ),
    (
        "Stack traces",
        &[
            (
                r#""exception":{"values":[{"stacktrace":{"frames":[{"vars":{"password":"'x'","n":"1"}}]}}]}"#,
                r#""exception":{"values":[{"stacktrace":{"frames":[{"vars":{"password":"[Filtered]","n":"1"}}]}}]}"#,
            ),
            (
                r#""exception":{"stacktrace":{"frames":[{"context_line":"url = 'http://a:b@c' # ann@example.com","pre_context":["@auth(token=1)"]}]}}"#,
                r#""exception":{"stacktrace":{"frames":[{"context_line":"url = 'http://a:[Filtered]@c' # ann@example.com","pre_context":["@auth(token=1)"]}]}}"#,
            ),
            (
                r#""exception":[{"type":"T","module":"auth","stacktrace":{"frames":[{"function":"get_password","module":"auth","filename":"auth/secret.py","abs_path":"/home/ann/auth.py"}]}}]"#,
                "…",
            ),
            (
                r#""exception":[{"mechanism":{"type":"auth","data":{"secret":"x"}}}]"#,
                r#""exception":[{"mechanism":{"type":"auth","data":{"secret":"[Filtered]"}}}]"#,
            ),
            (
                r#""threads":{"values":[{"id":1,"name":"auth","state":"password","stacktrace":{"frames":[{"vars":[["password"]]}]}}]}"#,
                r#""threads":{"values":[{"id":1,"name":"auth","state":"password","stacktrace":{"frames":[{"vars":[["password"]]}]}}]}"#,
            ),
            (
                r#""sentry.interfaces.Exception":[{"value":"ann@example.com"}]"#,
                r#""sentry.interfaces.Exception":[{"value":"[email]"}]"#,
            ),
            (
                r#""exception":[{"sentry.interfaces.Stacktrace":{"frames":[{"function":"get_password","vars":{"auth":1}}]}}]"#,
                r#""exception":[{"sentry.interfaces.Stacktrace":{"frames":[{"function":"get_password","vars":{"auth":null}}]}}]"#,
            ),
            (
                r#""stacktrace":{"frames":{"function":"get_password","vars":{"auth":1}}}"#,
                r#""stacktrace":{"frames":{"function":"get_password","vars":{"auth":null}}}"#,
            ),
            (r#""stacktrace":{"frames":[{"vars":{"auth":1}}]}"#, r#""stacktrace":{"frames":[{"vars":{"auth":null}}]}"#),
        ],
    ),
    (
        "Structure stays",
        &[
            (r#""release":"auth@1.0","environment":"secret","logger":"auth","platform":"python""#, "…"),
            (
                r#""fingerprint":["auth","secret"],"modules":{"auth":"1.0","password":"2"},"sdk":{"name":"auth","client_ip":"10.0.0.1"}"#,
                "…",
            ),
            (r#""debug_meta":{"images":[{"code_file":"/home/ann/secret.so","debug_id":"4111111111111111"}]}"#, "…"),
            (
                r#""contexts":{"trace":{"trace_id":"41111111111111114111111111111111","span_id":"4111111111111111","op":"auth"}}"#,
                "…",
            ),
            (r#""release":{"password":"x"}"#, r#""release":{"password":"[Filtered]"}"#),
            (r#""contexts":{"feedback":{"message":"I forgot my password","contact_email":"ann@example.com"}}"#, "…"),
        ],
    ),
    (
        "Mended: what strict parsers and Postgres refuse",
        &[
            (r#""extra":[NaN,Infinity,-Infinity,1e999,-1e9]"#, r#""extra":[null,null,null,null,-1e9]"#),
            (r#""extra":"NaN \" Infinity""#, "…"),
            (
                r#""extra":["\ud83d","\ude00x","\ud83d\ud83d\ude00"]"#,
                r#""extra":["\ufffd","\ufffdx","\ufffd\ud83d\ude00"]"#,
            ),
            (r#""extra":["\uD83D\uDE00","\\ud83d"]"#, "…"),
            (r#""a\u0000":"x\u0000y""#, r#""a":"xy""#),
            ("\"extra\":\"a\nb\0c\u{1}\"", r#""extra":"a\nbc\u0001""#),
            (r#""extra":{"pass\u0000word":"x"}"#, r#""extra":{"password":"[Filtered]"}"#),
        ],
    ),
    (
        "Nested JSON keeps what is only mended in step with it",
        &[(
            r#""extra":{"body":"{\"a\":\"\ud83d\",\"secret\":1}"}"#,
            "\"extra\":{\"body\":\"{\\\"a\\\":\\\"\u{fffd}\\\",\\\"secret\\\":null}\"}",
        )],
    ),
    (
        "Attributes of the wrong type",
        &[
            (r#""user":"password","request":["secret"],"exception":"auth""#, "…"),
            (
                r#""tags":"a@b.cc","message":["4111111111111111"],"extra":"x""#,
                r#""tags":"[email]","message":["[Filtered]"],"extra":"x""#,
            ),
            (
                r#""request":{"headers":"Authorization: x","cookies":5,"data":true}"#,
                r#""request":{"headers":"Authorization: [Filtered]","cookies":5,"data":true}"#,
            ),
        ],
    ),
];
