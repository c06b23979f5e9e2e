//! Sound: `-audiodev`, and the cards.

use polyvirt_core::model::{
    DomainConfig,
    display::{Audio, AudioRef, AudioStream, AudioType, Sound, SoundCodecType, SoundModel},
};

use super::{Args, Input, alias, option::Members, place};

/// Adds what sounds are played on.
pub(super) fn backends(args: &mut Args, input: &Input<'_>) {
    for audio in &input.config.devices.audios {
        args.add("-audiodev", backend(audio).build());
    }
}

/// The id of what a device's `<audio>` names; the first if it names none.
pub(super) fn audiodev(given: Option<&AudioRef>, config: &DomainConfig) -> Option<String> {
    let id = given.map(|it| it.id).or_else(|| config.devices.audios.first().map(|it| it.id))?;
    Some(format!("audio{id}"))
}

fn backend(audio: &Audio) -> Members {
    let kind = audio.kind.unwrap_or(AudioType::None);
    let driver = match kind {
        AudioType::Pulseaudio => "pa",
        AudioType::File => "wav",
        other => other.as_str(),
    };
    let is_pulse = kind == AudioType::Pulseaudio;
    let members = Members::new("driver", driver)
        .with("id", format!("audio{}", audio.id))
        .maybe("timer-period", audio.timer_period)
        .maybe("server", audio.server_name.clone().filter(|_| is_pulse))
        .maybe("path", audio.path.clone())
        .maybe("try-mmap", audio.try_mmap)
        .maybe("exclusive", audio.exclusive)
        .maybe("dsp-policy", audio.dsp_policy)
        .maybe("dev", audio.dev.clone());
    members
        .maybe("in", audio.input.as_ref().and_then(|it| stream(it, kind)))
        .maybe("out", audio.output.as_ref().and_then(|it| stream(it, kind)))
}

/// One direction; `None` if nothing is said of it.
fn stream(stream: &AudioStream, kind: AudioType) -> Option<serde_json::Value> {
    let settings = stream.settings.as_ref();
    let name = if kind == AudioType::Pulseaudio || kind == AudioType::Pipewire { "name" } else { "dev" };
    let members = Members::default()
        .maybe("mixing-engine", stream.mixing_engine)
        .maybe("fixed-settings", stream.fixed_settings)
        .maybe("voices", stream.voices)
        .maybe("buffer-length", stream.buffer_length)
        .maybe("frequency", settings.and_then(|it| it.frequency))
        .maybe("channels", settings.and_then(|it| it.channels))
        .maybe("format", settings.and_then(|it| it.format).map(|it| it.as_str()))
        .maybe("dev", stream.dev.clone())
        .maybe("buffer-count", stream.buffer_count)
        .maybe("try-poll", stream.try_poll)
        .maybe(name, stream.name.clone())
        .maybe("stream-name", stream.stream_name.clone())
        .maybe("latency", stream.latency)
        .maybe("server-name", stream.server_name.clone())
        .maybe("client-name", stream.client_name.clone())
        .maybe("connect-ports", stream.connect_ports.clone())
        .maybe("exact-name", stream.exact_name);
    (!members.is_empty()).then(|| members.value())
}

/// Adds the cards.
pub(super) fn cards(args: &mut Args, input: &Input<'_>) {
    for sound in &input.config.devices.sounds {
        let name = alias::of(&sound.info);
        let audio = audiodev(sound.audio.as_ref(), input.config);
        let members = match sound.model {
            Some(SoundModel::Es1370) => Members::new("driver", "ES1370"),
            Some(SoundModel::Ac97) => Members::new("driver", "AC97"),
            Some(SoundModel::Sb16) => Members::new("driver", "sb16"),
            Some(SoundModel::Usb) => Members::new("driver", "usb-audio").maybe("multi", sound.multichannel),
            Some(SoundModel::Virtio) => virtio(sound, input),
            Some(SoundModel::Ich6) => Members::new("driver", "intel-hda"),
            Some(SoundModel::Ich7 | SoundModel::Ich9) => Members::new("driver", "ich9-intel-hda"),
            // The speaker is on the board.
            _ => continue,
        };
        // Only the codecs of an HD Audio controller make sounds.
        let has_codecs = matches!(sound.model, Some(SoundModel::Ich6 | SoundModel::Ich7 | SoundModel::Ich9));
        let own = audio.clone().filter(|_| !has_codecs);
        args.device(input, &sound.info, members.with("id", name).maybe("audiodev", own));
        if has_codecs {
            codecs(args, sound, name, audio.as_deref());
        }
    }
}

fn virtio(sound: &Sound, input: &Input<'_>) -> Members {
    let members = Members::new("driver", place::virtio("virtio-sound", &sound.info, None, input));
    let members = place::virtio_options(members, sound.driver.as_ref().map(|it| &it.virtio));
    members.maybe("streams", sound.streams)
}

fn codecs(args: &mut Args, sound: &Sound, name: &str, audio: Option<&str>) {
    let given = sound.codec.iter().map(|it| it.kind);
    let all: Vec<_> = if sound.codec.is_empty() { vec![None] } else { given.collect() };
    for (at, kind) in all.into_iter().enumerate() {
        let driver = match kind {
            Some(SoundCodecType::Micro) => "hda-micro",
            Some(SoundCodecType::Output) => "hda-output",
            _ => "hda-duplex",
        };
        let members = Members::new("driver", driver)
            .with("id", format!("{name}-codec{at}"))
            .with("bus", format!("{name}.0"))
            .with("cad", at)
            .maybe("audiodev", audio);
        args.add("-device", members.build());
    }
}
