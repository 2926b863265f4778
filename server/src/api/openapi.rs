//! The description of REST and the JSON twin, for programs: OpenAPI 3.1, at `/openapi.json`.
//!
//! The schemas of messages are made of `proto/` by the build script, so they hold every field. The paths
//! stand here; a test compares them with those that are served.

use std::sync::OnceLock;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// The messages, as JSON schemas by name.
const SCHEMAS: &str = include_str!(concat!(env!("OUT_DIR"), "/schemas.json"));

/// A method of the JSON twin: path, request and response.
type Call = (&'static str, &'static str, &'static str);

const CALLS: [Call; 42] = [
    ("/v3/kv/range", "RangeRequest", "RangeResponse"),
    ("/v3/kv/put", "PutRequest", "PutResponse"),
    ("/v3/kv/deleterange", "DeleteRangeRequest", "DeleteRangeResponse"),
    ("/v3/kv/txn", "TxnRequest", "TxnResponse"),
    ("/v3/kv/compaction", "CompactionRequest", "CompactionResponse"),
    ("/v3/lease/grant", "LeaseGrantRequest", "LeaseGrantResponse"),
    ("/v3/lease/revoke", "LeaseRevokeRequest", "LeaseRevokeResponse"),
    ("/v3/kv/lease/revoke", "LeaseRevokeRequest", "LeaseRevokeResponse"),
    ("/v3/lease/timetolive", "LeaseTimeToLiveRequest", "LeaseTimeToLiveResponse"),
    ("/v3/kv/lease/timetolive", "LeaseTimeToLiveRequest", "LeaseTimeToLiveResponse"),
    ("/v3/lease/leases", "LeaseLeasesRequest", "LeaseLeasesResponse"),
    ("/v3/kv/lease/leases", "LeaseLeasesRequest", "LeaseLeasesResponse"),
    ("/v3/cluster/member/list", "MemberListRequest", "MemberListResponse"),
    ("/v3/cluster/member/add", "MemberAddRequest", "MemberAddResponse"),
    ("/v3/cluster/member/remove", "MemberRemoveRequest", "MemberRemoveResponse"),
    ("/v3/cluster/member/update", "MemberUpdateRequest", "MemberUpdateResponse"),
    ("/v3/cluster/member/promote", "MemberPromoteRequest", "MemberPromoteResponse"),
    ("/v3/maintenance/transfer-leadership", "MoveLeaderRequest", "MoveLeaderResponse"),
    ("/v3/maintenance/status", "StatusRequest", "StatusResponse"),
    ("/v3/maintenance/alarm", "AlarmRequest", "AlarmResponse"),
    ("/v3/maintenance/defragment", "DefragmentRequest", "DefragmentResponse"),
    ("/v3/maintenance/hash", "HashKVRequest", "HashKVResponse"),
    ("/v3/auth/enable", "AuthEnableRequest", "AuthEnableResponse"),
    ("/v3/auth/disable", "AuthDisableRequest", "AuthDisableResponse"),
    ("/v3/auth/status", "AuthStatusRequest", "AuthStatusResponse"),
    ("/v3/auth/authenticate", "AuthenticateRequest", "AuthenticateResponse"),
    ("/v3/auth/user/add", "AuthUserAddRequest", "AuthUserAddResponse"),
    ("/v3/auth/user/get", "AuthUserGetRequest", "AuthUserGetResponse"),
    ("/v3/auth/user/list", "AuthUserListRequest", "AuthUserListResponse"),
    ("/v3/auth/user/delete", "AuthUserDeleteRequest", "AuthUserDeleteResponse"),
    ("/v3/auth/user/changepw", "AuthUserChangePasswordRequest", "AuthUserChangePasswordResponse"),
    ("/v3/auth/user/grant", "AuthUserGrantRoleRequest", "AuthUserGrantRoleResponse"),
    ("/v3/auth/user/revoke", "AuthUserRevokeRoleRequest", "AuthUserRevokeRoleResponse"),
    ("/v3/auth/role/add", "AuthRoleAddRequest", "AuthRoleAddResponse"),
    ("/v3/auth/role/get", "AuthRoleGetRequest", "AuthRoleGetResponse"),
    ("/v3/auth/role/list", "AuthRoleListRequest", "AuthRoleListResponse"),
    ("/v3/auth/role/delete", "AuthRoleDeleteRequest", "AuthRoleDeleteResponse"),
    ("/v3/auth/role/grant", "AuthRoleGrantPermissionRequest", "AuthRoleGrantPermissionResponse"),
    ("/v3/auth/role/revoke", "AuthRoleRevokePermissionRequest", "AuthRoleRevokePermissionResponse"),
    // These stream: a response is a line.
    ("/v3/watch", "WatchRequest", ""),
    ("/v3/lease/keepalive", "LeaseKeepAliveRequest", ""),
    ("/v3/maintenance/snapshot", "SnapshotRequest", ""),
];

/// The refusals that every path may answer with.
const REFUSALS: [(&str, &str); 8] = [
    ("400", "The request is malformed, or refused by the state that it met"),
    ("401", "The token is unknown, or too old"),
    ("403", "The user may not do this"),
    ("404", "There is none of this name or number"),
    ("408", "The body paused for too long"),
    ("413", "The request is too large"),
    ("429", "No space, or too many requests"),
    ("503", "No majority answered in time: the outcome of a write is not known"),
];

/// Answers with the description.
pub(super) async fn description() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| describe().to_string());
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text.as_str()).into_response()
}

