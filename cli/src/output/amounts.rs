//! Resources in tables and in JSON.

use mesos_plugin_api::resources::decimal;
use mesos_plugin_api::v1::custom_resource::Value as CustomValue;
use mesos_plugin_api::v1::{Range, Resources};
use serde_json::{Map, Value, json};

/// `1.5/4`, from thousandths.
pub fn of(used_milli: i64, total_milli: i64) -> String {
    format!("{}/{}", decimal(used_milli), decimal(total_milli))
}

/// An object with a field for each resource: numbers, lists of `[begin, end]`, lists of names.
pub fn json(resources: &Resources) -> Value {
    let mut all = Map::new();
    all.insert("cpus".into(), json!(resources.cpus()));
    all.insert("mem".into(), json!(resources.mem()));
    if resources.disk_milli() != 0 {
        all.insert("disk".into(), json!(resources.disk()));
    }
    if !resources.ports().is_empty() {
        all.insert("ports".into(), ranges(resources.ports()));
    }
    for custom in resources.custom() {
        let value = match &custom.value {
            Some(CustomValue::Scalar(milli)) => json!(*milli as f64 / 1000.0),
            Some(CustomValue::Ranges(all)) => ranges(&all.range),
            Some(CustomValue::Set(set)) => json!(set.item),
            None => Value::Null,
        };
        all.insert(custom.name.clone(), value);
    }
    Value::Object(all)
}

fn ranges(all: &[Range]) -> Value {
    all.iter().map(|range| json!([range.begin, range.end])).collect()
}
