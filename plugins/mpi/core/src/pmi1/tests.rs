use proptest::prelude::*;

use super::*;

fn requests(data: &[u8]) -> Result<Vec<Request>, WireError> {
    let mut reader = Reader::default();
    reader.push(data);
    let mut requests = Vec::new();
    while let Some(request) = reader.next_request()? {
        requests.push(request);
    }
    Ok(requests)
}

fn put(key: &str, value: &str) -> Request {
    Request::Put { key: key.into(), value: value.into() }
}

#[test]
fn each_line_that_mpich_sends_is_understood() {
    let table: [(&str, Request); 12] = [
        ("cmd=init pmi_version=1 pmi_subversion=1\n", Request::Init),
        ("cmd=get_maxes\n", Request::GetMaxes),
        ("cmd=get_appnum\n", Request::GetAppnum),
        ("cmd=get_my_kvsname\n", Request::GetKvsName),
        ("cmd=get_universe_size\n", Request::GetUniverseSize),
        ("cmd=put kvsname=kvs_0 key=P0-businesscard value=a#b$c=d=\n", put("P0-businesscard", "a#b$c=d=")),
        ("cmd=put kvsname=kvs_0 key=-bcast-1-0 value=with a space \n", put("-bcast-1-0", "with a space ")),
        ("cmd=get kvsname=kvs_0 key=PMI_process_mapping\n", Request::Get { key: b"PMI_process_mapping".to_vec() }),
        ("cmd=barrier_in\n", Request::Barrier),
        ("cmd=finalize\n", Request::Finalize),
        ("cmd=abort exitcode=42\n", Request::Abort { exit_code: 42, message: None }),
        (
            "cmd=abort exitcode=7 message=rank 1 is out\n",
            Request::Abort { exit_code: 7, message: Some(b"rank 1 is out".to_vec()) },
        ),
    ];
    for (line, request) in table {
        assert_eq!(requests(line.as_bytes()), Ok(vec![request]), "{line:?}");
    }
}

#[test]
fn an_abort_without_a_code_is_still_a_failure() {
    assert_eq!(parse(b"cmd=abort"), Ok(Request::Abort { exit_code: 1, message: None }));
}

#[test]
fn a_spawn_of_several_programs_is_refused_once() {
    let block = |so_far| {
        format!("mcmd=spawn\nnprocs=2\nexecname=./child\ntotspawns=2\nspawnssofar={so_far}\narg1=cmd=init\nendcmd\n")
    };
    let refused = Request::Refused { answer: "spawn_result", what: "spawning more ranks" };
    let data = format!("{}{}cmd=barrier_in\n", block(1), block(2));
    assert_eq!(requests(data.as_bytes()), Ok(vec![refused.clone(), Request::Barrier]));
    let line = Reply::Refused { answer: "spawn_result", what: "spawning more ranks" }.to_line();
    assert_eq!(line, b"cmd=spawn_result rc=-1 msg=spawning_more_ranks_is_not_supported\n");
}

#[test]
fn what_is_no_pmi_is_an_error_that_names_it() {
    let table = [
        ("hello\n", "the PMI line \"hello\", which lacks cmd"),
        ("cmd=put kvsname=kvs_0 key=a\n", "the PMI line \"cmd=put kvsname=kvs_0 key=a\", which lacks value"),
        ("cmd=get kvsname=kvs_0\n", "the PMI line \"cmd=get kvsname=kvs_0\", which lacks key"),
        ("cmd=dance\n", "the unknown PMI command \"dance\""),
    ];
    for (line, error) in table {
        assert_eq!(requests(line.as_bytes()).unwrap_err().to_string(), error);
    }
}

#[test]
fn a_line_without_end_is_bounded() {
    assert_eq!(requests(&[b'x'; LINE_BYTES_MAX + 1]), Err(WireError::TooLong));
    assert_eq!(requests(&[b'x'; LINE_BYTES_MAX]), Ok(Vec::new()));
}

#[test]
fn replies_are_the_lines_that_eight_builds_of_mpich_accepted() {
    let table: [(Reply, &str); 7] = [
        (Reply::Init, "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n"),
        (Reply::Maxes, "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024\n"),
        (Reply::UniverseSize(9), "cmd=universe_size size=9\n"),
        (Reply::Got(b"a=b".to_vec()), "cmd=get_result rc=0 msg=success value=a=b\n"),
        (Reply::GotNothing, "cmd=get_result rc=-1 msg=key_not_found value=unknown\n"),
        (Reply::BarrierOut, "cmd=barrier_out rc=0\n"),
        (Reply::Finalized, "cmd=finalize_ack rc=0\n"),
    ];
    for (reply, line) in table {
        assert_eq!(reply.to_line(), line.as_bytes());
    }
}

proptest! {
    #[test]
    fn a_put_survives_any_cut_of_the_stream(
        key in "[a-zA-Z0-9_-]{1,64}",
        value in "[ -~]{0,200}",
        cuts in proptest::collection::vec(0usize..400, 0..8),
    ) {
        let data = format!("cmd=put kvsname=kvs_0 key={key} value={value}\ncmd=barrier_in\n").into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(data.len())).chain([0, data.len()]).collect();
        cuts.sort_unstable();
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        for piece in cuts.windows(2) {
            reader.push(&data[piece[0]..piece[1]]);
            while let Some(request) = reader.next_request().unwrap() {
                seen.push(request);
            }
        }
        prop_assert_eq!(seen, vec![put(&key, &value), Request::Barrier]);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = requests(&data);
    }
}
