//! Fetches with real files and a small web server.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesos_plugin_api::v1::{Reason, Uri};
use sha2::{Digest, Sha256};

use super::*;
use crate::hex::hex;
use crate::launcher::User;
use crate::master::MasterConfig;
use crate::master::shell::{Keeps, MasterHandle, MasterOptions};
use crate::protocol::client::{Credentials, MasterClient};

struct TestEnv {
    dir: tempfile::TempDir,
    fetcher: Fetcher,
    account: Account,
}

impl TestEnv {
    fn new() -> Self {
        Self::with_room(1 << 20)
    }

    fn with_room(bytes_max: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["cache", "sandbox", "files"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let account = Account { user: User { uid, gid, groups: vec![gid] }, name: "me".into(), home: "/".into() };
        let fetcher = Fetcher::new(dir.path().join("cache"), bytes_max, MasterSlot::default());
        Self { dir, fetcher, account }
    }

    fn file(&self, name: &str, content: &[u8]) -> Uri {
        let path = self.dir.path().join("files").join(name);
        std::fs::write(&path, content).unwrap();
        uri(&format!("file://{}", path.display()))
    }

    async fn fetch(&self, uri: &Uri) -> Result<(), Refusal> {
        self.fetcher.fetch(uri, &self.dir.path().join("sandbox"), &self.account).await
    }

    async fn refused(&self, uri: &Uri) -> String {
        let refusal = self.fetch(uri).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::FetchFailed);
        assert!(refusal.message.starts_with(&format!("cannot fetch {}: ", uri.value)), "{}", refusal.message);
        assert!(!refusal.message.contains('\n'), "{}", refusal.message);
        refusal.message
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join("sandbox").join(name)).unwrap()
    }

    fn cached(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("cache")).unwrap().count()
    }
}

fn uri(value: &str) -> Uri {
    Uri { value: value.into(), ..Uri::default() }
}

/// Serves this content for every path but /missing, and counts.
fn serve(content: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = count.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let missing = request[..length].windows(8).any(|words| words == b"/missing");
            let status = if missing { "404 Not Found" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
            let _ = stream.write_all(&[head.as_bytes(), content].concat());
        }
    });
    (format!("http://{address}"), count)
}

