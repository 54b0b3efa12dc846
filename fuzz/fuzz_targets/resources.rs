#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mesos_fuzz::run("resources", bytes));
