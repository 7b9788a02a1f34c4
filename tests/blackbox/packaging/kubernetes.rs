//! The manifests for Kubernetes: valid by the API's schema, with settings that rcorn takes and
//! times that fit together.

use std::fs;

use serde::Deserialize as _;
use serde_json::Value;

use crate::support::{Once, Place, Server, Wire};

/// The documents of `packaging/kubernetes`.
fn manifests() -> Vec<Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/kubernetes/rcorn.yaml"
    );
    let text = fs::read_to_string(path).unwrap();
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubernetes/schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// What is wrong with a manifest.
fn complaints(schema: &Value, manifest: &Value) -> Vec<String> {
    let kind = format!(
        "{} {}",
        manifest["apiVersion"].as_str().unwrap(),
        manifest["kind"].as_str().unwrap()
    );
    let name = schema["kinds"][&kind].as_str();
    let name = name.unwrap_or_else(|| panic!("no schema for {kind}"));
    let mut wrong = Vec::new();
    check(
        &schema["$defs"],
        &schema["$defs"][name],
        manifest,
        &kind,
        &mut wrong,
    );
    wrong
}

/// The part of JSON Schema that the schema of Kubernetes uses; anything else panics.
fn check(all: &Value, schema: &Value, value: &Value, place: &str, wrong: &mut Vec<String>) {
    for (keyword, says) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$ref" => {
                let name = says.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                let named = all.get(name).unwrap_or_else(|| panic!("no {name}"));
                check(all, named, value, place, wrong);
            }
            "type" if !has_type(says, value) => wrong.push(format!("{place}: no {says}: {value}")),
            "enum" if !says.as_array().unwrap().contains(value) => {
                wrong.push(format!("{place}: none of {says}: {value}"));
            }
            "required" => {
                for name in says.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        wrong.push(format!("{place}: {name} is missing"));
                    }
                }
            }
            "oneOf" => {
                let fits = says.as_array().unwrap().iter().filter(|one| {
                    let mut here = Vec::new();
                    check(all, one, value, place, &mut here);
                    here.is_empty()
                });
                if fits.count() != 1 {
                    wrong.push(format!("{place}: not one of {says}: {value}"));
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(all, says, item, &format!("{place}[{number}]"), wrong);
                }
            }
            "properties" | "additionalProperties" | "type" | "enum" => {}
            other => panic!("{place}: the schema says {other}"),
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match (
            schema.get("properties").and_then(|all| all.get(name)),
            schema.get("additionalProperties"),
        ) {
            (Some(known), _) => check(all, known, inner, &place, wrong),
            (None, Some(Value::Bool(false))) => {
                wrong.push(format!("{place}: there is no such field"));
            }
            (None, Some(other)) => check(all, other, inner, &place, wrong),
            (None, None) => {}
        }
    }
}

fn has_type(says: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the schema says type {other}"),
    };
    let name = |one: &Value| is(one.as_str().unwrap());
    says.as_array()
        .map_or_else(|| name(says), |names| names.iter().any(name))
}

