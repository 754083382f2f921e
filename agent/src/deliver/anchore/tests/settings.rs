use super::*;
use crate::deliver::anchore::KIND;

fn complaint(settings: Value) -> String {
    let context = TargetContext { name: "anchore".into(), ..TargetContext::default() };
    (KIND.build)(settings, &context).err().expect("a complaint").to_string()
}

fn with(more: &Value) -> Value {
    let mut settings = json!({"url": "https://h", "user": "u", "password": "hunter2"});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

/// `ignore-namespace-missing-label` and `annotations` are in the documentation of Anchore's agent, which reads neither.
#[test]
fn a_key_that_nobody_reads_is_an_error() {
    let label = json!({"account_route_by_namespace_label": {"key": "a", "ignore_namespace_missing_label": true}});
    let told = complaint(with(&label));
    assert!(
        told.contains("unknown key `ignore_namespace_missing_label`") && told.contains("`ignore_missing_label`"),
        "{told}"
    );
    assert!(complaint(with(&json!({"acount": "a"}))).ends_with("did you mean `account`?"));
    assert!(
        complaint(with(&json!({"account_routes": {"a": {"namespace": ["x"]}}}))).contains("did you mean `namespaces`?")
    );
    assert!(complaint(with(&json!({"registration": {"nam": "x"}}))).ends_with("did you mean `name`?"));
}

#[test]
fn complaints_name_the_place_and_repeat_no_secret() {
    for (settings, words) in [
        (json!({"url": "https://h", "user": "u"}), "password: there is none"),
        (json!({"url": "https://h", "password": "hunter2"}), "missing key `user`"),
        (with(&json!({"password_file": "/x"})), "password: more than one of"),
        (with(&json!({"user": "a:b"})), "user: a user's name"),
        (with(&json!({"account": "a b"})), "account: an account's name"),
        (with(&json!({"account_routes": {"a b": {"namespaces": ["x"]}}})), "account_routes.a b: an account's name"),
        (
            with(&json!({"account_routes": {"a": {"namespaces": ["x"], "user": "u"}}})),
            "account_routes.a.user: its password is missing",
        ),
        (
            with(&json!({"account_routes": {"a": {"namespaces": ["x"], "password": "hunter2"}}})),
            "account_routes.a: it has a password and no `user`",
        ),
        (
            with(&json!({"account_routes": {"a": {"namespaces": ["/(/"]}}})),
            "account_routes.a.namespaces[0]: `/(/` is not a valid pattern",
        ),
        (
            with(&json!({"account_routes": {"a": {"namespaces": ["x"], "user": "u", "password_env": "NONE"}}})),
            "account_routes.a.password_env: there is no environment variable `NONE`",
        ),
        (with(&json!({"registration": {"health_interval": "10s"}})), "registration.health_interval: it is not between"),
        (with(&json!({"max_bytes": "1KiB"})), "max_bytes: it is less than 16 KiB"),
        (with(&json!({"max_namespaces": 0})), "max_namespaces: "),
        (with(&json!({"api": "v3"})), "api: unknown variant `v3`"),
        (with(&json!({"missing_tag": "insert", "missing_tag_insert": "a b"})), "missing_tag_insert: a tag is letters"),
        (
            with(
                &json!({"account_route_by_namespace_label": {"key": "a", "default_account": "b", "ignore_missing_label": true}}),
            ),
            "account_route_by_namespace_label.default_account: ",
        ),
    ] {
        let told = complaint(settings);
        assert!(told.contains(words), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn every_setting_is_in_the_schema() {
    let schema = (KIND.schema)().to_value();
    for key in [
        "url",
        "ca_file",
        "proxy",
        "user",
        "password_file",
        "account",
        "api",
        "account_routes",
        "max_bytes",
        "registration",
    ] {
        assert!(schema["properties"][key]["description"].is_string(), "{key}: {schema}");
    }
    assert_eq!(schema["required"], json!(["url", "user"]));
}
