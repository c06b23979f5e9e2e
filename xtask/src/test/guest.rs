//! Makes the guest image before tests want it.

use crate::{
    guest_image,
    test::{Context, tally::Tally},
};

pub(super) fn run(cx: &Context<'_>) -> Result<Tally, String> {
    Ok(match guest_image::make(&cx.checkout.target, cx.progress) {
        Ok(image) => image.notice.into_iter().fold(Tally::passed(1), Tally::note),
        Err(why) => cx.cannot("guest-image", "qemu", why),
    })
}
