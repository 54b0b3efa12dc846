//! The master's HTTP face, on the port that also speaks gRPC: health, state as JSON, metrics for Prometheus.
//!
//! ```text
//! GET /health   whether it lives         (no token)
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
    token: Option<Arc<str>>,
}

/// Routes to put beside the gRPC service; `token` is wanted of everything but `/health`.
pub fn router(master: LocalMaster, token: Option<Arc<str>>) -> Router {
    let face = Face { master: MasterClient::Local(master), token };
    Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route("/state", get(get_state))
        .route("/metrics", get(get_metrics))
        .with_state(face)
}

async fn get_state(State(face): State<Face>, headers: HeaderMap) -> Response {
    match face.snapshot(&headers, true).await {
        Ok(snapshot) => axum::Json(state::json(&snapshot)).into_response(),
        Err(refusal) => refusal,
    }
}

async fn get_metrics(State(face): State<Face>, headers: HeaderMap) -> Response {
    match face.snapshot(&headers, false).await {
        Ok(snapshot) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::text(&snapshot)).into_response()
        }
        Err(refusal) => refusal,
    }
}

impl Face {
    async fn snapshot(&self, headers: &HeaderMap, history: bool) -> Result<Snapshot, Response> {
        if let Some(token) = &self.token {
            let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
            if !same(given.as_bytes(), token.as_bytes()) {
                let message = "the cluster's token is wanted: Authorization: Bearer TOKEN\n";
                return Err((StatusCode::UNAUTHORIZED, message).into_response());
            }
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
        Ok(Snapshot { replies })
    }
}
