//! Embeds the mock driver alone: `cargo run --example embed_mock --no-default-features --features mock`.

use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    let connection = polyvirt::open(&format!("mock:///embed?root={}", root.path().display())).await?;
    let xml = "<domain type='test'>
        <name>simulated</name>
        <memory unit='GiB'>1</memory>
        <vcpu placement='auto'>2</vcpu>
        <os><type>hvm</type></os>
      </domain>";
    let guest = connection.define(xml).await?.guest;
    guest.start(false).await?;
    let view = guest.view().await?;
    println!("{} is {}", guest.name(), view.entry.state.name());
    if let Some(advice) = view.plan.and_then(|plan| plan.advice) {
        println!("its memory comes from node {}, its CPUs are {}", advice.nodeset, advice.cpuset);
    }
    guest.destroy(polyvirt::Destroy::default()).await?;
    println!("{} is {}", guest.name(), guest.state().await?.name());
    Ok(())
}
