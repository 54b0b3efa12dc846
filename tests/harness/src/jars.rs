//! Java programs from Maven Central: fetched by `mvn`, each file's hash pinned.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::packages::{self, Permission};
use crate::{Skip, cache};

/// A published file: exactly this one is used.
#[derive(Debug, Clone, Copy)]
pub struct Jar {
    /// Who publishes it.
    pub group: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
    /// The SHA-256 of the file.
    pub sha256: &'static str,
}

impl Jar {
    fn file_name(&self) -> String {
        format!("{}-{}.jar", self.name, self.version)
    }
}

/// Where these lie, as a class path for `java`, which is there too; fetched at the first use.
///
/// # Errors
/// The reason, where Java or Maven is missing and may not be installed.
///
/// # Panics
/// When they can't be fetched, or one is not the file that was pinned.
pub fn class_path(name: &str, jars: &[Jar]) -> Result<String, Skip> {
    packages::programs(&["java"], &["default-jre-headless"], Permission::Root)?;
    let folder = cache::downloads().join(name);
    let _turn = cache::lock(name);
    let wrong = || jars.iter().find(|jar| cache::sha256(&folder.join(jar.file_name())).as_deref() != Some(jar.sha256));
    if wrong().is_some() {
        packages::programs(&["mvn"], &["maven"], Permission::Root)?;
        fetch(jars, &folder);
        if let Some(jar) = wrong() {
            panic!("{} in {} is not the file that was pinned", jar.file_name(), folder.display());
        }
    }
    let paths: Vec<String> = jars.iter().map(|jar| folder.join(jar.file_name()).display().to_string()).collect();
    Ok(paths.join(":"))
}

fn fetch(jars: &[Jar], folder: &Path) {
    let project = tempfile::tempdir().expect("the folder for temporary files is writable");
    fs::write(project.path().join("pom.xml"), pom(jars)).expect("it was made just now");
    let output = Command::new(packages::find("mvn").expect("it was installed"))
        .args(["-B", "-q", "dependency:copy-dependencies", "-DexcludeTransitive=true"])
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .current_dir(project.path())
        .stdin(Stdio::null())
        .output()
        .expect("it was found");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "mvn can't fetch {} files: {said}", jars.len());
}

fn pom(jars: &[Jar]) -> String {
    let mut dependencies = String::new();
    for Jar { group, name, version, .. } in jars {
        let _ = write!(
            dependencies,
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        );
    }
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>fetch</groupId><artifactId>fetch</artifactId>\
         <version>1</version><dependencies>{dependencies}</dependencies></project>"
    )
}
