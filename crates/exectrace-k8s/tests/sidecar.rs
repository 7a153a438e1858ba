//! What the chart's tests and the Coder template take for the webhook's container is the webhook's container.
#![cfg(feature = "cluster")]

use std::fs;
use std::path::Path;

use exectrace_k8s::settings::Settings;
use exectrace_k8s::sidecar;
use serde_json::{Value, json};

#[test]
fn the_chart_s_tests_know_the_container_of_the_webhook() {
    let text = include_str!("../../../tests/charts/sidecar.yaml");
    let mut wanted: Value = serde_saphyr::from_str(text).expect("YAML");
    let settings = Settings { image: "example.com/exectrace:0.1.0".to_owned(), ..Settings::default() };
    let mut ours = json!({ "container": sidecar::container(&settings, false), "volumes": sidecar::volumes(&settings) });
    strip(&mut wanted);
    strip(&mut ours);
    assert_eq!(ours, wanted);
}

/// Takes away what the API server fills in anyway.
fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("terminationMessagePath");
            if map.contains_key("fieldPath") {
                map.remove("apiVersion");
            }
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

#[test]
fn the_settings_that_the_chart_writes_are_settings() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/charts/golden");
    let mut found = 0;
    for entry in fs::read_dir(golden).expect("the chart's golden files") {
        let text = fs::read_to_string(entry.expect("a file").path()).expect("text");
        for document in text.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document).expect("YAML");
            if let Some(settings) = object["data"]["settings.yaml"].as_str() {
                Settings::parse(settings).expect("settings");
                found += 1;
            }
        }
    }
    assert!(found >= 5, "each golden file has some: {found}");
}
