use proptest::prelude::*;

use super::{InvalidResources, Resources, milli};
use crate::v1::custom_resource::Value as Custom;
use crate::v1::{CustomResource, Range, Set};

fn parse(text: &str) -> Resources {
    text.parse().unwrap()
}

#[test]
fn text_goes_round() {
    let text = "cpus:3.5;mem:4096;disk:100;ports:[31000-31004,31010];fpgas:{a,b};gpus:2;vlans:[1-7]";
    assert_eq!(parse(text).to_string(), text);
    assert_eq!(Resources::default().to_string(), "nothing");
}

#[test]
fn tenths_add_up() {
    let sum = (0..10).fold(Resources::default(), |sum, _| sum + &parse("cpus:0.1;gpus:0.1"));
    assert_eq!(sum, parse("cpus:1;gpus:1"));
    assert_eq!(sum.checked_sub(&parse("cpus:1;gpus:1")).unwrap(), Resources::default());
}

#[test]
fn ports_split_and_merge() {
    let all = parse("ports:[10-20]");
    let taken = parse("ports:[12-13,20]");
    let rest = all.checked_sub(&taken).unwrap();
    assert_eq!(rest, parse("ports:[10-11,14-19]"));
    assert_eq!(rest + &taken, all);
    assert!(!all.contains(&parse("ports:[9-10]")));
    assert_eq!(all.first_ports(3), vec![10, 11, 12]);
}

#[test]
fn what_both_have_can_be_taken_from_both() {
    let (task, volume) =
        (parse("cpus:2;mem:64;ports:[10-12,20];gpus:1;fpgas:{a,b}"), parse("cpus:1;mem:100;ports:[12-20];fpgas:{b}"));
    let both = task.common(&volume);
    assert_eq!(both, parse("cpus:1;mem:64;ports:[12,20];fpgas:{b}"));
    assert_eq!(task.checked_sub(&both).unwrap(), parse("cpus:1;ports:[10-11];gpus:1;fpgas:{a}"));
    assert_eq!(parse("gpus:2").common(&parse("gpus:[1-2]")), Resources::default());
}

#[test]
fn shortage_names_the_resource() {
    let have = parse("cpus:2;mem:512;gpus:1");
    let short = |text: &str| have.checked_sub(&parse(text)).unwrap_err().to_string();
    assert_eq!(short("cpus:4"), "4 cpus asked, 2 available");
    assert_eq!(short("cpus:1;mem:1024"), "1024 MB mem asked, 512 MB available");
    assert_eq!(short("gpus:2"), "2 gpus asked, 1 available");
    assert_eq!(short("fpgas:{a}"), "{a} fpgas asked, none available");
    assert_eq!(short("ports:[80]"), "[80] ports asked, [] available");
}

#[test]
fn slots_are_counted_by_the_scarcest_scalar() {
    assert_eq!(parse("cpus:4;mem:100").times(&parse("cpus:1;mem:40")), 2);
    assert_eq!(parse("cpus:4").times(&parse("gpus:1")), 0);
    assert_eq!(parse("cpus:1;mem:40").scalars_times(3), parse("cpus:3;mem:120"));
}

