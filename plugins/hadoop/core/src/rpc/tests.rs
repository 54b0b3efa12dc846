//! Client and server against each other, and garbage against the server.

use super::client::{Client, ClientError, Reply};
use super::*;
use crate::messages::yarn::{GetNewApplicationRequestProto, KillApplicationRequestProto};
use crate::tokens::{Kind, Minter};

const PROTOCOL: &str = "org.apache.hadoop.yarn.api.ApplicationMasterProtocolPB";

fn minter() -> Minter {
    Minter::new(b"secret", 1)
}

fn server(access: Access) -> Connection {
    Connection::new(access, "nonce".into())
}

fn receive(server: &mut Connection, bytes: &[u8]) -> Vec<Output> {
    server.receive(bytes, &|identifier| Some(minter().password(Kind::AmRm, identifier)))
}

fn client() -> Client {
    Client::new(PROTOCOL, "ann", [7; 16])
}

fn token() -> crate::writable::Token {
    minter().am_rm("appattempt_1_0001_000001".parse().unwrap())
}

fn sent(outputs: Vec<Output>) -> Vec<u8> {
    let bytes = |output| if let Output::Bytes(bytes) = output { bytes } else { panic!("{output:?}") };
    outputs.into_iter().flat_map(bytes).collect()
}

fn to_send(mut replies: Vec<Reply>) -> Vec<u8> {
    match replies.pop() {
        Some(Reply::Send(bytes) | Reply::Ready(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

fn only_call(mut outputs: Vec<Output>) -> Incoming {
    match (outputs.pop(), outputs.is_empty()) {
        (Some(Output::Call(call)), true) => call,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_simple_client_says_who_it_is_and_is_answered() {
    let (mut client, mut server) = (client(), server(Access::Simple));
    let (number, call) = client.call("getNewApplication", &GetNewApplicationRequestProto {});
    let call = only_call(receive(&mut server, &[client.open(), call].concat()));
    assert_eq!((call.protocol.as_str(), call.method.as_str()), ("ApplicationMasterProtocolPB", "getNewApplication"));
    assert_eq!(call.caller, Caller { user: "ann".into(), token: None });
    let answer = Connection::answer(&call.key, Ok(b"yes"));
    assert_eq!(client.receive(&answer), Ok(vec![Reply::Answer(number, Ok(b"yes".to_vec()))]));
    let exception = Exception::new(class::YARN, "no");
    let answer = Connection::answer(&call.key, Err(&exception));
    assert_eq!(client.receive(&answer), Ok(vec![Reply::Answer(number, Err(exception))]));
}

#[test]
fn the_holder_of_a_token_proves_it() {
    let (mut client, mut server) = (client().with_token(token(), "mine"), server(Access::Token));
    let challenge = sent(receive(&mut server, &client.open()));
    let response = to_send(client.receive(&challenge).unwrap());
    let success = sent(receive(&mut server, &response));
    let context = to_send(client.receive(&success).unwrap());
    assert_eq!(receive(&mut server, &context), []);
    let (_, call) = client.call("allocate", &KillApplicationRequestProto::default());
    assert_eq!(only_call(receive(&mut server, &call)).caller.token, Some(token().identifier));
}

#[test]
fn whoever_holds_no_token_or_a_wrong_one_is_refused() {
    let mut stranger = server(Access::Token);
    let outputs = receive(&mut stranger, &client().open());
    let [Output::Bytes(bytes), Output::Close(_)] = outputs.as_slice() else { panic!("{outputs:?}") };
    let refused = client().receive(bytes).unwrap_err();
    assert!(matches!(&refused, ClientError::Refused { class, .. } if class == class::ACCESS_CONTROL), "{refused}");

    let forged = crate::writable::Token { password: vec![0; 20], ..token() };
    let (mut client, mut server) = (client().with_token(forged, "mine"), server(Access::Token));
    let challenge = sent(receive(&mut server, &client.open()));
    let response = to_send(client.receive(&challenge).unwrap());
    let outputs = receive(&mut server, &response);
    let [Output::Bytes(bytes), Output::Close(_)] = outputs.as_slice() else { panic!("{outputs:?}") };
    let refused = client.receive(bytes).unwrap_err();
    assert!(matches!(&refused, ClientError::Refused { class, .. } if class == class::INVALID_TOKEN), "{refused}");
    assert_eq!(receive(&mut server, &response), [], "nothing more is heard of it");
}

#[test]
fn a_response_to_another_connection_s_challenge_is_refused() {
    let (mut client, mut first) = (client().with_token(token(), "mine"), server(Access::Token));
    let challenge = sent(receive(&mut first, &client.open()));
    let response = to_send(client.receive(&challenge).unwrap());
    let mut second = Connection::new(Access::Token, "another".into());
    sent(receive(&mut second, &client.open()));
    assert!(matches!(receive(&mut second, &response).last(), Some(Output::Close(_))));
}

#[test]
fn a_call_before_the_token_is_refused() {
    let (mut client, mut server) = (client().with_token(token(), "mine"), server(Access::Token));
    sent(receive(&mut server, &client.open()));
    let (_, call) = client.call("allocate", &GetNewApplicationRequestProto {});
    assert!(matches!(receive(&mut server, &call).last(), Some(Output::Close(_))));
}

#[test]
fn a_holder_of_a_token_may_also_speak_where_none_is_wanted() {
    let (mut client, mut server) = (client().with_token(token(), "mine"), server(Access::Simple));
    let success = sent(receive(&mut server, &client.open()));
    assert!(matches!(client.receive(&success).unwrap().as_slice(), [Reply::Ready(_)]));
}

#[test]
fn bytes_that_come_one_by_one_are_understood() {
    let (mut client, mut server) = (client(), server(Access::Simple));
    let (_, call) = client.call("allocate", &GetNewApplicationRequestProto {});
    let outputs = [client.open(), call].concat().iter().flat_map(|&byte| receive(&mut server, &[byte])).collect();
    assert_eq!(only_call(outputs).method, "allocate");
}

#[test]
fn garbage_closes_the_connection_and_nothing_else() {
    let huge = [b"hrpc\x09\0\0".as_slice(), &u32::MAX.to_be_bytes()].concat();
    let empty = [b"hrpc\x09\0\0".as_slice(), &0_u32.to_be_bytes()].concat();
    let junk = [b"hrpc\x09\0\0".as_slice(), &4_u32.to_be_bytes(), b"\xff\xff\xff\xff"].concat();
    for bytes in [b"GET / HT".to_vec(), b"hrpc\x04\0\0".to_vec(), b"hrpc\x09\0\x50".to_vec(), huge, empty, junk] {
        let mut server = server(Access::Simple);
        assert!(matches!(receive(&mut server, &bytes).last(), Some(Output::Close(_))), "{bytes:02x?}");
        assert_eq!(receive(&mut server, b"more"), []);
    }
}
