//! Label and field selectors.

use serde_json::Value;

/// Whether an object has what both selectors want.
pub(crate) fn matches(object: &Value, labels: Option<&str>, fields: Option<&str>) -> bool {
    let by_label = |key: &str| object["metadata"]["labels"][key].as_str().map(str::to_owned);
    let by_field = |key: &str| {
        let found = key.split('.').fold(object, |value, word| &value[word]);
        Some(found.as_str().unwrap_or_default().to_owned())
    };
    requirements(labels.unwrap_or_default()).iter().all(|wanted| is_met(wanted, by_label))
        && requirements(fields.unwrap_or_default()).iter().all(|wanted| is_met(wanted, by_field))
}

/// Splits at commas that are not in parentheses.
fn requirements(selector: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let words = selector.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    words.map(str::trim).filter(|word| !word.is_empty()).collect()
}

fn is_met(wanted: &str, value: impl Fn(&str) -> Option<String>) -> bool {
    let set = |values: &str| values.trim().trim_matches(['(', ')']).split(',').map(|v| v.trim().to_owned()).collect();
    if let Some((key, values)) = wanted.split_once(" notin ") {
        let values: Vec<String> = set(values);
        return value(key.trim()).is_none_or(|found| !values.contains(&found));
    }
    if let Some((key, values)) = wanted.split_once(" in ") {
        let values: Vec<String> = set(values);
        return value(key.trim()).is_some_and(|found| values.contains(&found));
    }
    if let Some((key, other)) = wanted.split_once("!=") {
        return value(key.trim()).as_deref() != Some(other.trim());
    }
    if let Some((key, same)) = wanted.split_once('=') {
        return value(key.trim()).as_deref() == Some(same.trim_start_matches('=').trim());
    }
    match wanted.strip_prefix('!') {
        Some(key) => value(key.trim()).is_none(),
        None => value(wanted).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_wants_all_of_its_requirements() {
        let pod =
            json!({"metadata": {"name": "a", "labels": {"user": "jessie", "app": "x"}}, "spec": {"nodeName": "n"}});
        let cases = [
            ("user=jessie,app==x", true),
            ("user=jessie,app=y", false),
            ("user!=zac", true),
            ("user in (zac, jessie),app", true),
            ("user notin (zac,jessie)", false),
            ("!other", true),
            ("other", false),
            ("", true),
        ];
        for (labels, expected) in cases {
            assert_eq!(matches(&pod, Some(labels), None), expected, "{labels}");
        }
        assert!(matches(&pod, None, Some("metadata.name=a,spec.nodeName=n")));
        assert!(!matches(&pod, None, Some("spec.nodeName!=n")));
    }
}
