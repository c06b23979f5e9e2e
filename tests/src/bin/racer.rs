//! One of several processes that change the guests of one root at random.
//!
//! `racer SCHEME ROOT SEED OPERATIONS`: prints one JSON line an operation, `{"op": …, "guest": …, "ok": …, "kind": …}`.

use std::path::Path;

use polyvirt::{Connection, Destroy, Error, ErrorKind, Ownership};
use polyvirt_tests::{connect, kind_of, small_guest};

/// xorshift64*: the same seed gives the same operations.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % n
    }
}

async fn operate(connection: &Connection, op: &str, scheme: &str, name: &str) -> Result<(), Error> {
    match op {
        "define" => connection.define(&small_guest(kind_of(scheme), name)).await.map(drop),
        "list" => {
            let list = connection.list().await?;
            match list.iter().find_map(|g| g.problem.clone()) {
                None => Ok(()),
                Some(problem) => Err(Error::new(ErrorKind::Internal, problem)),
            }
        }
        _ => {
            let guest = connection.lookup_by_name(name).await?;
            match op {
                "start" => guest.start(true).await,
                "destroy" => guest.destroy(Destroy::default()).await,
                "undefine" => guest.undefine().await,
                "autostart" => guest.set_autostart(true).await,
                "suspend" => guest.suspend().await,
                _ => guest.view().await.map(drop),
            }
        }
    }
}

#[tokio::main]
async fn main() {
    let args: Vec<_> = std::env::args().collect();
    let [_, scheme, root, seed, operations] = &args[..] else { panic!("racer SCHEME ROOT SEED OPERATIONS") };
    let connection = connect(scheme, Path::new(root), |o| {
        o.ownership = Ownership::WhileBusy;
        o.wait_for_owner = std::time::Duration::from_secs(30);
    })
    .await;
    let mut random = Random(seed.parse::<u64>().expect("a seed").wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let ops = ["define", "define", "start", "start", "destroy", "undefine", "list", "dominfo", "autostart", "suspend"];
    for _ in 0..operations.parse::<u32>().expect("a number") {
        let op = ops[usize::try_from(random.below(ops.len() as u64)).expect("small")];
        let name = format!("g{}", random.below(5));
        let done = operate(&connection, op, scheme, &name).await;
        let (kind, message) =
            done.as_ref().err().map_or((None, None), |e| (Some(e.kind().name()), Some(e.to_string())));
        println!(
            "{}",
            serde_json::json!({ "op": op, "guest": name, "ok": done.is_ok(), "kind": kind, "message": message })
        );
    }
}
