//! `/state`: what the listings show, as one JSON object.

use serde_json::{Map, Value, json};

use super::Snapshot;
use crate::protocol::operator_reply::Reply;
use mesos_plugin_api::v1::Resources;

pub(super) fn json(snapshot: &Snapshot) -> Value {
    let mut cluster = Value::Null;
    let (mut agents, mut frameworks, mut tasks, mut volumes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for reply in &snapshot.replies {
        match reply {
            Reply::Cluster(row) => {
                cluster = json!({
                    "master_id": row.master_id, "epoch": row.master_epoch, "version": row.version,
                    "total": amounts(&row.total), "used": amounts(&row.used), "started_ns": row.started_ns,
                });
            }
            Reply::Agent(row) => agents.push(json!({
                "id": row.agent.id, "hostname": row.agent.hostname, "address": row.agent.address, "port": row.agent.port,
                "connected": row.connected, "total": amounts(&row.agent.resources), "used": amounts(&row.used),
                "offered": amounts(&row.offered), "tasks": row.tasks,
            })),
            Reply::Framework(row) => frameworks.push(json!({
                "id": row.framework.id, "name": row.framework.name, "user": row.framework.user, "role": row.framework.role,
                "connected": row.connected, "used": amounts(&row.used), "offered": amounts(&row.offered), "tasks": row.tasks,
                "registered_ns": row.registered_ns, "ended_ns": row.ended_ns,
            })),
            Reply::Task(row) => tasks.push(json!({
                "id": row.task.id, "name": row.task.name, "framework_id": row.framework_id, "agent_id": row.task.agent_id,
                "hostname": row.hostname, "state": row.status.state().as_str_name(), "message": row.status.message,
                "resources": amounts(&row.task.resources), "launched_ns": row.launched_ns, "running_ns": row.running_ns,
                "ended_ns": row.ended_ns,
            })),
            Reply::Volume(row) => volumes.push(json!({
                "name": row.volume.id.name, "user": row.volume.id.user, "framework": row.volume.id.framework,
                "agent_id": row.agent_id, "hostname": row.hostname, "state": row.state,
                "reserved": amounts(&row.volume.reserved), "used": amounts(&row.used), "tasks": row.tasks,
            })),
            Reply::Why(_) | Reply::Located(_) | Reply::Piece(_) | Reply::Done(_) => {}
        }
    }
    json!({ "cluster": cluster, "agents": agents, "frameworks": frameworks, "tasks": tasks, "volumes": volumes })
}

/// A master that stands by knows nothing but that.
pub(super) fn standby(leader: Option<&str>) -> Value {
    json!({ "standby": true, "leader": leader })
}

fn amounts(resources: &Resources) -> Value {
    let scalars = resources.scalars().map(|(name, milli)| (name.to_string(), json!(milli as f64 / 1000.0)));
    let mut all: Map<String, Value> = scalars.collect();
    all.insert("text".into(), json!(resources.to_string()));
    Value::Object(all)
}