fn describe() -> Value {
    let mut schemas: Map<String, Value> =
        serde_json::from_str(SCHEMAS).expect("the build script writes JSON");
    schemas.insert("Error".to_owned(), error());
    let mut paths = rest();
    paths.extend(pages());
    for (path, request, response) in CALLS {
        paths.insert(path.to_owned(), json!({ "post": call(request, response) }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "seaworthy-server",
            "description": "Plain REST under /v1 and /cluster, and the JSON twin of etcd's v3 API under /v3",
            "version": super::OWN_VERSION,
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        // A cluster without users asks for no token.
        "security": [{}, { "token": [] }],
    })
}

fn error() -> Value {
    json!({
        "type": "object", "required": ["error"],
        "properties": {
            "error": { "type": "string" }, "message": { "type": "string" },
            "code": { "type": "integer", "description": "gRPC's" },
            "members": { "type": "array", "items": { "type": "object" } },
        },
    })
}

/// The responses of an operation: those that are its own, and the refusals.
fn responses(own: Value) -> Value {
    let content = json!({
        "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
        "text/plain": { "schema": { "type": "string" } },
    });
    let mut all = Map::new();
    for (status, description) in REFUSALS {
        all.insert(status.to_owned(), json!({ "description": description, "content": content }));
    }
    all.extend(own.as_object().cloned().unwrap_or_default());
    all.into()
}

fn ok(kind: &str, schema: &Value) -> Value {
    json!({ "200": { "description": "Done", "content": { kind: { "schema": schema } } } })
}

fn call(request: &str, response: &str) -> Value {
    let schema = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let answer = if response.is_empty() { json!({}) } else { schema(response) };
    json!({
        "requestBody": { "content": { "application/json": { "schema": schema(request) } } },
        "responses": responses(ok("application/json", &answer)),
    })
}

fn parameter(name: &str, place: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "schema": schema })
}

