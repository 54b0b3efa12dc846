//! A service that runs in front of one command is changed and watched by others.

use std::time::Duration;

use harness::{Cluster, Cmd, Running};
use nix::sys::signal::Signal;

use super::installed;

/// A cluster with a service named `shop`, of one instance.
struct Shop {
    cluster: Cluster,
    front: Running,
}

impl Shop {
    fn open() -> Self {
        let cluster = Cluster::up(4);
        installed(&cluster, "services");
        let start = command(&cluster, &["start", "shop", "exec sleep 1000"]).limit(Duration::from_secs(120)).start();
        let shop = Self { cluster, front: start };
        harness::poll::until(Duration::from_secs(30), "the service to run", || {
            let watched = shop.command(&["watch", "shop", "--lines", "1"]).run();
            (watched.code == Some(0) && watched.stdout.starts_with("1 of 1 run")).then_some(())
        });
        shop
    }

    fn command(&self, args: &[&str]) -> Cmd {
        command(&self.cluster, args)
    }

    fn close(self) {
        self.front.stop().expect_success();
        self.cluster.stop_and_assert_nothing_left();
    }
}

fn command(cluster: &Cluster, args: &[&str]) -> Cmd {
    cluster.mesos(["services"]).args(args).env("MESOS_PLUGIN_DIR", cluster.home.folder().join("plugins"))
}

#[test]
fn a_running_service_is_scaled_updated_and_watched() {
    let shop = Shop::open();
    let mut watching = shop.command(&["watch", "shop"]).start();
    watching.wait_for_lines(1, "the present state", |line| line.starts_with("1 of 1"));

    let scaled = shop.command(&["scale", "shop", "6"]).run().expect_success();
    let lines: Vec<&str> = scaled.stdout.lines().collect();
    assert_eq!(*lines.last().unwrap(), "6 of 6 run version 1, 0 others", "{scaled}");
    assert!(lines.len() > 1, "progress is streamed: {scaled}");

    let updated = shop.command(&["update", "shop", "exec sleep 1001"]).run().expect_success();
    assert_eq!(updated.stdout.lines().last().unwrap(), "6 of 6 run version 2, 0 others", "{updated}");
    let seen = watching.wait_for_lines(1, "the update", |line| line == "6 of 6 run version 2, 0 others");
    assert!(seen.lines().count() > lines.len() + 5, "who watches sees it too: {seen}");

    watching.ctrl_c();
    assert_eq!(watching.wait().code, None, "the signal ended it");
    let mut front = shop.front;
    front.wait_for_remark("a request was cancelled, 0 are open");
    Shop { front, ..shop }.close();
}

#[test]
fn of_two_requests_at_once_the_newer_counts_and_both_get_an_answer() {
    let shop = Shop::open();
    // More than fits: it waits.
    let mut first = shop.command(&["scale", "shop", "500"]).start();
    first.wait_for_lines(1, "progress", |line| line.contains("of 500 run"));
    shop.command(&["scale", "shop", "2"]).run().expect_success();
    first.wait().expect_error(&["newer request"]);
    shop.command(&["watch", "nobody"]).run().expect_error(&["nobody"]);
    shop.close();
}

#[test]
fn a_framework_that_dies_ends_its_answers_with_a_line() {
    let shop = Shop::open();
    let mut watching = shop.command(&["watch", "shop"]).start();
    watching.wait_for_lines(1, "the present state", |line| line.starts_with("1 of 1"));
    shop.front.signal(Signal::SIGKILL);
    watching.wait().expect_error(&["went away"]);
    shop.command(&["scale", "shop", "3"]).run().expect_error(&["shop", "away"]);
    shop.front.wait();
    shop.cluster.stop_and_assert_nothing_left();
}

#[test]
fn a_request_without_a_cluster_starts_none() {
    let mesos = harness::Mesos::new();
    let plugins = mesos.folder().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    let built = harness::cache::build_folder().join("libmesos_skeleton_services.so");
    std::fs::copy(built, plugins.join("services.so")).unwrap();
    let asked = mesos.cmd(["services", "scale", "shop", "3"]).env("MESOS_PLUGIN_DIR", plugins).run();
    asked.expect_error(&["no cluster is known"]);
    mesos.assert_nothing_left();
}