fn of_kind(kind: &str) -> Value {
    let found = manifests()
        .into_iter()
        .find(|manifest| manifest["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn the_manifests_are_valid() {
    let schema = schema();
    let all = manifests();
    let kinds: Vec<_> = all
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "ConfigMap",
            "Deployment",
            "Service",
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget"
        ]
    );
    for manifest in &all {
        let wrong = complaints(&schema, manifest);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
    // The schema rejects what is wrong.
    let mut broken = of_kind("Deployment");
    let container = &mut broken["spec"]["template"]["spec"]["containers"][0];
    container["readinessprobe"] = Value::Null;
    container["livenessProbe"]["periodSeconds"] = "10".into();
    container.as_object_mut().unwrap().remove("name");
    let wrong = complaints(&schema, &broken).join("\n");
    for part in [
        "readinessprobe: there is no",
        "periodSeconds: no [\"integer\"",
        "\"name\" is missing",
    ] {
        assert!(wrong.contains(part), "{wrong}");
    }
}

#[test]
fn they_speak_of_the_same_pods() {
    let deployment = of_kind("Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert!(labels.is_object());
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&of_kind("Service")["spec"]["selector"], labels);
    assert_eq!(
        &of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        labels
    );
    let target = &of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"];
    assert_eq!(target["name"], deployment["metadata"]["name"]);
    let volumes = &deployment["spec"]["template"]["spec"]["volumes"];
    assert_eq!(
        volumes[0]["configMap"]["name"],
        of_kind("ConfigMap")["metadata"]["name"]
    );
}

#[test]
fn rcorn_takes_its_settings_and_the_times_fit_together() {
    let folder = tempfile::TempDir::new().unwrap();
    let config = of_kind("ConfigMap")["data"]["rcorn.yaml"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::write(folder.path().join("rcorn.yaml"), config).unwrap();
    fs::create_dir(folder.path().join("shop")).unwrap();
    fs::write(
        folder.path().join("shop/wsgi.py"),
        "def application(environ, start_response): ...\n",
    )
    .unwrap();
    // As in the pod, except for the directories.
    let home = folder.path().to_str().unwrap();
    let shown = Once::rcorn(["--print-config", "--config", "rcorn.yaml", "--chdir", home])
        .within(folder.path())
        .run()
        .done();
    let seconds = |name: &str| -> f64 {
        let line = shown
            .lines()
            .find(|line| line.split('=').next().unwrap().trim() == name);
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{shown}"));
        line.split('=').nth(1).unwrap().trim().parse().unwrap()
    };
    let pod = &of_kind("Deployment")["spec"]["template"]["spec"];
    let grace = pod["terminationGracePeriodSeconds"].as_f64().unwrap();
    let container = &pod["containers"][0];
    let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        .as_f64()
        .unwrap_or(0.0);
    let drain = pause + seconds("drain_delay");
    assert!(drain >= 5.0, "proxies need time to hear of it");
    assert!(drain + seconds("graceful_timeout") < grace);
    assert!(seconds("timeout") <= seconds("graceful_timeout"));
    // Balancers usually keep an idle connection for 60 s.
    assert!(seconds("keepalive") > 60.0);
    let place = format!("0.0.0.0:{}", container["ports"][0]["containerPort"]);
    assert!(shown.contains(&place), "{place} is not in\n{shown}");
}

#[test]
fn its_probes_ask_for_what_rcorn_answers() {
    let config = of_kind("ConfigMap")["data"]["rcorn.yaml"].clone();
    let config: Value = serde_yaml::from_str(config.as_str().unwrap()).unwrap();
    let health = config["health_path"].as_str().unwrap();
    let server = Server::app("cases:app")
        .args(["--status-bind", "127.0.0.1:0", "--health-path", health])
        .start();
    server.wait_serving(1);
    let line = server.log().expect("Status at: http://");
    let (_, address) = line.split_once("http://").unwrap();
    let status = Place::Tcp(address.trim().parse().unwrap());
    let container = &of_kind("Deployment")["spec"]["template"]["spec"]["containers"][0];
    let port = &container["ports"][1];
    assert_eq!(port["name"], "status");
    let bound = config["status_bind"].as_str().unwrap();
    assert!(bound.ends_with(&format!(":{}", port["containerPort"])));
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let asked = &container[probe]["httpGet"];
        let path = asked["path"].as_str().unwrap();
        let mut wire = match asked["port"].as_str().unwrap() {
            "status" => Wire::connect(&status),
            "http" => {
                assert_eq!(path, health);
                server.connect()
            }
            other => panic!("{other}"),
        };
        let reply = wire.get(path);
        assert_eq!(
            (reply.status, reply.field("cache-control")),
            (200, Some("no-store"))
        );
    }
    let monitor = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/monitoring/podmonitor.yaml"
    );
    let monitor: Value = serde_yaml::from_str(&fs::read_to_string(monitor).unwrap()).unwrap();
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(
        (&endpoint["port"], &endpoint["path"]),
        (&port["name"], &Value::from("/metrics"))
    );
    let selector = &of_kind("Deployment")["spec"]["selector"];
    assert_eq!(&monitor["spec"]["selector"], selector);
    server.stop();
}