/// Plain REST.
fn rest() -> Map<String, Value> {
    let (text, object) = (json!({ "type": "string" }), json!({ "type": "object" }));
    let number = json!({ "type": "integer", "format": "int64" });
    let bytes = json!({ "type": "string", "format": "binary" });
    let reads = json!({ "enum": ["linearizable", "serializable"] });
    let key = parameter("key", "path", &json!({ "type": "string", "minLength": 1 }));
    let conditions = [
        parameter(
            "If-Match",
            "header",
            &json!({ "type": "string", "pattern": "^\"[1-9][0-9]{0,17}\"$" }),
        ),
        parameter("If-None-Match", "header", &json!({ "const": "*" })),
    ];
    let [if_match, if_none] = conditions;
    let unmet = json!({ "description": "The key has changed", "content": { "text/plain": {} } });
    let paths = json!({
        "/v1/": { "get": {
            "parameters": [
                parameter("prefix", "query", &text), parameter("limit", "query", &number),
                parameter("consistency", "query", &reads),
            ],
            "responses": responses(ok("application/json", &object)),
        } },
        "/v1/{key}": {
            "get": {
                "parameters": [key, parameter("consistency", "query", &reads)],
                "responses": responses(ok("application/octet-stream", &bytes)),
            },
            "put": {
                "parameters": [key, if_match, if_none],
                "requestBody": { "content": { "application/octet-stream": { "schema": bytes } } },
                "responses": responses(json!({
                    "200": { "description": "The key had a value" },
                    "201": { "description": "The key is new" }, "412": unmet,
                })),
            },
            "delete": {
                "parameters": [key, if_match, if_none],
                "responses": responses(json!({ "200": { "description": "It is gone" }, "412": unmet })),
            },
        },
        "/cluster/members": { "post": {
            "requestBody": { "content": { "application/json": { "schema": {
                "type": "object", "required": ["peer_urls"],
                "properties": {
                    "peer_urls": { "type": "array", "items": { "type": "string", "format": "uri" } },
                    "learner": { "type": "boolean" },
                },
            } } } },
            "responses": responses(json!({
                "201": { "description": "Added", "content": { "application/json": { "schema": object } } },
            })),
        } },
        "/cluster/members/{id}": { "delete": {
            "parameters": [parameter("id", "path", &json!({ "type": "string", "pattern": "^[0-9a-f]{1,16}$" }))],
            "responses": responses(ok("application/json", &object)),
        } },
    });
    paths.as_object().cloned().unwrap_or_default()
}

/// The paths for those who look after a server.
fn pages() -> Map<String, Value> {
    let page = |kind: &str| json!({ "get": { "responses": responses(ok(kind, &json!({}))) } });
    let health = json!({
        "type": "object", "required": ["health", "reason"],
        "properties": { "health": { "enum": ["true", "false"] }, "reason": { "type": "string" } },
    });
    let mut is_healthy = ok("application/json", &health);
    is_healthy["503"] = is_healthy["200"].clone();
    is_healthy["503"]["description"] = "No leader, no majority, or an alarm".into();
    let paths = json!({
        "/": page("text/html"),
        "/cluster": page("application/json"),
        "/health": { "get": { "responses": responses(is_healthy) } },
        "/livez": page("text/plain"),
        "/metrics": page("text/plain"),
        "/openapi.json": page("application/json"),
        "/readyz": page("text/plain"),
        "/version": page("application/json"),
    });
    paths.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The files with routes.
    const SOURCES: [&str; 6] = [
        include_str!("auth.rs"),
        include_str!("cluster.rs"),
        include_str!("json.rs"),
        include_str!("ops.rs"),
        include_str!("rest.rs"),
        include_str!("stream.rs"),
    ];

    #[test]
    fn every_path_that_is_served_is_described_and_no_other() {
        let described = describe();
        let described: Vec<&str> =
            described["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let served = SOURCES.iter().flat_map(|source| source.split(".route(\"").skip(1));
        let served = served.map(|rest| rest.split('"').next().unwrap().replace("{*", "{"));
        let mut served: Vec<String> = served.collect();
        served.sort();
        assert_eq!(served, described);
    }

    #[test]
    fn every_schema_that_is_named_is_there() {
        let described = describe();
        let schemas = described["components"]["schemas"].as_object().unwrap();
        let text = described.to_string();
        let named = text.split("#/components/schemas/").skip(1);
        let mut missing: Vec<&str> = named.map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(missing.len() > 100, "{}", missing.len());
        missing.retain(|name| !schemas.contains_key(*name));
        assert!(missing.is_empty(), "{missing:?}");
        let put = &schemas["PutRequest"]["properties"];
        assert_eq!(put["key"], json!({ "type": "string", "format": "byte" }));
        assert_eq!(put["prev_kv"], json!({ "type": "boolean" }));
    }
}
