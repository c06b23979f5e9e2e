//! Commands for block nodes and for the jobs that work on them, as QEMU's QMP reference manual describes them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Command, Empty};

macro_rules! orders {
    ($($(#[$doc:meta])* $name:ident = $wire:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* };)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct $name<'a> { $($(#[$field_doc])* pub $field: $type,)* }

        impl Command for $name<'_> {
            const NAME: &'static str = $wire;
            type Reply = Empty;
        }
    )* };
}

orders! {
    /// Changes how many bytes of a node the guest sees.
    BlockResize = "block_resize" {
        /// The node.
        node_name: &'a str,
        /// Bytes.
        size: u64,
    };
    /// Marks a node: who writes beyond the mark is told of, once.
    BlockSetWriteThreshold = "block-set-write-threshold" {
        /// The node.
        node_name: &'a str,
        /// Bytes; 0: no mark.
        write_threshold: u64,
    };
    /// Copies what images below hold into one above.
    BlockStream = "block-stream" {
        /// What it is called.
        job_id: &'a str,
        /// The image that is read into.
        device: &'a str,
        /// The image below which nothing is read; none: all are.
        #[serde(skip_serializing_if = "Option::is_none")]
        base_node: Option<&'a str>,
        /// What the header says then.
        #[serde(skip_serializing_if = "Option::is_none")]
        backing_file: Option<&'a str>,
        /// The header calls a protocol node raw. Since QEMU 9.0.
        #[serde(skip_serializing_if = "Option::is_none")]
        backing_mask_protocol: Option<bool>,
        /// Bytes a second; 0: no limit.
        speed: u64,
        /// Whether it is forgotten by itself when it is over.
        auto_dismiss: bool,
    };
    /// Copies what images hold into one below.
    BlockCommit = "block-commit" {
        /// What it is called.
        job_id: &'a str,
        /// The node on top of the chain.
        device: &'a str,
        /// The image that is copied, with those between.
        top_node: &'a str,
        /// The image that is copied into.
        base_node: &'a str,
        /// What the header of the image above says then.
        #[serde(skip_serializing_if = "Option::is_none")]
        backing_file: Option<&'a str>,
        /// The header calls a protocol node raw. Since QEMU 9.0.
        #[serde(skip_serializing_if = "Option::is_none")]
        backing_mask_protocol: Option<bool>,
        /// Bytes a second; 0: no limit.
        speed: u64,
        /// Whether it is forgotten by itself when it is over.
        auto_dismiss: bool,
    };
    /// Copies a node into another, and what is written into it meanwhile.
    BlockdevMirror = "blockdev-mirror" {
        /// What it is called.
        job_id: &'a str,
        /// The node that is copied.
        device: &'a str,
        /// The node that is written.
        target: &'a str,
        /// `full` or `top`.
        sync: &'a str,
        /// Bytes a second; 0: no limit.
        speed: u64,
        /// Bytes that one write makes dirty.
        #[serde(skip_serializing_if = "Option::is_none")]
        granularity: Option<u32>,
        /// Bytes that may be on their way.
        #[serde(skip_serializing_if = "Option::is_none")]
        buf_size: Option<u64>,
        /// `background` or `write-blocking`.
        copy_mode: &'a str,
        /// Whether it is forgotten by itself when it is over.
        auto_dismiss: bool,
    };
    /// Writes the header of a new image.
    BlockdevCreate = "blockdev-create" {
        /// What the job is called.
        job_id: &'a str,
        /// Of which format and size, in which node.
        options: &'a Value,
    };
    /// Ends a job that is in step, and goes over to what it made.
    JobComplete = "job-complete" {
        /// Which.
        id: &'a str,
    };
    /// Ends a job in any state.
    JobCancel = "job-cancel" {
        /// Which.
        id: &'a str,
    };
    /// Forgets a job that is over.
    JobDismiss = "job-dismiss" {
        /// Which.
        id: &'a str,
    };
    /// Ends a job; one that is in step leaves a whole copy unless it is forced.
    BlockJobCancel = "block-job-cancel" {
        /// Which.
        device: &'a str,
        /// Whether the copy may stay in pieces.
        force: bool,
    };
    /// Limits the speed of a job.
    BlockJobSetSpeed = "block-job-set-speed" {
        /// Which.
        device: &'a str,
        /// Bytes a second; 0: no limit.
        speed: u64,
    };
}

/// The jobs that there are.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct QueryJobs {}

impl Command for QueryJobs {
    const NAME: &'static str = "query-jobs";
    type Reply = Vec<JobInfo>;
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct JobInfo {
    /// What it is called.
    pub id: String,
    /// `stream`, `commit`, `mirror`, `create` and others (`JobType`).
    #[serde(rename = "type", default)]
    pub kind: String,
    /// `running`, `ready`, `concluded` and others (`JobStatus`).
    pub status: String,
    /// How much is done.
    #[serde(default)]
    pub current_progress: u64,
    /// Of how much.
    #[serde(default)]
    pub total_progress: u64,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_have_the_names_of_the_manual() {
        let order = BlockCommit {
            job_id: "j",
            device: "d",
            top_node: "t",
            base_node: "b",
            backing_file: None,
            backing_mask_protocol: None,
            speed: 0,
            auto_dismiss: false,
        };
        let text = r#"{"job-id":"j","device":"d","top-node":"t","base-node":"b","speed":0,"auto-dismiss":false}"#;
        assert_eq!(serde_json::to_string(&order).unwrap(), text);
        let jobs: Vec<JobInfo> = serde_json::from_str(
            r#"[{"id": "j", "type": "mirror", "status": "concluded", "current-progress": 3, "total-progress": 4, "error": "no"}]"#,
        )
        .unwrap();
        assert_eq!(
            (jobs[0].status.as_str(), jobs[0].total_progress, jobs[0].error.as_deref()),
            ("concluded", 4, Some("no"))
        );
    }
}
