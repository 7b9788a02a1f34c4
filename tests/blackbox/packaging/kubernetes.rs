//! The manifests for Kubernetes: valid by the API's schema, with settings that rcorn takes and
//! times that fit together.

use std::fs;

use serde::Deserialize as _;
use serde_json::Value;

use super::shipped;
use crate::support::{Once, Place, Server, Wire, lacks, program};
use crate::tls::{Pair, server as tls_server};

/// The documents of a file in `packaging/kubernetes`.
fn manifests_of(file: &str) -> Vec<Value> {
    let text = shipped(&format!("kubernetes/{file}"));
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn manifests() -> Vec<Value> {
    manifests_of("rcorn.yaml")
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
    find(manifests(), kind)
}

fn find(all: Vec<Value>, kind: &str) -> Value {
    let found = all.into_iter().find(|manifest| manifest["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn the_manifests_are_valid() {
    for file in ["rcorn.yaml", "rcorn-tls.yaml"] {
        is_valid(file);
    }
    // The schema rejects what is wrong.
    let mut broken = of_kind("Deployment");
    let container = &mut broken["spec"]["template"]["spec"]["containers"][0];
    container["readinessprobe"] = Value::Null;
    container["livenessProbe"]["periodSeconds"] = "10".into();
    container.as_object_mut().unwrap().remove("name");
    let wrong = complaints(&schema(), &broken).join("\n");
    for part in [
        "readinessprobe: there is no",
        "periodSeconds: no [\"integer\"",
        "\"name\" is missing",
    ] {
        assert!(wrong.contains(part), "{wrong}");
    }
}

fn is_valid(file: &str) {
    let schema = schema();
    let all = manifests_of(file);
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

/// Both have the same times, rights and resources.
#[test]
fn with_tls_nothing_else_is_different() {
    let without = |name: &str, value: &mut Value| {
        let all = value.as_array_mut().unwrap();
        all.retain(|one| one["name"] != name);
    };
    let mut all = manifests_of("rcorn-tls.yaml");
    let config = all[0]["data"]["rcorn.yaml"].as_str().unwrap().to_owned();
    for line in ["certfile: /tls/tls.crt\n", "keyfile: /tls/tls.key\n"] {
        assert!(config.contains(line), "{config}");
    }
    let pod = &mut all[1]["spec"]["template"]["spec"];
    let secret = &pod["volumes"][1]["secret"];
    assert_eq!(
        (&secret["secretName"], &secret["defaultMode"]),
        (&"shop-tls".into(), &0o440.into())
    );
    let mount = &pod["containers"][0]["volumeMounts"][1];
    assert_eq!(
        (&mount["mountPath"], &mount["readOnly"]),
        (&"/tls".into(), &true.into())
    );
    without("tls", &mut pod["volumes"]);
    without("tls", &mut pod["containers"][0]["volumeMounts"]);
    let port = &mut pod["containers"][0]["ports"][0];
    *port = serde_json::json!({"name": "http", "containerPort": 8000});
    let probe = &mut pod["containers"][0]["readinessProbe"]["httpGet"];
    assert_eq!(
        (&probe["port"], &probe["scheme"]),
        (&"https".into(), &"HTTPS".into())
    );
    *probe = serde_json::json!({"path": probe["path"], "port": "http"});
    all[2]["spec"] = of_kind("Service")["spec"].clone();
    let lines = |config: &Value| -> Vec<String> {
        let text = config["data"]["rcorn.yaml"].as_str().unwrap();
        let of_tls = [
            "bind:",
            "certfile:",
            "keyfile:",
            "forwarded_allow_ips:",
            "#",
        ];
        let lines = text
            .lines()
            .filter(|line| !of_tls.iter().any(|word| line.starts_with(word)));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(lines(&all[0]), lines(&of_kind("ConfigMap")));
    assert_eq!(all[1..], manifests()[1..]);
}

/// As the kubelet asks, which does not check the certificate.
#[test]
fn the_probe_over_tls_is_answered() {
    if lacks(&[program("curl")]) {
        return;
    }
    let deployment = find(manifests_of("rcorn-tls.yaml"), "Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let path = container["readinessProbe"]["httpGet"]["path"]
        .as_str()
        .unwrap();
    let server = tls_server(&Pair::of(&["shop.example"]))
        .args(["--health-path", path])
        .start();
    server.wait_serving(1);
    let Place::Tcp(address) = server.place() else {
        panic!("it has no port");
    };
    let url = format!("https://{address}{path}");
    let words = ["-sk", "-o", "/dev/null", "-w", "%{http_code}", &url];
    assert_eq!(Once::new("curl", words).run().done(), "200");
    server.stop();
}
