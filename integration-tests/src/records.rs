//! What the bastion kept: its recordings and its audit log, asked for by its own commands.
//! It never opens the bastion's files behind its back.

use std::path::Path;
use std::process::Command;

use data_encoding::BASE64;
use serde_json::Value;

use crate::wait::{DEADLINE, until};
use crate::{Rig, binary};

impl Rig {
    /// `recording list`.
    pub fn recordings(&self) -> Vec<Value> {
        objects(&self.said(&["recording", "list", "--json"]))
    }

    /// The recordings, once there are this many and all of them are sealed.
    pub fn sealed_recordings(&self, count: usize) -> Vec<Value> {
        until(&format!("{count} sealed recordings"), DEADLINE, || {
            let all = self.recordings();
            let sealed = all.iter().all(|one| !one["ended"].is_null() && !one["outcome"].is_null());
            (sealed && all.len() >= count).then_some(all)
        })
    }

    /// `audit list`.
    pub fn events(&self) -> Vec<Value> {
        objects(&self.said(&["audit", "list", "--json"]))
    }

    /// Waits for an event with this refusal code.
    pub fn refusal(&self, code: &str) -> Value {
        until(&format!("{code} in the log"), DEADLINE, || {
            self.events().into_iter().find(|event| event["code"] == code)
        })
    }

    /// `session list --live`.
    pub fn live(&self) -> Vec<Value> {
        objects(&self.said(&["session", "list", "--live", "--json"]))
    }

    /// Every recording and the log say `ok`, asked of the bastion and of the separate verifier.
    pub fn verify_everything(&self) {
        for recording in self.recordings() {
            let id = recording["id"].as_str().unwrap();
            self.said(&["recording", "verify", id]);
            let file = self.state().join("recordings").join(format!("{id}.rec"));
            verified(&file);
        }
        let said = self.said(&["audit", "verify"]);
        assert!(said.contains("ok"), "{said}");
        verified(&self.state().join("log"));
    }

    /// What a recording shows, as text.
    pub fn text_of(&self, id: &str) -> String {
        self.said(&["recording", "export", id, "--format", "text"])
    }

    /// Every byte of a recording that its frames call output, in their order; nothing of standard error.
    pub fn output_of(&self, id: &str) -> Vec<u8> {
        let frames = objects(&self.said(&["recording", "export", id, "--format", "jsonl"]));
        let output = frames.iter().filter(|frame| frame["stream"] == "output");
        let bytes = output.map(|frame| match (&frame["text"], &frame["base64"]) {
            (Value::String(text), _) => text.clone().into_bytes(),
            (_, Value::String(coded)) => BASE64.decode(coded.as_bytes()).unwrap(),
            _ => panic!("a frame of output without any: {frame}"),
        });
        bytes.flatten().collect()
    }
}

fn verified(path: &Path) {
    let output = Command::new(binary("bartizan-verify")).arg(path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("ok"), "{}: {output:?}", path.display());
}

/// One object a line, or one list of them.
fn objects(text: &str) -> Vec<Value> {
    match serde_json::from_str(text) {
        Ok(Value::Array(all)) => all,
        _ => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    }
}
