//! `/metrics`: numbers in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Snapshot;
use crate::protocol::operator_reply::Reply;
use mesos_plugin_api::v1::Resources;

pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut metrics = Metrics::leading(true);
    for reply in &snapshot.replies {
        match reply {
            Reply::Cluster(row) => {
                metrics.resources("mesos_resources_total", "What the agents have.", &row.total);
                metrics.resources("mesos_resources_used", "What tasks and executors use.", &row.used);
                metrics.add("mesos_master_epoch", "Rises with each master that leads.", "", row.master_epoch as f64);
            }
            Reply::Agent(row) => {
                let labels = format!("connected=\"{}\"", row.connected);
                metrics.add("mesos_agents", "Agents that registered.", &labels, 1.0);
            }
            Reply::Framework(row) => {
                let labels = format!("connected=\"{}\"", row.connected);
                metrics.add("mesos_frameworks", "Frameworks that run.", &labels, 1.0);
                let labels = format!(
                    "framework=\"{}\",name=\"{}\"",
                    row.framework.id.as_ref().map_or("", |id| id.as_str()),
                    escape(&row.framework.name)
                );
                metrics.add("mesos_framework_tasks", "Live tasks of a framework.", &labels, f64::from(row.tasks));
            }
            Reply::Task(row) => {
                let labels = format!("state=\"{}\"", row.status.state().word());
                metrics.add("mesos_tasks", "Tasks that have not been acknowledged as ended.", &labels, 1.0);
            }
            Reply::Volume(row) => {
                metrics.add("mesos_volumes", "Volumes of agents that are registered.", "", 1.0);
                metrics.resources(
                    "mesos_volumes_reserved",
                    "What volumes keep for their owners.",
                    &row.volume.reserved,
                );
            }
            Reply::Why(_) | Reply::Located(_) | Reply::Piece(_) | Reply::Done(_) => {}
        }
    }
    metrics.text()
}

/// All that a master which stands by has to say.
pub(super) fn standby() -> String {
    Metrics::leading(false).text()
}

/// Gauges by name: their help, and the value for each set of labels.
#[derive(Default)]
struct Metrics {
    gauges: BTreeMap<&'static str, (&'static str, BTreeMap<String, f64>)>,
}

impl Metrics {
    fn leading(leads: bool) -> Self {
        let mut metrics = Self::default();
        metrics.add(
            "mesos_master_leading",
            "1 if this master leads, 0 if it stands by.",
            "",
            f64::from(u8::from(leads)),
        );
        metrics
    }

    fn add(&mut self, name: &'static str, help: &'static str, labels: &str, value: f64) {
        let (_, values) = self.gauges.entry(name).or_insert_with(|| (help, BTreeMap::new()));
        *values.entry(labels.to_string()).or_default() += value;
    }

    fn resources(&mut self, name: &'static str, help: &'static str, resources: &Resources) {
        for (resource, milli) in resources.scalars() {
            self.add(name, help, &format!("resource=\"{resource}\""), milli as f64 / 1000.0);
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, (help, values)) in &self.gauges {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
            for (labels, value) in values {
                let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        }
        text
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ClusterState;

    #[test]
    fn gauges_come_with_help_type_and_labels() {
        let cluster = ClusterState { total: Resources::new(2.5, 64.0), master_epoch: 3, ..Default::default() };
        let text = text(&Snapshot { replies: vec![Reply::Cluster(cluster)] });
        for line in [
            "# TYPE mesos_resources_total gauge",
            "mesos_resources_total{resource=\"cpus\"} 2.5",
            "mesos_master_epoch 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{text}");
        }
    }

    #[test]
    fn names_cannot_break_out_of_their_label() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