#[tokio::test]
async fn a_file_is_copied_under_its_name_or_another() {
    let env = TestEnv::new();
    let file = env.file("a.txt", b"content");
    env.fetch(&file).await.unwrap();
    let elsewhere = Uri { output_file: Some("sub/b".into()), executable: Some(true), ..file };
    env.fetch(&elsewhere).await.unwrap();
    assert_eq!((env.read("a.txt"), env.read("sub/b")), (b"content".to_vec(), b"content".to_vec()));
    use std::os::unix::fs::PermissionsExt;
    let mode = env.dir.path().join("sandbox/sub/b").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[tokio::test]
async fn bad_uris_are_refused_with_a_line() {
    let env = TestEnv::new();
    assert!(env.refused(&uri("ftp://x/y")).await.contains("file:, http:, https: and blob: only"));
    assert!(env.refused(&uri("file://relative")).await.contains("whole path"));
    assert!(env.refused(&uri("blob:abc")).await.contains("64 hexadecimal digits"));
    assert!(env.refused(&uri("file:///no/such/file")).await.contains("No such file"));
    assert!(env.refused(&uri("file:///etc")).await.contains("not a regular file"));
    assert!(env.refused(&uri("http://127.0.0.1:1/x")).await.contains("onnect"));
    for name in ["/etc/x", "../x", "a/../../x", ""] {
        let file = Uri { output_file: Some(name.into()), ..env.file("a", b"x") };
        assert!(env.refused(&file).await.contains("output_file"), "{name}");
    }
}

#[tokio::test]
async fn content_is_checked() {
    let env = TestEnv::new();
    let (address, _) = serve(b"content");
    let right = Some(hex(&Sha256::digest(b"content")).to_uppercase());
    for value in [env.file("a", b"content").value, format!("{address}/b")] {
        env.fetch(&Uri { sha256: right.clone(), ..uri(&value) }).await.unwrap();
        let wrong = Uri { sha256: Some("0".repeat(64)), output_file: Some("other".into()), ..uri(&value) };
        assert!(env.refused(&wrong).await.contains("its SHA-256 is"));
    }
}

#[tokio::test]
async fn a_download_is_kept_only_on_request_and_fetched_once_at_a_time() {
    let env = TestEnv::new();
    let (address, count) = serve(b"content");
    env.fetch(&uri(&format!("{address}/a"))).await.unwrap();
    assert_eq!(env.cached(), 0);
    let kept = |name: &str| Uri {
        cache: Some(true),
        output_file: Some(name.into()),
        ..uri(&format!("{address}/b?query#part"))
    };
    let (x, y, z) = (kept("x"), kept("y"), kept("z"));
    let (x, y, z) = tokio::join!(env.fetch(&x), env.fetch(&y), env.fetch(&z));
    x.and(y).and(z).unwrap();
    assert_eq!((env.cached(), count.load(Ordering::SeqCst)), (1, 2));
    assert!(env.refused(&uri(&format!("{address}/missing"))).await.contains("404"));
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let env = TestEnv::with_room(10);
    let (address, _) = serve(b"content");
    for name in ["a", "b", "c"] {
        env.fetch(&Uri { cache: Some(true), ..uri(&format!("{address}/{name}")) }).await.unwrap();
    }
    assert_eq!(env.cached(), 1);
}

#[tokio::test]
async fn an_archive_is_extracted_and_one_that_leads_out_is_refused() {
    let env = TestEnv::new();
    let tar = |name: &str, member: &str| {
        let files = env.dir.path().join("files");
        std::fs::create_dir_all(files.join("d")).unwrap();
        std::fs::write(files.join("m"), "member").unwrap();
        let made = std::process::Command::new("tar")
            .args(["--create", "--gzip", "--absolute-names", "--file", name, member])
            .current_dir(files.join("d"))
            .status();
        assert!(made.unwrap().success());
        Uri { extract: Some(true), ..uri(&format!("file://{}", files.join("d").join(name).display())) }
    };
    std::fs::create_dir_all(env.dir.path().join("files/d")).unwrap();
    std::fs::write(env.dir.path().join("files/d/in"), "inside").unwrap();
    env.fetch(&tar("good.tgz", "in")).await.unwrap();
    assert_eq!(env.read("in"), b"inside");
    assert!(env.refused(&tar("bad.tgz", "../m")).await.contains("cannot extract it"));
    assert!(!env.dir.path().join("m").exists());
    let plain = Uri { extract: Some(true), ..env.file("plain", b"not an archive") };
    assert!(env.refused(&plain).await.contains("cannot extract it"));
}

#[tokio::test]
async fn what_the_user_may_not_read_is_not_fetched() {
    if !nix::unistd::Uid::effective().is_root() {
        return eprintln!("skipped: only root becomes another user");
    }
    let mut env = TestEnv::new();
    let secret = env.file("secret", b"secret");
    use std::os::unix::fs::PermissionsExt;
    let path = env.dir.path().join("files/secret");
    std::fs::set_permissions(env.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let sandbox = env.dir.path().join("sandbox");
    std::os::unix::fs::chown(&sandbox, Some(65534), Some(65534)).unwrap();
    env.account.user = User { uid: 65534, gid: 65534, groups: vec![65534] };
    assert!(env.refused(&secret).await.contains("Permission denied"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    env.fetch(&secret).await.unwrap();
    use std::os::unix::fs::MetadataExt;
    let owner = |name: &str| Path::new(&sandbox).join(name).metadata().unwrap().uid();
    assert_eq!(owner("secret"), 65534, "the file is the user's own");
    assert_eq!(
        std::fs::File::create(env.dir.path().join("after")).map(|_| ()).ok(),
        Some(()),
        "we are still ourselves"
    );
}

#[tokio::test]
async fn a_full_disk_has_a_reason_of_its_own() {
    let env = TestEnv::new();
    let sandbox = env.dir.path().join("sandbox");
    let none = None::<&str>;
    if nix::mount::mount(none, &sandbox, Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=64k")).is_err() {
        return eprintln!("skipped: only root mounts a small disk");
    }
    let refusal = env.fetch(&env.file("large", &[1; 100_000])).await;
    nix::mount::umount(&sandbox).unwrap();
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.reason, Reason::SandboxFull);
    assert!(refusal.message.ends_with("the agent's disk is full"), "{}", refusal.message);
}

async fn master_in(folder: &Path) -> MasterHandle {
    let options = MasterOptions {
        config: MasterConfig::default(),
        work_dir: folder.to_owned(),
        keeps: Keeps::Memory,
        listen: Some("127.0.0.1:0".parse().unwrap()),
        token: None,
    };
    MasterHandle::start(options).await.unwrap()
}

async fn client_of(master: &MasterHandle) -> MasterClient {
    MasterClient::connect(&master.address().unwrap().to_string(), Credentials::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_a_new_master_has_yet_to_get_is_waited_for() {
    let env = TestEnv::new();
    let [old, new] = [0, 1].map(|number: usize| env.dir.path().join(format!("master{number}")));
    let (old, new) = (master_in(&old).await, master_in(&new).await);
    let (content, path) = (b"uploaded", env.dir.path().join("files/upload"));
    std::fs::write(&path, content).unwrap();
    let name = hex(&Sha256::digest(content));
    let client = client_of(&old).await;
    drop(old);
    env.fetcher.master.send_replace(Some(Reached { client, since: tokio::time::Instant::now() }));
    let wanted = Uri { output_file: Some("it".into()), ..uri(&format!("blob:{name}")) };
    let others = async {
        // The fetch goes on while the agent finds the next master, and while that has nothing.
        tokio::task::yield_now().await;
        let client = client_of(&new).await;
        env.fetcher.master.send_replace(Some(Reached { client: client.clone(), since: tokio::time::Instant::now() }));
        tokio::task::yield_now().await;
        client.put_blob(&path, &name).await.unwrap();
    };
    let (fetched, ()) = tokio::join!(env.fetch(&wanted), others);
    fetched.unwrap();
    assert_eq!(env.read("it"), content);
}
