//! Secrets by their own shape, or by what stands right before them, wherever in an argument they are.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::bytes::{Regex, RegexBuilder};

use crate::Span;
use crate::programs::FLAGS;

/// A shape: the group `secret` is the secret, or all of it. Looked for only where one of its needles is.
struct Shape {
    needles: &'static [&'static str],
    pattern: &'static str,
}

const fn shape(needles: &'static [&'static str], pattern: &'static str) -> Shape {
    Shape { needles, pattern }
}

/// Tokens that their issuers give a beginning to know them by, so that they can be found; and what stands behind words that
/// announce a secret.
const SHAPES: &[Shape] = &[
    // GitHub: docs.github.com, "GitHub's token formats".
    shape(
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{22,255})",
    ),
    // GitLab: docs.gitlab.com, "Token overview".
    shape(
        &["glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-"],
        r"\bgl(?:pat|dt|rt|rtr|cbt|ptt|ft|imt|agent|oas|soat)-[A-Za-z0-9_.\-]{16,}",
    ),
    shape(
        &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe", "xapp-"],
        r"\b(?:xox[abeprs](?:\.xox[bp])?|xapp)-[A-Za-z0-9\-]{10,}",
    ),
    shape(&["hooks.slack.com"], r"hooks\.slack\.com/(?:services|workflows)/(?P<secret>[A-Za-z0-9/_]{20,})"),
    // AWS: "Unique identifiers" of IAM.
    shape(&["akia", "asia"], r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    shape(&["aiza"], r"\bAIza[A-Za-z0-9_\-]{35}"),
    shape(&["ya29."], r"\bya29\.[A-Za-z0-9_\-]{20,}"),
    shape(&["gocspx-"], r"\bGOCSPX-[A-Za-z0-9_\-]{20,}"),
    shape(
        &["sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"],
        r"\b(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}",
    ),
    shape(&["sk-"], r"\bsk-(?:ant-|proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_\-]{20,}"),
    shape(&["npm_"], r"\bnpm_[A-Za-z0-9]{36}"),
    shape(&["pypi-"], r"\bpypi-[A-Za-z0-9_\-]{50,}"),
    shape(&["dckr_pat_", "dckr_oat_"], r"\bdckr_[po]at_[A-Za-z0-9_\-]{20,}"),
    shape(&["hvs.", "hvb.", "hvr."], r"\bhv[sbr]\.[A-Za-z0-9_\-]{20,}"),
    shape(&["dop_v1_", "doo_v1_", "dor_v1_"], r"\bdo[opr]_v1_[a-f0-9]{40,}"),
    shape(&["sg."], r"\bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}"),
    shape(&["hf_"], r"\bhf_[A-Za-z0-9]{30,}"),
    shape(&["age-secret-key-1"], r"\bAGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    shape(&["shpat_", "shpss_", "shpca_", "shppa_"], r"\bshp(?:at|ss|ca|pa)_[a-fA-F0-9]{32}"),
    shape(&["lin_api_"], r"\blin_api_[A-Za-z0-9]{32,}"),
    shape(&["dapi"], r"\bdapi[a-f0-9]{32}\b"),
    shape(&["pul-"], r"\bpul-[a-f0-9]{40}\b"),
    shape(&["glsa_", "glc_"], r"\bgl(?:sa|c)_[A-Za-z0-9_+/=\-]{20,}"),
    shape(&["nrak-"], r"\bNRAK-[A-Z0-9]{20,}"),
    shape(&["tskey-"], r"\btskey-[a-z]+-[A-Za-z0-9\-]{10,}"),
    shape(&["atlasv1."], r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-]{60,}"),
    shape(&["eyj"], r"\beyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"),
    shape(
        &["-----begin"],
        r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?P<secret>.*?)(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    // Headers, with the scheme left to read.
    shape(
        &["authorization"],
        r#"(?i)\b(?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:(?:bearer|basic|token|digest|negotiate|apikey|aws4-hmac-sha256|bot|key)\s+)?(?P<secret>[^\s"'][^"'\r\n]*)"#,
    ),
    shape(
        &["cookie", "-key:", "-token:", "token:", "-auth:", "-secret:"],
        r#"(?i)(?:^|["'\s=])(?:x-)?(?:[a-z0-9-]*(?:api-?key|token|secret|auth)|set-cookie|cookie)\s*:\s*(?P<secret>[^\s"'{\[:][^"'\r\n]*)"#,
    ),
    shape(&["bearer "], r"(?i)\bbearer\s+(?P<secret>[A-Za-z0-9_.~+/=\-]{8,})"),
    // The password of a URL, or a token instead of user and password.
    shape(&["://"], r#"[A-Za-z][A-Za-z0-9+.\-]*://[^\s/:@"'?#]*:(?P<secret>[^\s/@"'?#][^\s/@"']*)@"#),
    shape(&["://"], r#"https?://(?P<secret>[A-Za-z0-9_.\-]{24,})@"#),
    shape(
        &["token=", "key=", "secret=", "password=", "passwd=", "sig=", "signature=", "credential=", "code=", "auth="],
        r#"(?i)[?&](?:[a-z0-9_.\-]*(?:token|api[-_]?key|secret|password|passwd)|key|sig|auth|x-amz-signature|x-amz-credential|x-amz-security-token|x-goog-signature|signature)=(?P<secret>[^&\s"'#]+)"#,
    ),
    // Members of JSON and YAML, settings of connection strings.
    shape(
        &["pass", "secret", "token", "key", "pwd", "credential"],
        r#"(?i)\\?["'](?:[a-z0-9_.\-]*(?:passw(?:or)?d|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|client[-_]?secret)|pass|pwd)\\?["']\s*:\s*\\?["'](?P<secret>[^"'\\]+)"#,
    ),
    shape(
        &["password=", "pwd=", "accountkey=", "sharedaccesskey=", "passwd="],
        r#"(?i)(?:(?:^|[;,\s"'])(?:password|passwd|accountkey|sharedaccesskey)|;\s*pwd)=(?P<secret>[^;,\s"'&]+)"#,
    ),
    // What a shell or a program sets within a longer text: NAME_SECRET=X, key.password=X.
    shape(
        &["pass", "secret", "token", "key", "credential"],
        r#"(?x) (?:^|[\s;,"'{(&|:]|--?[A-Za-z]) [A-Za-z0-9_.\-]*
        (?: (?i:passw(?:or)?d|passphrase) | (?i:[_.\-](?:secret|token|api_?key|access_?key|secret_?key|private_?key|auth_?key)) )
        = ["']? (?P<secret> [^\s"';&|,)}]+ )"#,
    ),
];

/// Words that only make the words worth looking at.
const ANNOUNCING: &[&str] = &[
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "auth",
    "cookie",
    "credential",
    "creds",
    "bearer",
    "login",
    "unseal",
    "unlock",
    "connection",
    "webhook",
];

pub(crate) struct Text {
    needles: AhoCorasick,
    /// By the number of a needle: shapes to look for.
    by_needle: Vec<Vec<usize>>,
    shapes: Vec<Regex>,
    /// The user's, looked for everywhere.
    patterns: Vec<Regex>,
    allowed: Vec<Regex>,
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Text").field("shapes", &self.shapes.len()).field("patterns", &self.patterns).finish()
    }
}

impl Text {
    pub(crate) fn new(builtin: bool, patterns: Vec<Regex>, allowed: Vec<Regex>) -> Text {
        let shapes = if builtin { SHAPES } else { &[] };
        let mut needles: Vec<&str> = Vec::new();
        let mut by_needle: Vec<Vec<usize>> = Vec::new();
        let mut add = |needle: &'static str, shape: Option<usize>| {
            let at = needles.iter().position(|one| *one == needle).unwrap_or_else(|| {
                needles.push(needle);
                by_needle.push(Vec::new());
                needles.len() - 1
            });
            by_needle[at].extend(shape);
        };
        for (at, shape) in shapes.iter().enumerate() {
            shape.needles.iter().for_each(|needle| add(needle, Some(at)));
        }
        if builtin {
            ANNOUNCING.iter().for_each(|needle| add(needle, None));
            // A program whose flags are short says nothing else of them.
            FLAGS.iter().flat_map(|flag| flag.programs).for_each(|program| add(program, None));
        }
        let needles = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&needles)
            .expect("a few hundred short words");
        let compile = |pattern: &str| {
            // Bytes that are no text can be anywhere.
            RegexBuilder::new(pattern).unicode(false).build().expect("a pattern of ours; a test makes it")
        };
        let shapes = shapes.iter().map(|shape| compile(shape.pattern)).collect();
        Text { needles, by_needle, shapes, patterns, allowed }
    }

    /// Adds what looks like a secret; returns whether there is anything that the words should be looked at for.
    pub(crate) fn find(&self, argv: &[&[u8]], spans: &mut Vec<Span>) -> bool {
        let mut hits = false;
        for (arg, text) in argv.iter().enumerate() {
            let mut wanted = 0_u64;
            for found in self.needles.find_overlapping_iter(*text) {
                hits = true;
                self.by_needle[found.pattern().as_usize()].iter().for_each(|shape| wanted |= 1 << shape);
            }
            let shapes = self.shapes.iter().enumerate().filter(|(at, _)| wanted & (1 << at) != 0);
            for (_, shape) in shapes {
                find_all(shape, arg, text, spans);
            }
            self.patterns.iter().for_each(|pattern| find_all(pattern, arg, text, spans));
        }
        hits
    }

    /// Whether the user says that this is no secret.
    pub(crate) fn allows(&self, secret: &[u8]) -> bool {
        self.allowed.iter().any(|pattern| pattern.is_match(secret))
    }
}

fn find_all(shape: &Regex, arg: usize, text: &[u8], spans: &mut Vec<Span>) {
    for found in shape.captures_iter(text) {
        if let Some(secret) = found.name("secret").or_else(|| found.get(0)) {
            spans.push(Span { arg, start: secret.start(), end: secret.end() });
        }
    }
}

const _: () = assert!(SHAPES.len() <= 64, "shapes are bits of a number");
