//! Names that a compiler, a framework or a build tool makes up, and what of them counts.
//!
//! A row is tried where its platform and part fit and the name has its sign. `\b`, `\w` and `\d` are ASCII. A pattern
//! with `[0-9]` is only tried on names with a digit; `\d` says that it may do without.

use super::names::{Made, Part};

const ALL: &[&str] = &[];
const JVM: &[&str] = &["java", "kotlin", "groovy", "cfml"];
const CLR: &[&str] = &["csharp", "unity", "powershell"];
const JS: &[&str] = &["javascript", "node"];
const NATIVE: &[&str] = &["native", "c", "cocoa", "objc", "swift", "rust", "unreal", "unity"];
const IL2CPP: &[&str] = &["unity", "csharp", "native", "cocoa"];
const RUST: &[&str] = &["rust", "native"];
const SWIFT: &[&str] = &["swift", "cocoa", "objc", "native"];
const GO: &[&str] = &["go"];
const PYTHON: &[&str] = &["python"];
const CYTHON: &[&str] = &["python", "native", "c"];
const RUBY: &[&str] = &["ruby"];
const PHP: &[&str] = &["php"];
const ELIXIR: &[&str] = &["elixir"];
const PERL: &[&str] = &["perl"];
const LUA: &[&str] = &["lua"];
const DART: &[&str] = &["dart", "flutter"];
const HASKELL: &[&str] = &["haskell"];
const AS3: &[&str] = &["as3"];

/// Rows of one platform and part, each: sign, what it looks like, what remains, where it comes from, an example and
/// what becomes of it.
macro_rules! rows {
    ($($platforms:ident $part:ident { $($row:tt)* })*) => {
        &[$(rows!(@ $platforms $part $($row)*)),*]
    };
    (@ $platforms:ident $part:ident $(
        $sign:literal $looks_like:literal => $remains:literal, $source:literal, $example:literal => $becomes:literal;
    )*) => {
        &[$(Made {
            platforms: $platforms, part: Part::$part, sign: $sign, looks_like: $looks_like, remains: $remains,
            source: $source, example: ($example, $becomes),
        }),*] as &[Made]
    };
}

