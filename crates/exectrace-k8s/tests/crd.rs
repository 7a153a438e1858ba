//! The definition of `ProcessLogging` that the chart installs is the one that the program has.

#![cfg(feature = "cluster")]

use std::path::Path;

use exectrace_k8s::api::ProcessLogging;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

const FILE: &str = "../../charts/exectrace/crds/processlogging.yaml";
const HEADER: &str = "# Made from crates/exectrace-k8s/src/api.rs:\n\
                      # EXECTRACE_UPDATE_GOLDENS=1 cargo test -p exectrace-k8s --test crd\n---\n";

#[test]
fn the_chart_has_the_definition_that_the_program_has() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let ours = ProcessLogging::crd();
    if std::env::var_os("EXECTRACE_UPDATE_GOLDENS").is_some() {
        let yaml = serde_saphyr::to_string(&ours).expect("YAML");
        std::fs::write(&file, format!("{HEADER}{}\n", yaml.trim_end())).expect("to write the chart's definition");
    }
    let text = std::fs::read_to_string(&file).expect("the chart's definition");
    let charts: CustomResourceDefinition = serde_saphyr::from_str(&text).expect("a definition");
    let json = |definition: &CustomResourceDefinition| serde_json::to_string_pretty(definition).expect("JSON");
    assert_eq!(json(&charts), json(&ours), "run it with EXECTRACE_UPDATE_GOLDENS=1");
}
