//! Jobs that deal with snapshots in images, and which images have them.

use serde::{Deserialize, Serialize};

use crate::{Command, Empty};

/// A snapshot in the images of these nodes; the job has begun when the command returns.
///
/// QEMU does the work in the thread that answers, so that it is silent until all is done.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotSave<'a> {
    /// What the job is called.
    pub job_id: &'a str,
    /// What the snapshot is called.
    pub tag: &'a str,
    /// The node that gets the guest's memory.
    pub vmstate: &'a str,
    /// All nodes that take part.
    pub devices: &'a [String],
}

impl Command for SnapshotSave<'_> {
    const NAME: &'static str = "snapshot-save";
    type Reply = Empty;
}

/// Brings the guest back to a snapshot, as [`SnapshotSave`] made it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotLoad<'a> {
    /// What the job is called.
    pub job_id: &'a str,
    /// What the snapshot is called.
    pub tag: &'a str,
    /// The node that has the guest's memory.
    pub vmstate: &'a str,
    /// All nodes that take part.
    pub devices: &'a [String],
}

impl Command for SnapshotLoad<'_> {
    const NAME: &'static str = "snapshot-load";
    type Reply = Empty;
}

/// Deletes a snapshot from the images of these nodes; one that does not have it is no error.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotDelete<'a> {
    /// What the job is called.
    pub job_id: &'a str,
    /// What the snapshot is called.
    pub tag: &'a str,
    /// The nodes.
    pub devices: &'a [String],
}

impl Command for SnapshotDelete<'_> {
    const NAME: &'static str = "snapshot-delete";
    type Reply = Empty;
}

/// All nodes, without what they are based on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct QueryNamedBlockNodes {
    /// Leave out what they are based on.
    pub flat: bool,
}

impl Command for QueryNamedBlockNodes {
    const NAME: &'static str = "query-named-block-nodes";
    type Reply = Vec<NamedBlockNode>;
}

/// One of [`QueryNamedBlockNodes`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct NamedBlockNode {
    /// What it is called.
    #[serde(default)]
    pub node_name: String,
    /// Its image.
    pub image: NodeImage,
}

/// The image of a node; also what `qemu-img info` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct NodeImage {
    /// Snapshots in it.
    #[serde(default)]
    pub snapshots: Vec<ImageSnapshot>,
}

/// A snapshot in an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ImageSnapshot {
    /// Its number.
    pub id: String,
    /// Its tag.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_answers_have_qemus_words() {
        let devices = ["n".to_owned()];
        let save = SnapshotSave { job_id: "j", tag: "t", vmstate: "n", devices: &devices };
        let wire = serde_json::to_value(save).unwrap();
        assert_eq!(wire, serde_json::json!({"job-id": "j", "tag": "t", "vmstate": "n", "devices": ["n"]}));
        let text = r#"[{"node-name":"n","drv":"qcow2","image":{"filename":"f","format":"qcow2","virtual-size":1,
            "snapshots":[{"id":"1","name":"t","vm-state-size":7,"date-sec":1,"date-nsec":2,"vm-clock-sec":3,"vm-clock-nsec":4}]}},
            {"node-name":"s","image":{"filename":"f","format":"file"}}]"#;
        let nodes: Vec<NamedBlockNode> = serde_json::from_str(text).unwrap();
        assert_eq!(nodes[0].image.snapshots, [ImageSnapshot { id: "1".into(), name: "t".into() }]);
        assert!(nodes[1].image.snapshots.is_empty());
    }
}