/// In the order in which they are tried: what one leaves the next one sees.
pub(super) const TABLE: &[&[Made]] = rows! {
    JVM Name {
        "-$$Lambda$" r"-\$\$Lambda\$([A-Z]\w*)\$[\w-]+" => "$1$$$$Lambda", "D8 and retrolambda, a lambda's class",
            "com.shop.-$$Lambda$Cart$Qm4XzBqXk9Za" => "com.shop.Cart$$Lambda";
        "$$Lambda" r"\$\$Lambda(?:[$/]\w+)*" => "$$$$Lambda", "JVM, a lambda's class",
            "com.shop.Cart$$Lambda$14/0x0000000800066840" => "com.shop.Cart$$Lambda";
        "Synthetic" r"\$\$(External|Internal)Synthetic([A-Za-z]+)[\w$]*" => "$$$$${1}Synthetic$2",
            "D8 and R8, what they move out of a class",
            "com.shop.Cart$$ExternalSyntheticLambda3" => "com.shop.Cart$$ExternalSyntheticLambda";
        "$r8$lambda$" r"\$r8\$lambda\$[\w-]+" => "$$r8$$lambda", "R8, a lambda's method",
            "$r8$lambda$Qm4XzBqXk9Za_1-x" => "$r8$lambda";
        "$$" r"\$\$(EnhancerBy[A-Za-z]+|FastClassBy[A-Za-z]+|KeyFactoryBy[A-Za-z]+|SpringCGLIB|Enhancer)(?:\$\$[\da-f]+)"
            => "$$$$$1", "CGLIB, Spring and Guice, a proxy's class",
            "com.shop.Cart$$EnhancerBySpringCGLIB$$1a2b3c" => "com.shop.Cart$$EnhancerBySpringCGLIB";
        "_$$_" r"_\$\$_(jvst|javassist_seam|javassist)[\da-f_]*" => "_$$$$_$1", "Javassist and Seam, a proxy's class",
            "com.shop.Cart_$$_javassist_seam_3" => "com.shop.Cart_$$_javassist_seam";
        "$$_javassist" r"\$\$_javassist[\da-f_]*" => "$$$$_javassist", "Javassist, a proxy's class",
            "com.shop.Cart$$_javassist_12" => "com.shop.Cart$$_javassist";
        "Accessor" r"\b(Generated(?:Serialization)?(?:Method|Constructor)Accessor)[0-9]+" => "$1",
            "JDK, a reflective call's class",
            "sun.reflect.GeneratedMethodAccessor42" => "sun.reflect.GeneratedMethodAccessor";
        "LambdaForm$" r"(LambdaForm\$[A-Z]+)(?:\d*/[0-9a-fx]+|[0-9]+)" => "$1", "JDK, a method handle's class",
            "java.lang.invoke.LambdaForm$MH/0x0000000800c03000" => "java.lang.invoke.LambdaForm$MH";
        "$Proxy" r"\$Proxy[0-9]+" => "$$Proxy", "JDK, a proxy's class",
            "com.sun.proxy.$Proxy57" => "com.sun.proxy.$Proxy";
        "jdk.proxy" r"\bjdk\.proxy[0-9]+" => "jdk.proxy", "JDK, a proxy's module",
            "jdk.proxy2.$Proxy" => "jdk.proxy.$Proxy";
        "$" r"\$(HibernateProxy|HibernateInstantiator|HibernateAccessOptimizer|ByteBuddy|MockitoMock|auxiliary)\$\w+"
            => "$$$1", "Byte Buddy, Hibernate and Mockito, a class made at run time",
            "com.shop.Cart$HibernateProxy$aBc1DeF2" => "com.shop.Cart$HibernateProxy";
        "$$$view" r"\$\$\$view[0-9]+" => "$$$$$$view", "JBoss, an EJB's view",
            "com.shop.Cart$$$view12" => "com.shop.Cart$$$view";
        "_" r"_[\da-f]{32,64}\b" => "", "Quarkus, a method's hash",
            "Cart$quarkusrestinvoker$pay_da39a3ee5e6b4b0d3255bfef95601890afd80709" => "Cart$quarkusrestinvoker$pay";
        "$lambda-" r"\$lambda-[0-9]+" => "$$lambda$$", "Kotlin before 1.9, a lambda's method",
            "pay$lambda-3" => "pay$lambda$";
        "$eval" r"\$eval[0-9]+" => "$$eval", "Clojure, an evaluated form", "user$eval1234" => "user$eval";
        "__" r"(\$\w+?)__[0-9]{2,}" => "$1", "Clojure, a function without a name",
            "shop.cart$pay$fn__4711" => "shop.cart$pay$fn";
        "$line" r"\$line[0-9]+" => "$$line", "Scala, a line of the REPL", "$line12.$read" => "$line.$read";
        "$" r"\$[0-9]+[A-Z]?\b" => "$$", "javac, kotlinc and scalac: lambdas, anonymous classes, accessors",
            "lambda$pay$3" => "lambda$pay$";
        "$" r"\$[0-9]+([A-Za-z_])" => "$$$1", "javac, a class within a method",
            "com.shop.Cart$1Line" => "com.shop.Cart$Line";
        "_closure" r"_closure[0-9]+" => "_closure", "Groovy, a closure's class",
            "Cart$_pay_closure3" => "Cart$_pay_closure";
        "Script" r"^Script[0-9]+$" => "Script", "Groovy, a script without a name", "Script7" => "Script";
        "script" r"\bscript[0-9]{10,}" => "script", "Groovy, a script without a name",
            "script17322696001234567" => "script";
        "_jspx_meth_" r"(_jspx_meth_\w+?)_(?:005f)?[0-9]+\b" => "$1", "Jasper, a tag of a JSP",
            "_jspx_meth_c_005fif_005f0" => "_jspx_meth_c_005fif";
        "2ecf" r"(2ecf[cm])[0-9]+" => "$1", "ColdFusion, a page's class",
            "cfcart2ecfm1234567890.runPage" => "cfcart2ecfm.runPage";
        "_cf" r"(_cf[cm]\$cf)(?:\$?[\da-z]+)*" => "$1", "Lucee, a page's class", "cart_cfm$cf$1a" => "cart_cfm$cf";
        "_WL" r"_[0-9]+_WL" => "_WL", "WebLogic, a stub's class", "Cart_1036_WLStub" => "Cart_WLStub";
        "mozilla.javascript.gen." r"(gen\.\w+?)_[0-9]+" => "$1", "Rhino, a script's class",
            "org.mozilla.javascript.gen.cart_js_12" => "org.mozilla.javascript.gen.cart_js";
        "_pyx" r"\b_pyx[0-9]+" => "_pyx", "Jython, a module's class",
            "org.python.pycode._pyx12" => "org.python.pycode._pyx";
        "CodegenStage" r"(ForCodegenStage)[0-9]+" => "$1", "Spark, a stage's class",
            "GeneratedIteratorForCodegenStage12" => "GeneratedIteratorForCodegenStage";
        "ASMAccessorImpl_" r"(ASMAccessorImpl)_[0-9]+" => "$1", "MVEL, an accessor's class",
            "ASMAccessorImpl_12345678" => "ASMAccessorImpl";
        "_aroundBody" r"_aroundBody[0-9]+" => "_aroundBody", "AspectJ, advised code",
            "pay_aroundBody0" => "pay_aroundBody";
        "AjcClosure" r"AjcClosure[0-9]+" => "AjcClosure", "AspectJ, advised code",
            "Cart$AjcClosure3" => "Cart$AjcClosure";
        "_" r"\b([A-Za-z]\w*?)_[0-9]{13}_[0-9]+" => "$1", "JasperReports, a report's class",
            "Cart_1732269600123_45678" => "Cart";
    }
    CLR Name {
        "__" r">([a-z])__(?:([A-Za-z]\w*)\|)?[0-9]+(?:_[0-9]+)*"
            => ">${1}__$2", "C#, async methods, iterators, lambdas, local functions",
            "Shop.Cart+<PayAsync>d__12" => "Shop.Cart+<PayAsync>d__";
        "DisplayClass" r"DisplayClass[0-9]+(?:_[0-9]+)*" => "DisplayClass", "C#, what a lambda captures",
            "Shop.Cart+<>c__DisplayClass12_0" => "Shop.Cart+<>c__DisplayClass";
        "AnonymousType" r"(AnonymousType)[0-9]+" => "$1", "C#, an anonymous type",
            "f__AnonymousType3`2" => "f__AnonymousType`2";
        "c__" r"c__(AnonStorey|Iterator|async)[0-9A-F]+" => "c__$1", "Mono's C#, lambdas and iterators",
            "Cart+<Pay>c__Iterator1F" => "Cart+<Pay>c__Iterator";
        ">m__" r">m__[0-9A-F]+" => ">m__", "Mono's C#, a lambda", "Cart.<Pay>m__3F" => "Cart.<Pay>m__";
        "lambda_method" r"\blambda_method[0-9]+" => "lambda_method", ".NET, a compiled expression",
            "lambda_method12" => "lambda_method";
        "Proxy_" r"Proxy_[0-9]+" => "Proxy", "Castle and Moq, a proxy's class",
            "Castle.Proxies.CartProxy_3" => "Castle.Proxies.CartProxy";
        "_" r"_[\dA-F]{40,64}\b" => "", "Entity Framework, a proxy's class",
            "System.Data.Entity.DynamicProxies.Cart_DA39A3EE5E6B4B0D3255BFEF95601890AFD80709DA39A3EE5E6B4B0D3255BFEF"
            => "System.Data.Entity.DynamicProxies.Cart";
        "Regex" r"\bRegex[0-9]+_" => "Regex_", ".NET, a compiled pattern",
            "Regex12_TryMatchAtCurrentPosition" => "Regex_TryMatchAtCurrentPosition";
        "RegexGenerator_g" r">F[\dA-F]{64}__(\w+?)_[0-9]+" => ">F__$1", ".NET, a generated pattern",
            "<RegexGenerator_g>FDA39A3EE5E6B4B0D3255BFEF95601890AFD80709DA39A3EE5E6B4B0D3255BFEF__Regex_0"
            => "<RegexGenerator_g>F__Regex";
        "@" r"@[0-9]+(?:-[0-9]+)*" => "@", "F#, a closure and its line", "Shop.Cart+pay@12-3" => "Shop.Cart+pay@";
        "$__" r"\$__[0-9]+(?:-[0-9]+)?" => "$$__", "Visual Basic, a lambda", "_Lambda$__12-0" => "_Lambda$__";
        "StateMachine_" r"StateMachine_[0-9]+_" => "StateMachine_", "Visual Basic, an async method",
            "VB$StateMachine_12_PayAsync" => "VB$StateMachine_PayAsync";
        "App_Web_" r"\bApp_Web_[\w.]+" => "App_Web", "ASP.NET, a page's assembly", "App_Web_x1y2z3w4" => "App_Web";
        "_" r"\b(Read|Write)[0-9]+_" => "${1}_", ".NET, a serializer of XML", "Read12_Cart" => "Read_Cart";
        "DynamicModule_" r"(__DynamicModule)_[0-9a-f-]{36}" => "$1", "PowerShell, a module without a name",
            "__DynamicModule_9ec79c33-ec99-42ab-8353-589fcb2e04dc" => "__DynamicModule";
    }
    IL2CPP Name {
        "_" r"_[mt](?:[\dA-F]{40}|[0-9]{8,10})(?:_gshared)?(?:_inline)?\b" => "", "Unity's IL2CPP, a method's hash",
            "Cart_Pay_mDA39A3EE5E6B4B0D3255BFEF95601890AFD80709" => "Cart_Pay";
        "U3E" r"(U3E[a-z]__)[0-9_]+" => "$1", "Unity's IL2CPP, an async method",
            "U3CPayU3Ed__12_MoveNext" => "U3CPayU3Ed__MoveNext";
    }
    GO Function {
        ".func" r"\.func[0-9]+(?:[.·][0-9]+)*" => ".func", "Go, a closure", "(*Cart).Pay.func1.2" => "(*Cart).Pay.func";
        "wrap" r"\.(gowrap|deferwrap)[0-9]+" => ".$1", "Go, a deferred or started call",
            "Pay.deferwrap2" => "Pay.deferwrap";
        "·dwrap·" r"·dwrap·[0-9]+" => "", "Go 1.17, a deferred call", "Pay·dwrap·2" => "Pay";
        "-fm" r"-fm$" => "", "Go, a method used as a value", "(*Cart).Pay-fm" => "(*Cart).Pay";
        "-range" r"-range[0-9]+" => "-range", "Go, the body of a range over a function", "Pay-range1" => "Pay-range";
        "init." r"\binit\.[0-9]+" => "init", "Go, one of several init functions", "init.0" => "init";
        "_cgo" r"(_cgo|_cgoexp)_[0-9a-f]{12}_" => "${1}_", "cgo, a wrapper",
            "_cgo_3f2a91bc77aa_Cfunc_pay" => "_cgo_Cfunc_pay";
        "go.shape." r"(go\.shape\.[\w.*]+)_[0-9]+" => "$1", "Go, an instance of a generic",
            "Pay[go.shape.string_0]" => "Pay[go.shape.string]";
    }
    GO Module {
        "plugin/unnamed-" r"plugin/unnamed-[0-9a-f]+" => "plugin/unnamed", "Go, a plugin without a name",
            "plugin/unnamed-da39a3ee5e6b4b0d" => "plugin/unnamed";
    }
    PYTHON Name {
        "unusual_prefix_" r"unusual_prefix_[0-9a-f]{40}_" => "", "Airflow, a DAG's module",
            "unusual_prefix_da39a3ee5e6b4b0d3255bfef95601890afd80709_cart" => "cart";
        "<attrs generated" r"(<attrs generated \w+) [0-9a-f-]+>" => "$1>", "attrs, a method",
            "<attrs generated init 12>" => "<attrs generated init>";
        "torch_dynamo_resume_in_" r"(torch_dynamo_resume_in_\w+?)_at_[0-9]+" => "$1", "PyTorch, the rest of a function",
            "torch_dynamo_resume_in_pay_at_42" => "torch_dynamo_resume_in_pay";
        "__torch_mangle_" r"__torch_mangle_[0-9]+" => "__torch_mangle", "TorchScript, a class",
            "__torch_mangle_12.Cart" => "__torch_mangle.Cart";
        "eval_with_key" r"(eval_with_key>?)[._]?[0-9]+" => "$1", "PyTorch, a graph's module",
            "<eval_with_key>.12" => "<eval_with_key>";
        "autograph_generated_file" r"autograph_generated_file\w{8}"
            => "autograph_generated_file", "TensorFlow, a converted function's module",
            "__autograph_generated_filezx3k9_1a" => "__autograph_generated_file";
        "_" r"_[0-9]{12,}\b" => "", "Chameleon and others, a function named by its address",
            "render_main_140234567890123" => "render_main";
        " at 0x" r" at 0x[0-9a-fA-F]+" => "", "CPython, an object's address",
            "<function pay at 0x7f3a1c2b4d5e>" => "<function pay>";
    }
    CYTHON Function {
        "__pyx_" r"(__pyx_p[wf]_\w*_)[0-9]+([A-Za-z]+)$" => "$1$2", "Cython, a method and its number",
            "__pyx_pw_4shop_4cart_3pay" => "__pyx_pw_4shop_4cart_pay";
    }
    PYTHON File {
        "ipykernel_" r"ipykernel_[0-9]+/[0-9]+\.py" => "ipykernel.py", "Jupyter, a cell",
            "/tmp/ipykernel_4711/1234567890.py" => "/tmp/ipykernel.py";
        "command-" r"\bcommand-[0-9]+(?:-[0-9]+)?" => "command", "Databricks, a cell",
            "/root/command-1234567890" => "/root/command";
        "tmp" r"\btmp\w{8}\.py$" => "tmp.py", "Python, a file without a name", "/tmp/tmpx3k9_1az.py" => "/tmp/tmp.py";
        "unusual_prefix_" r"unusual_prefix_[0-9a-f]{40}_" => "", "Airflow, a DAG's module",
            "unusual_prefix_da39a3ee5e6b4b0d3255bfef95601890afd80709_cart.py" => "cart.py";
        "autograph_generated_file" r"autograph_generated_file\w{8}"
            => "autograph_generated_file", "TensorFlow, a converted function's module",
            "/tmp/__autograph_generated_filezx3k9_1a.py" => "/tmp/__autograph_generated_file.py";
    }
    RUBY Name {
        " in " r"^(?:(?:block|rescue|ensure)(?: \(\d+ levels\))? in )+" => "", "Ruby, a block",
            "block (2 levels) in pay" => "pay";
        "__" r"(_\w+?)_{2,3}[0-9]{5,}_[0-9]+" => "$1", "Rails, a view's method",
            "_app_views_carts_show_html_erb___3081743026914012345_70216843951" => "_app_views_carts_show_html_erb";
        ":0x" r"(#<[\w:]+?):0x[0-9a-f]+" => "$1", "Ruby, a class without a name",
            "#<Class:0x00007f3a1c2b4d5e>#pay" => "#<Class>#pay";
        "_run__" r"_run_{2,3}[0-9]+__(\w+?)__(?:[0-9]+__)?callbacks"
            => "_run__${1}__callbacks", "Rails before 4.1, callbacks",
            "_run__3081743026914012345__process_action__callbacks" => "_run__process_action__callbacks";
        "callback_" r"(_callback_(?:before|after|around))_[0-9]+" => "$1", "Rails before 4.1, a callback",
            "_callback_before_17" => "_callback_before";
        "__tilt_" r"__tilt_[0-9]+" => "__tilt", "Tilt, a template's method", "__tilt_70216843951" => "__tilt";
        "__" r"\b__(bind|instance_exec)_[0-9]+_[0-9]+" => "__$1", "Rails and Sinatra, a block as a method",
            "__bind_1322490000_123456" => "__bind";
    }
    RUBY File {
        "(eval" r"^\(eval(?: at .*)?\)(?::\d+)?$" => "(eval)", "Ruby, evaluated code",
            "(eval at /srv/app/cart.rb:12)" => "(eval)";
    }
    PHP Name {
        "@anonymous" r"(?s)@anonymous(?:.*?\$[\da-f]+|.*?(::)|.*)" => "@anonymous$1", "PHP, a class without a name",
            "class@anonymous/srv/a.php:12$0::pay" => "class@anonymous::pay";
        "{closure:" r":[0-9]+\}" => "}", "PHP 8.4, a closure and its line",
            r"{closure:App\Cart::pay():12}" => r"{closure:App\Cart::pay()}";
        "{closure:" r"\{closure:[^{}]*[/\\]([^/\\{}:]+\.php)\}" => "{closure:$1}", "PHP 8.4, a closure of a file",
            "{closure:/srv/releases/7/cart.php}" => "{closure:cart.php}";
        "__TwigTemplate_" r"__TwigTemplate_[\da-f]+" => "__TwigTemplate", "Twig, a template's class",
            "__TwigTemplate_d41d8cd98f00b204e9800998ecf8427e::doDisplay" => "__TwigTemplate::doDisplay";
        "content_" r"\bcontent_[0-9a-f]{13,14}_[0-9]{8}" => "content", "Smarty, a template's function",
            "content_5f3a91bc77aa1_12345678" => "content";
        "Container" r"\bContainer\w{7}\\(\w*Kernel\w*|get\w+Service|\w+(?:Ghost|Proxy)\w*)"
            => r"Container\$1", "Symfony, a compiled container",
            r"ContainerQm4XzBq\App_KernelProdContainer" => r"Container\App_KernelProdContainer";
        "Ghost" r"\b(\w+Ghost)[\da-f]{7}\b" => "$1", "Symfony, a lazy service", "CartGhost3f2a91b" => "CartGhost";
        "Proxy" r"\b(\w+Proxy)[\da-f]{7}\b" => "$1", "Symfony, a lazy service", "CartProxy3f2a91b" => "CartProxy";
        "Generated" r"Generated[\da-f]{32}" => "Generated", "ProxyManager, a proxy's class",
            r"__PM__\App\Cart\Generatedd41d8cd98f00b204e9800998ecf8427e"
            => r"__PM__\App\Cart\Generated";
        "_" r"\b(Mock|MockObject|TestStub)_(\w+?)_[\da-f]{8}\b" => "${1}_$2", "PHPUnit, a double",
            "Mock_Cart_3f2a91bc" => "Mock_Cart";
        "Template" r"\bTemplate_?[\da-f]{10}\b" => "Template", "Latte, a template's class",
            "Template3f2a91bc77" => "Template";
    }
    PHP File {
        ") : " r"\([0-9]+\) : " => " : ", "PHP, evaluated code",
            "/srv/cart.php(12) : eval()'d code" => "/srv/cart.php : eval()'d code";
        ".php" r"(?:^|.*[/\\])[\da-f]{32,64}\.php$" => "compiled.php", "Blade and Twig, a template",
            "/views/d41d8cd98f00b204e9800998ecf8427e.php" => "compiled.php";
        ".tpl" r"[\da-f]{40}_[0-9]+\.file\." => "", "Smarty, a template",
            "/c/da39a3ee5e6b4b0d3255bfef95601890afd80709_0.file.cart.tpl.php" => "/c/cart.tpl.php";
        "closure://" r"(?s)^(?:laravel-serializable-)?closure://.*" => "closure", "Laravel, a closure that was stored",
            "laravel-serializable-closure://function () {}" => "closure";
    }
    JS Function {
        " [as " r" \[as [^\]]*\]" => "", "V8, the name that it was called by", "Cart.pay [as handler]" => "Cart.pay";
        "async" r"^(?:async\*|async )+" => "", "V8 and Firefox, an async function", "async Cart.pay" => "Cart.pay";
        "new " r"^new " => "", "V8, a constructor", "new Cart" => "Cart";
        "<" r"^[^/]*<(?:/[^/]*<)*$" => "", "Firefox, a function without a name", "</<" => "";
        "<" r"(?:/[^/]*<)+$" => "", "Firefox, a function without a name within another", "pay/this.total</<" => "pay";
        "./" r"^(?:Module|Object)\.(\.{1,2}/.*)$" => "$1", "webpack, a module",
            "Module../src/cart.js" => "./src/cart.js";
        "" r"^(?:[A-Za-z_$]+\.)?[0-9]+$" => "", "webpack, a module by its number", "Object.4711" => "";
        "<computed>" r"^.*<computed>$" => "", "V8, a computed name", "Object.<computed>" => "";
        "_0x" r"_0x[\da-f]{4,}" => "", "javascript-obfuscator", "_0x3f2a91" => "";
        "_Template" r"_[0-9]+_" => "_", "Angular, a part of a template",
            "CartComponent_div_3_Template" => "CartComponent_div_Template";
        "_listener" r"_[0-9]+_" => "_", "Angular, a listener of a template",
            "CartComponent_button_click_7_listener" => "CartComponent_button_click_listener";
        "_" r"\b(_callee|_loop|_temp|_iterator)[0-9]+" => "$1", "Babel, parts of a function", "_callee3$" => "_callee$";
        "_sfc_" r"(_sfc_(?:render|setup|main|ssrRender))\$?[0-9]+" => "$1", "Vue, a component's function",
            "_sfc_render$12" => "_sfc_render";
        "create_" r"\b(create_\w+?_(?:block|slot))(?:_[0-9]+)+" => "$1", "Svelte, a part of a component",
            "create_if_block_3" => "create_if_block";
        "wasm-function[" r"wasm-function\[[0-9]+\]" => "wasm-function", "V8, a function of a WebAssembly module",
            "wasm-function[123]" => "wasm-function";
        "?anon_" r"\?anon_[0-9]+_" => "", "Hermes, a function without a name", "?anon_0_pay" => "pay";
        "_k$" r"_[0-9a-z]{5,7}_k\$" => "", "Kotlin/JS, a method", "pay_8yzx3k_k$" => "pay";
        "closure" r"(_closure)[0-9]+" => "$1", "dart2js, a closure", "main__closure3" => "main__closure";
        "$" r"\$[0-9]+$" => "", "Rollup, a name that was there already", "pay$1" => "pay";
    }
    JS File {
        "wasm://" r"^wasm://.*" => "wasm", "V8, a WebAssembly module", "wasm://wasm/00a1b2c3" => "wasm";
        ".dart.js_" r"\.dart\.js_[0-9]+\.part" => ".dart.js_.part", "dart2js, a part that is loaded later",
            "/main.dart.js_12.part.js" => "/main.dart.js_.part.js";
    }
    SWIFT Function {
        "resume partial function for " r"^\([0-9]+\) (?:await|suspend) resume partial function for "
            => "", "Swift, the rest of an async function",
            "(2) await resume partial function for Cart.pay()" => "Cart.pay()";
        " " r"^(?:(?:merged|specialized|partial apply(?: forwarder)? for) )+" => "", "Swift, a variant of a function",
            "partial apply for closure in Cart.pay()" => "closure in Cart.pay()";
        "closure #" r"closure #[0-9]+.*? in " => "closure in ", "Swift, a closure",
            "closure #3 (Int) in Cart.pay()" => "closure in Cart.pay()";
        " in _" r"\((\w+) in _[\dA-F]{32}\)" => "$1", "Swift, what is private to a file",
            "(Cart in _D41D8CD98F00B204E9800998ECF8427E).pay()" => "Cart.pay()";
        " #" r" #[0-9]+" => "", "Swift, a function within another",
            "total #1 () in Cart.pay()" => "total () in Cart.pay()";
        "_block_invoke" r"_block_invoke(?:[_.]\d+)*" => "_block_invoke", "Clang, a block",
            "-[Cart pay]_block_invoke_2" => "-[Cart pay]_block_invoke";
        "[" r"^__[0-9]+([-+]\[)" => "$1", "Clang, a block of a method",
            "__11-[Cart pay]_block_invoke" => "-[Cart pay]_block_invoke";
        "NSKVONotifying_" r"NSKVONotifying_" => "", "Foundation, an observed class",
            "-[NSKVONotifying_Cart pay]" => "-[Cart pay]";
    }
    RUST Function {
        "$LT$" r"_?\$LT\$" => "<", "rustc, escapes of the old mangling", "_$LT$Cart$GT$" => "<Cart$GT$";
        "$GT$" r"\$GT\$" => ">", "rustc, escapes of the old mangling", "<Cart$GT$" => "<Cart>";
        "$u20$" r"\$u20\$" => " ", "rustc, escapes of the old mangling", "<A$u20$as$u20$B>" => "<A as B>";
        "$u7b$" r"\$u7b\$" => "{", "rustc, escapes of the old mangling", "$u7b$$u7b$closure" => "{{closure";
        "$u7d$" r"\$u7d\$" => "}", "rustc, escapes of the old mangling", "closure$u7d$$u7d$" => "closure}}";
        "$RF$" r"\$RF\$" => "&", "rustc, escapes of the old mangling", "<$RF$A>" => "<&A>";
        ".." r"\.\." => "::", "rustc, escapes of the old mangling", "<shop..Cart>" => "<shop::Cart>";
        "::h" r"::h[\da-f]{16}\b" => "", "rustc, a build's hash",
            "shop::cart::pay::h0123456789abcdef" => "shop::cart::pay";
        "17h" r"17h[\da-f]{16}E" => "E", "rustc, a build's hash", "_ZN4shop3pay17h0123456789abcdefE" => "_ZN4shop3payE";
        "[" r"(\w)\[[\da-f]{8,16}\]" => "$1", "rustc, a crate's hash", "shop[3f2a91bc77aa1122]::pay" => "shop::pay";
        "#" r"\{+(closure|impl|constant|coroutine|async_block|async_fn|async_closure|promoted|extern)(?:_env)?#[0-9]+\}+"
            => "{{$1}}",
            "rustc, closures and impls", "shop::pay::{closure#3}" => "shop::pay::{{closure}}";
        "$" r"\b(closure|impl|async_block|async_fn|coroutine)(?:_env)?\$[0-9]+"
            => "{{$1}}", "rustc for MSVC, closures and impls",
            "shop::pay::closure$0" => "shop::pay::{{closure}}";
    }
    NATIVE Function {
        "?A0x" r"\?A0x[0-9a-f]+" => "?A", "MSVC, a namespace without a name", "?A0xc3a0617d::pay" => "?A::pay";
        "lambda" r"<lambda_[\da-f]+>" => "{lambda}", "MSVC, a lambda",
            "<lambda_d41d8cd98f00b204e9800998ecf8427e>::operator()" => "{lambda}::operator()";
        "#" r"\{(lambda|unnamed type|default arg)[^{}]*#[0-9]+\}" => "{$1}", "GCC, a lambda",
            "pay()::{lambda(int)#2}" => "pay()::{lambda}";
        "'lambda" r"'lambda\d*'(?:\([^()]*\))?" => "{lambda}", "Clang, a lambda",
            "pay()::'lambda0'(int)" => "pay()::{lambda}";
        "$_" r"\$_[0-9]+" => "{lambda}", "Clang, a lambda", "pay()::$_3::operator()" => "pay()::{lambda}::operator()";
        "`" r"`[0-9]+'::" => "", "MSVC, a block within a function", "pay::`2'::total" => "pay::total";
        "$" r"\$(?:catch|fin|filt|dtor)\$[0-9]+" => "", "MSVC, a handler within a function", "pay$catch$0" => "pay";
        " [clone" r" \[clone [^\]]*\]" => "", "GCC, a variant of a function", "pay() [clone .isra.0]" => "pay()";
        "." r"\.(?:cold|isra|part|constprop|lto_priv|llvm|resume|destroy|cleanup|warm|hot|localalias)(?:\.\d+)*" => "",
            "GCC and LLVM, a variant of a function", "pay.part.3.cold" => "pay";
        "." r"\.[0-9]+$" => "", "LLVM, a name that was there already",
            "__cxx_global_var_init.12" => "__cxx_global_var_init";
        "_" r"^(?:sub|fun|FUN|loc|unk|fcn|j_sub)_[0-9A-Fa-f]{4,}$" => "", "disassemblers, a function by its address",
            "sub_7ff61234" => "";
        "___lldb_unnamed_symbol" r"___lldb_unnamed_symbol.*" => "", "LLDB, a function without a name",
            "___lldb_unnamed_symbol12$$libshop.so" => "";
        " + " r" \+ (?:0x)?[0-9][\da-fA-F]*$" => "", "a place within a function", "pay + 124" => "pay";
        "$" r"\$[0-9]+$" => "$$", "Kotlin/Native, a lambda",
            "kfun:shop.Cart.$pay$lambda$3" => "kfun:shop.Cart.$pay$lambda$";
    }
    ELIXIR Function {
        "-" r"-([\w!?]+/[0-9]+)-(fun|anonymous|lbc|blc|lc|mc|after|inlined)[\w$^/-]*"
            => "$1-$2", "Erlang, a function without a name",
            "-pay/2-fun-0-" => "pay/2-fun";
    }
    PERL Name {
        "(eval " r"\(eval [0-9]+\)" => "(eval)", "Perl, evaluated code", "(eval 12)" => "(eval)";
        "__ANON__[" r"__ANON__\[[^\]]*\]" => "__ANON__", "Perl, a sub without a name",
            "Shop::Cart::__ANON__[/srv/cart.pl:12]" => "Shop::Cart::__ANON__";
        "::" r"(SERIAL|__ANON__)::[0-9]+" => "$1", "Moose, a class without a name",
            "Moose::Meta::Class::__ANON__::SERIAL::12" => "Moose::Meta::Class::__ANON__::SERIAL";
        "Sandbox" r"Sandbox(?:::|_)[0-9a-f]+" => "Sandbox", "Mojolicious and Eval::Closure, a template's package",
            "Mojo::Template::Sandbox::d41d8cd98f00b204e9800998ecf8427e" => "Mojo::Template::Sandbox";
    }
    PERL File {
        "(eval " r"\(eval [0-9]+\)(?:\[.*\])?" => "(eval)", "Perl, evaluated code",
            "(eval 12)[/srv/cart.pl:3]" => "(eval)";
    }
    LUA Function {
        "<" r"<(?:[^<>]*/)?([^<>/:]*):[0-9]+>" => "<$1>", "Lua, a function by its line",
            "<srv/cart.lua:12>" => "<cart.lua>";
        "line " r"\b(at|on) line [0-9]+" => "$1 line", "Lua, a function by its line",
            "anonymous at line 12" => "anonymous at line";
    }
    DART Name {
        "@" r"@[0-9]{5,}" => "", "Dart, what is private to a library",
            "_CartState@123456789._pay@123456789" => "_CartState._pay";
        "closure" r"<anonymous closure[^>]+>" => "<anonymous closure>", "Dart, a closure",
            "pay.<anonymous closure @1234>" => "pay.<anonymous closure>";
    }
    HASKELL Function {
        "_" r"_[rs][\da-z]{0,3}[A-Z][\dA-Za-z]{0,3}(?:_info)?$" => "", "GHC, a local name", "pay_s3xY_info" => "pay";
    }
    AS3 Function {
        "MethodInfo-" r"MethodInfo-[0-9]+" => "MethodInfo", "Flash, a function without a name",
            "MethodInfo-123()" => "MethodInfo()";
    }
    ALL Function {
        "0x" r"\+?\b0x[0-9a-fA-F]+" => "", "an address", "pay 0x7fff1234" => "pay ";
    }
    ALL File {
        "-" r"[\da-fA-F]{8}-[\da-fA-F]{4}-[\da-fA-F]{4}-[\da-fA-F]{4}-[\da-fA-F]{12}" => "", "a UUID",
            "/tmp/9ec79c33-ec99-42ab-8353-589fcb2e04dc.ps1" => "/tmp/.ps1";
    }
};
