//! What a request is about: path and query -> resource, name and options.

use std::collections::BTreeMap;

use serde_json::Value;

/// A request that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// `GET` and so on.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, decoded.
    pub query: BTreeMap<String, String>,
    /// The body as JSON; null where there is none.
    pub body: Value,
}

/// `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE`, of which most may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    /// Empty: all of them, or a resource of the whole cluster.
    pub(crate) namespace: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    pub(crate) fn parse(path: &str) -> Option<Target> {
        let words: Vec<String> = path.split('/').filter(|word| !word.is_empty()).map(decode).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (group, version, rest) = match words.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && *rest != ["status"] => (*namespace, rest),
            _ => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (plural, None, None),
            [plural, name] => (plural, Some(name), None),
            [plural, name, subresource] => (plural, Some(name), Some(subresource)),
            _ => return None,
        };
        Some(Target {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: (*plural).to_owned(),
            namespace: namespace.to_owned(),
            name: name.map(|word| (*word).to_owned()),
            subresource: subresource.map(|word| (*word).to_owned()),
        })
    }
}

pub(crate) fn parse_query(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

/// Percent signs and, as in forms, `+` for a space.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let next = match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let hex = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&hex, 16).unwrap_or(b'?')
            }
            other => other,
        };
        bytes.push(next);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_resource() {
        let target = Target::parse("/api/v1/namespaces/a/pods/b/log").expect("a target");
        assert_eq!((target.namespace.as_str(), target.plural.as_str()), ("a", "pods"));
        assert_eq!((target.name.as_deref(), target.subresource.as_deref()), (Some("b"), Some("log")));
        let target = Target::parse("/api/v1/namespaces/a").expect("a target");
        assert_eq!((target.plural.as_str(), target.name.as_deref()), ("namespaces", Some("a")));
        let target = Target::parse("/apis/exectrace.dev/v1alpha1/processloggings/default/status").expect("a target");
        assert_eq!((target.group.as_str(), target.subresource.as_deref()), ("exectrace.dev", Some("status")));
        assert_eq!(Target::parse("/healthz"), None);
    }

    #[test]
    fn a_query_is_decoded() {
        let query = parse_query("labelSelector=a%3Db%2Cc%3Dd&watch=true&x=1+2");
        assert_eq!(query["labelSelector"], "a=b,c=d");
        assert_eq!(query["x"], "1 2");
    }
}
