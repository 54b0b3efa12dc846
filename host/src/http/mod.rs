//! The master's HTTP face, on the port that also speaks gRPC: health, state as JSON, metrics for Prometheus.
//!
//! ```text
//! GET /health   whether it lives and leads (no token)
//! GET /state    agents, frameworks, tasks
//! GET /metrics  the same in numbers
//! ```
//!
//! It asks the master as an operator would and knows nothing of its insides.

mod metrics;
mod state;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::master::shell::Role;
use crate::protocol::client::{ClientError, LocalMaster, MasterClient};
use crate::protocol::token::same;
use crate::protocol::{
    GetCluster, ListAgents, ListFrameworks, ListTasks, ListVolumes, operator_call::Call, operator_reply::Reply,
};

/// All rows that state and metrics are made of.
#[derive(Debug)]
struct Snapshot {
    replies: Vec<Reply>,
}

#[derive(Clone)]
struct Face {
    master: MasterClient,
    role: Role,
    token: Option<Arc<str>>,
}

/// Routes to put beside the gRPC service; `token` is wanted of everything but `/health`.
pub(crate) fn router(master: LocalMaster, role: Role, token: Option<Arc<str>>) -> Router {
    let face = Face { master: MasterClient::Local(master), role, token };
    Router::new()
        .route("/health", get(get_health))
        .route("/state", get(get_state))
        .route("/metrics", get(get_metrics))
        .with_state(face)
}

/// One that stands by is in good health too.
async fn get_health(State(face): State<Face>) -> String {
    match face.role.stands_by() {
        None => "ok\n".to_string(),
        Some(None) => "standby\n".to_string(),
        Some(Some(leader)) => format!("standby; the leader is {leader}\n"),
    }
}

async fn get_state(State(face): State<Face>, headers: HeaderMap) -> Response {
    match face.snapshot(&headers, true).await {
        Ok(Found::Leads(snapshot)) => axum::Json(state::json(&snapshot)).into_response(),
        Ok(Found::StandsBy(leader)) => axum::Json(state::standby(leader.as_deref())).into_response(),
        Err(refusal) => refusal,
    }
}

async fn get_metrics(State(face): State<Face>, headers: HeaderMap) -> Response {
    let text = match face.snapshot(&headers, false).await {
        Ok(Found::Leads(snapshot)) => metrics::text(&snapshot),
        Ok(Found::StandsBy(_)) => metrics::standby(),
        Err(refusal) => return refusal,
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// What a master has to show.
enum Found {
    Leads(Snapshot),
    /// Nothing but who leads, as far as it knows.
    StandsBy(Option<String>),
}

impl Face {
    async fn snapshot(&self, headers: &HeaderMap, history: bool) -> Result<Found, Response> {
        if let Some(token) = &self.token {
            let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
            if !same(given.as_bytes(), token.as_bytes()) {
                let message = "the cluster's token is wanted: Authorization: Bearer TOKEN\n";
                return Err((StatusCode::UNAUTHORIZED, message).into_response());
            }
        }
        if let Some(leader) = self.role.stands_by() {
            return Ok(Found::StandsBy(leader));
        }
        let calls = [
            Call::GetCluster(GetCluster {}),
            Call::ListAgents(ListAgents::default()),
            Call::ListFrameworks(ListFrameworks { completed: Some(history) }),
            Call::ListVolumes(ListVolumes {}),
            Call::ListTasks(ListTasks { all: Some(history), framework: None }),
        ];
        let mut replies = Vec::new();
        for call in calls {
            replies.extend(self.master.ask(call).await.map_err(|error: ClientError| {
                (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
            })?);
        }
        Ok(Found::Leads(Snapshot { replies }))
    }
}