#[test]
fn malformed_text_is_refused_with_the_part() {
    for (text, problem) in [
        ("cpus", "not NAME:VALUE"),
        ("cpus:4;mem:lots", "neither a number"),
        ("cpus:-1", "negative"),
        ("cpus:nan", "not a number that makes sense"),
        ("mem:1e13", "not a number that makes sense"),
        ("fpgas:{a}b}", "a set with an item"),
        ("cpus:4;cpus:2", "given twice"),
        ("cpus:[1-2]", "not a number"),
        ("ports:8", "not a list of ranges"),
        ("ports:[5-1]", "ends before it begins"),
        ("ports:[1-70000]", "beyond port 65535"),
        (":4", "without a proper name"),
        ("a b:4", "without a proper name"),
    ] {
        let error = text.parse::<Resources>().unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn peers_cannot_smuggle_in_nonsense() {
    let negative = Resources { cpus: -1, ..Resources::default() };
    assert_eq!(negative.checked(), Err(InvalidResources::Negative { name: "cpus".into() }));
    let ports = Resources { ports: vec![Range { begin: 5, end: 4 }], ..Resources::default() };
    assert!(matches!(ports.checked(), Err(InvalidResources::BadRange { .. })));
    let twice = CustomResource { name: "gpus".into(), value: Some(Custom::Scalar(1)) };
    let custom = Resources { custom: vec![twice.clone(), twice], ..Resources::default() };
    assert!(matches!(custom.checked(), Err(InvalidResources::BadCustom { problem: "given twice", .. })));
    let overlapping = vec![Range { begin: 1, end: 5 }, Range { begin: 3, end: 9 }];
    let merged = Resources { ports: overlapping, ..Resources::default() }.checked().unwrap();
    assert_eq!(merged, parse("ports:[1-9]"));
    let set = Custom::Set(Set { item: vec!["b".into(), "a".into(), "b".into()] });
    let custom = vec![CustomResource { name: "s".into(), value: Some(set) }];
    assert_eq!(Resources { custom, ..Resources::default() }.checked().unwrap(), parse("s:{a,b}"));
}

#[test]
fn an_item_that_would_read_as_something_else_is_refused() {
    for item in ["", " a", "a,b", "a};cpus:9", "a\nb"] {
        let set = Custom::Set(Set { item: vec![item.into()] });
        let custom = vec![CustomResource { name: "s".into(), value: Some(set) }];
        let error = Resources { custom, ..Resources::default() }.checked().expect_err(item);
        assert!(error.to_string().contains("a set with an item"), "{error}");
    }
}

#[test]
fn large_numbers_go_round_too() {
    for milli in [999_999_999_999_999, 999_999_999_999_001, 123_456_789_012_345] {
        let resources = Resources { mem: milli, ..Resources::default() };
        assert_eq!(parse(&resources.to_string()), resources);
    }
}

fn any_resources() -> impl Strategy<Value = Resources> {
    let ranges = proptest::collection::vec((1000u64..1100, 0u64..20), 0..5);
    (0i64..10_000, 0i64..10_000, 0i64..50, ranges, proptest::collection::btree_set("[a-d]", 0..4)).prop_map(
        |(cpus, mem, gpus, ranges, set)| {
            Resources::default()
                .with_cpus(cpus as f64 / 1000.0)
                .with_mem(mem as f64 / 1000.0)
                .with_custom("gpus", Custom::Scalar(gpus))
                .with_custom("set", Custom::Set(Set { item: set.into_iter().collect() }))
                .with_ports(ranges.into_iter().map(|(begin, length)| Range { begin, end: begin + length }))
        },
    )
}

proptest! {
    #[test]
    fn what_is_taken_comes_back(a in any_resources(), b in any_resources()) {
        match a.checked_sub(&b) {
            Ok(rest) => {
                prop_assert!(a.contains(&b) && a.contains(&rest));
                prop_assert_eq!(rest.clone().checked().unwrap(), rest.clone());
                prop_assert_eq!(rest + &b, a);
            }
            Err(_) => prop_assert!(!a.contains(&b)),
        }
    }

    #[test]
    fn bytes_and_text_go_round(a in any_resources()) {
        use prost::Message;
        prop_assert_eq!(Resources::decode(a.encode_to_vec().as_slice()).unwrap(), a.clone());
        if !a.is_empty() {
            prop_assert_eq!(a.to_string().parse::<Resources>().unwrap(), a);
        }
    }

    #[test]
    fn fixed_point_is_exact(value in 0i64..10_000_000) {
        prop_assert_eq!(milli(value as f64 / 1000.0), value);
    }
}
