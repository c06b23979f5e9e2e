//! Starts a guest and stops for ever at one stage, so that a test can kill this process there.
//!
//! `holder SCHEME ROOT NAME STAGE`: prints `at STAGE` when it is there, `ended` if the start ended without getting there.

use std::{io::Write as _, path::Path, sync::Arc};

use polyvirt::{GuestRef, Result, Stage, StageObserver};

struct HoldAt(String);

impl StageObserver for HoldAt {
    fn reached(&self, _: &GuestRef, stage: Stage) -> Result<()> {
        if stage.name() == self.0 {
            say(&format!("at {stage}"));
            loop {
                std::thread::park();
            }
        }
        Ok(())
    }
}

fn say(text: &str) {
    println!("{text}");
    std::io::stdout().flush().expect("the test reads");
}

#[tokio::main]
async fn main() {
    let args: Vec<_> = std::env::args().collect();
    let [_, scheme, root, name, stage] = &args[..] else { panic!("holder SCHEME ROOT NAME STAGE") };
    let hold = Arc::new(HoldAt(stage.clone()));
    let connection = polyvirt_tests::connect(scheme, Path::new(root), |o| o.observer = Some(hold)).await;
    let guest = connection.lookup_by_name(name).await.expect("the test defined it");
    let ended = guest.start(true).await;
    say(&format!("ended {ended:?}"));
}
