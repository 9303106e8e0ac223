//! What an operator gets wrong: each start-up mistake ends with the right code and a text that names the object and
//! the next step.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};

use crate::process::built;

fn cairn(dir: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(built("cairn")?);
    if args.first().is_some_and(|a| !a.starts_with("--")) {
        return Ok(command.args(args).output()?); // a sub-command takes no flags of serving
    }
    for address in ["--http-address", "--remote-write.address", "--grpc-address", "--peer-address"] {
        if !args.iter().any(|a| a.starts_with(address)) {
            command.args([address, "127.0.0.1:0"]);
        }
    }
    Ok(command.arg("--data-dir").arg(dir.join("data")).args(args).output()?)
}

/// Runs cairn with `args` and checks its exit code and what it says.
fn refused(dir: &Path, args: &[&str], code: i32, says: &[&str]) -> Result<()> {
    let output = cairn(dir, args)?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "{args:?}: {:?}, not {code}: {text}", output.status);
    for part in says {
        ensure!(text.contains(part), "{args:?} does not say {part:?}: {text}");
    }
    ensure!(output.stdout.is_empty(), "{args:?}: stdout belongs to the ready line");
    Ok(())
}

#[test]
fn mistakes_of_the_command_line_and_files_end_the_start_with_a_reason() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    let file = |name: &str, text: &str| -> Result<String> {
        std::fs::write(dir.join(name), text)?;
        Ok(dir.join(name).display().to_string())
    };
    refused(dir, &["--no-such-flag"], 2, &["--no-such-flag"])?;
    refused(dir, &["receive"], 2, &["receive", "not available yet"])?;
    refused(dir, &["--tsdb.block-duration=soon"], 2, &["soon", "2h"])?;
    let config = file("cairn.yml", "http-adress: x\n")?;
    refused(
        dir,
        &[&format!("--config.file={config}")],
        2,
        &["http-adress", "did you mean \"http-address\""],
    )?;

    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    for flag in ["--http-address", "--remote-write.address", "--grpc-address", "--peer-address"] {
        refused(dir, &[&format!("{flag}={address}")], 1, &[flag, &address])?;
    }

    let rules = file("rules.yml", "groups:\n- name: g\n  rules:\n  - record: a\n    expr: sum(\n")?;
    refused(dir, &[&format!("--rule-file={rules}")], 1, &["rules.yml"])?;
    let rules = file("keys.yml", "groups:\n- name: g\n  rules:\n  - record: a\n    exprr: up\n")?;
    refused(dir, &[&format!("--rule-file={rules}")], 1, &["keys.yml", "exprr"])?;
    let limits = file("limits.yml", "write: {tenants: {acme: {head_serie_limit: 5}}}\n")?;
    refused(
        dir,
        &[&format!("--receive.limits-config-file={limits}")],
        1,
        &["limits.yml", "write.tenants.acme", "did you mean \"head_series_limit\"?"],
    )?;
    let objstore = file("objstore.yml", "type: FILESYSTEM\nconfig: {directroy: /x}\n")?;
    refused(dir, &[&format!("--objstore.config-file={objstore}")], 1, &["directroy", "directory"])?;
    let objstore = file("swift.yml", "type: SWIFT\nconfig: {}\n")?;
    refused(dir, &[&format!("--objstore.config-file={objstore}")], 1, &["SWIFT"])?;
    refused(dir, &["--label=1x=y"], 1, &["--label"])?;
    refused(dir, &["--receive.default-tenant-id=a/b"], 1, &["--receive.default-tenant-id", "a/b"])?;
    refused(dir, &["--alertmanagers.url=ftp://x"], 1, &["--alertmanagers.url", "ftp"])
}
