//! A master on a real port of this machine.

mod standby;

use std::net::SocketAddr;

use mesos_plugin_api::v1::{AgentInfo, Resources};
use sha2::{Digest, Sha256};

use super::{Keeps, MasterHandle, MasterOptions, StartError};
use crate::hex::hex;
use crate::master::MasterConfig;
use crate::protocol::client::{Credentials, MasterClient};
use crate::protocol::link::Batch;
use crate::protocol::{AgentCall, GetCluster, Register, agent_call, agent_event, operator_call, operator_reply};

fn name_of(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

async fn start(folder: &tempfile::TempDir, listen: &str) -> Result<MasterHandle, StartError> {
    let options = MasterOptions {
        config: MasterConfig::default(),
        work_dir: folder.path().join("master"),
        keeps: Keeps::WorkDir,
        listen: Some(listen.parse().unwrap()),
        token: Some("right".into()),
    };
    MasterHandle::start(options).await
}

async fn connect(address: SocketAddr, token: &str) -> MasterClient {
    let credentials = Credentials { principal: "tester".into(), token: Some(token.into()) };
    MasterClient::connect(&address.to_string(), credentials).await.unwrap()
}

#[tokio::test]
async fn only_the_right_token_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let master = start(&folder, "127.0.0.1:0").await.unwrap();
    let address = master.address().unwrap();
    let ask = || operator_call::Call::GetCluster(GetCluster {});
    for wrong in ["", "wrong", "righ", "right-"] {
        let error = connect(address, wrong).await.ask(ask()).await.unwrap_err().to_string();
        assert!(error.contains("token"), "{error}");
        assert!(connect(address, wrong).await.agent_link().await.is_err());
        assert!(connect(address, wrong).await.scheduler_link().await.is_err());
    }
    let answer = connect(address, "right").await.ask(ask()).await.unwrap();
    assert!(matches!(&answer[..], [operator_reply::Reply::Cluster(state)] if state.master_epoch == 1));
}

#[tokio::test]
async fn one_folder_and_one_port_have_one_master() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = start(&folder, "127.0.0.1:0").await.unwrap();
    assert!(matches!(start(&folder, "127.0.0.1:0").await, Err(StartError::Locked { .. })));
    let taken = master.address().unwrap().to_string();
    let error = start(&other, &taken).await.unwrap_err().to_string();
    assert!(error.contains(&taken) && error.contains("--port"), "{error}");
    drop(master);
    start(&folder, "127.0.0.1:0").await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let error = MasterClient::connect("127.0.0.1:1", Credentials::default()).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1") && error.contains("mesos master"), "{error}");
    for bad in ["nowhere", "", ":5050", "h:port", "h:99999"] {
        let error = MasterClient::connect(bad, Credentials::default()).await.unwrap_err().to_string();
        assert!(error.contains("HOST:PORT"), "{error}");
    }
}

#[tokio::test]
async fn an_agent_registers_over_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let master = start(&folder, "127.0.0.1:0").await.unwrap();
    let client = connect(master.address().unwrap(), "right").await;
    let mut link = client.agent_link().await.unwrap();
    let agent = AgentInfo { hostname: "h".into(), resources: Resources::new(2.0, 64.0), ..Default::default() };
    let register = Register { agent, version: "1".into(), secret: vec![1], ..Default::default() };
    let calls = Batch { epoch: 0, items: vec![AgentCall { call: Some(agent_call::Call::Register(register)) }] };
    link.out.send(calls).await.unwrap();
    let batch = link.inbox.recv().await.unwrap();
    assert!(matches!(&batch.items[0].event, Some(agent_event::Event::Registered(r)) if r.agent_id.as_str() == "M-A1"));
    let answer = client.ask(operator_call::Call::GetCluster(GetCluster {})).await.unwrap();
    assert!(matches!(&answer[..], [operator_reply::Reply::Cluster(state)] if state.total == Resources::new(2.0, 64.0)));
    drop(link);
    let gone = async {
        while !client.ask(operator_call::Call::ListAgents(Default::default())).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone).await.expect("an agent without tasks goes at once");
}

#[tokio::test]
async fn blobs_go_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let master = start(&folder, "127.0.0.1:0").await.unwrap();
    let content: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    let name = name_of(&content);
    let (from, into) = (folder.path().join("from"), folder.path().join("into"));
    std::fs::write(&from, &content).unwrap();
    let remote = connect(master.address().unwrap(), "right").await;
    for client in [remote, MasterClient::Local(master.local())] {
        let stored = client.put_blob(&from, &name).await.unwrap();
        assert_eq!(stored.size, content.len() as u64);
        client.get_blob(&name, &into).await.unwrap();
        assert_eq!(std::fs::read(&into).unwrap(), content);
        assert!(
            client.get_blob(&"0".repeat(64), &into).await.unwrap_err().to_string().contains("stored on the master")
        );
        let lied = client.put_blob(&from, &"1".repeat(64)).await.unwrap_err().to_string();
        assert!(lied.contains(&name), "{lied}");
    }
}

/// As a browser or Prometheus would ask.
async fn http_get(address: SocketAddr, path: &str, headers: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_same_port_speaks_http() {
    let folder = tempfile::tempdir().unwrap();
    let master = start(&folder, "127.0.0.1:0").await.unwrap();
    let address = master.address().unwrap();
    let token = "Authorization: Bearer right\r\n";
    assert!(http_get(address, "/health", "").await.contains("200 OK"));
    assert!(http_get(address, "/metrics", token).await.contains("mesos_master_epoch 1"));
    assert!(http_get(address, "/state", token).await.contains("\"master_id\":\"M\""));
    for path in ["/state", "/metrics"] {
        assert!(http_get(address, path, "").await.contains("401 Unauthorized"));
    }
    assert!(http_get(address, "/nothing", token).await.contains("404"));
}
