//! Displays, video, sound and input.

use polyvirt::model::{
    address::VirtioModel,
    chardev::{Channel, ChannelTarget, ChannelTargetType, CharBackend},
    display::{
        Acceleration, Audio, AudioSettings, AudioStream, AudioType, Graphics, GraphicsKind, Input, InputBus, InputKind,
        Listen, ListenType, Resolution, Sound, SoundCodec, SoundModel, SpiceChannel, Video, VideoModel, VideoType,
    },
};

use super::Maker;

impl Maker {
    pub(super) fn screens(&mut self) {
        if self.dice.chance(60) {
            self.display();
            self.videos();
        } else if self.dice.chance(20) {
            self.videos();
        }
        self.sound();
        self.inputs();
    }

    fn display(&mut self) {
        let mut graphics = Graphics::default();
        let kind =
            self.dice.pick(&[GraphicsKind::Vnc, GraphicsKind::Vnc, GraphicsKind::Spice, GraphicsKind::EglHeadless]);
        graphics.kind = Some(kind);
        match kind {
            GraphicsKind::Vnc => {
                if self.dice.chance(50) {
                    graphics.port = Some(5903);
                    graphics.autoport = Some(false);
                    graphics.websocket = self.dice.maybe(30, &[5700]);
                } else {
                    graphics.autoport = Some(true);
                }
                graphics.share_policy = self.dice.some(25);
                graphics.power_control = self.dice.some(15);
                graphics.keymap = self.dice.maybe(15, &["de".to_owned()]);
                self.listen(&mut graphics);
            }
            GraphicsKind::Spice => {
                graphics.port = Some(5904);
                graphics.autoport = Some(false);
                graphics.image = self.dice.some(25).map(|it| {
                    let mut image = polyvirt::model::display::ImageCompression::default();
                    image.compression = Some(it);
                    image
                });
                graphics.streaming = self.dice.some(25).map(|it| {
                    let mut streaming = polyvirt::model::display::Streaming::default();
                    streaming.mode = Some(it);
                    streaming
                });
                graphics.default_mode = self.dice.maybe(20, &[polyvirt::model::display::SpiceMode::Insecure]);
                if self.dice.chance(20) {
                    let mut channel = SpiceChannel::default();
                    channel.name = Some(self.dice.word());
                    channel.mode = Some(polyvirt::model::display::SpiceMode::Insecure);
                    graphics.channel.push(channel);
                }
                self.listen(&mut graphics);
                if self.dice.chance(50) {
                    let mut agent = Channel::default();
                    agent.kind = Some(CharBackend::SpiceVmc);
                    let mut target = ChannelTarget::default();
                    target.kind = Some(ChannelTargetType::Virtio);
                    target.name = Some("com.redhat.spice.0".to_owned());
                    agent.target = Some(target);
                    self.config.devices.channels.push(agent);
                }
            }
            _ => {
                // Without one the host's first is looked for.
                let mut gl = polyvirt::model::display::Gl::default();
                gl.rendernode = Some("/dev/dri/renderD128".to_owned());
                graphics.gl = Some(gl);
            }
        }
        self.config.devices.graphics.push(graphics);
    }

    fn listen(&mut self, graphics: &mut Graphics) {
        let mut listen = Listen::default();
        match self.dice.number(0, 4) {
            0 => {
                listen.kind = Some(ListenType::Address);
                listen.address = Some(self.dice.pick(&["0.0.0.0", "::1", "127.0.0.1"]).to_owned());
            }
            1 if graphics.websocket.is_none() => {
                listen.kind = Some(ListenType::Socket);
                listen.socket = Some("/tmp/display, one".to_owned());
                (graphics.port, graphics.autoport) = (None, None);
            }
            _ => return,
        }
        graphics.listens.push(listen);
    }

    fn videos(&mut self) {
        let kind = self.dice.word_but::<VideoType>(&["default", "xen", "vbox", "parallels", "gop"]);
        let mut video = self.video(kind);
        if let Some(model) = &mut video.model {
            model.primary = self.dice.maybe(30, &[true]);
        }
        self.config.devices.videos.push(video);
        if kind != VideoType::None && self.dice.chance(15) {
            let second = self.dice.pick(&[VideoType::Qxl, VideoType::Virtio]);
            let video = self.video(second);
            self.config.devices.videos.push(video);
        }
    }

    fn video(&mut self, kind: VideoType) -> Video {
        let mut video = Video::default();
        let mut model = VideoModel::default();
        model.kind = Some(kind);
        match kind {
            VideoType::Vga | VideoType::Vmvga | VideoType::Cirrus | VideoType::Bochs => {
                model.vram = self.dice.maybe(40, &[16_384, 32_768]);
            }
            VideoType::Qxl => {
                model.ram = self.dice.maybe(40, &[65_536, 131_072]);
                model.vram = self.dice.maybe(40, &[32_768, 65_536]);
                model.vgamem = self.dice.maybe(40, &[16_384, 32_768]);
                model.heads = self.dice.maybe(40, &[1, 2]);
            }
            VideoType::Virtio => {
                model.heads = self.dice.maybe(40, &[1, 2]);
                model.blob = if self.shared { self.dice.some(20) } else { None };
                if self.dice.chance(15) {
                    let mut acceleration = Acceleration::default();
                    acceleration.accel3d = Some(false);
                    model.acceleration = Some(acceleration);
                }
            }
            _ => {}
        }
        if matches!(kind, VideoType::Vga | VideoType::Qxl | VideoType::Virtio | VideoType::Bochs)
            && self.dice.chance(20)
        {
            let mut resolution = Resolution::default();
            (resolution.x, resolution.y) = (1280, 720);
            model.resolution = Some(resolution);
        }
        video.model = Some(model);
        video
    }

    fn sound(&mut self) {
        if self.dice.chance(25) {
            let mut sound = Sound::default();
            let kind = self.dice.word_but::<SoundModel>(&["virtio", "ich7"]);
            sound.model = Some(kind);
            if matches!(kind, SoundModel::Ich6 | SoundModel::Ich9) {
                for _ in 0..self.dice.number(0, 2) {
                    let mut codec = SoundCodec::default();
                    codec.kind = Some(self.dice.word());
                    sound.codec.push(codec);
                }
            }
            sound.multichannel = if kind == SoundModel::Usb { self.dice.some(50) } else { None };
            self.config.devices.sounds.push(sound);
        }
        if self.dice.chance(25) {
            let mut audio = Audio::default();
            audio.id = 1;
            audio.kind = Some(self.dice.word_but::<AudioType>(&[
                "coreaudio",
                "dbus",
                "pipewire",
                "sndio",
                "spice",
                "jack",
                "sdl",
            ]));
            audio.timer_period = self.dice.maybe(30, &[40]);
            audio.path = (audio.kind == Some(AudioType::File)).then(|| "/tmp/audio.wav".to_owned());
            if self.dice.chance(40) {
                let mut stream = AudioStream::default();
                stream.mixing_engine = Some(true);
                stream.voices = self.dice.maybe(50, &[2]);
                if self.dice.chance(50) {
                    stream.fixed_settings = Some(true);
                    let mut settings = AudioSettings::default();
                    settings.frequency = Some(44_100);
                    settings.channels = Some(2);
                    settings.format = Some(self.dice.word());
                    stream.settings = Some(settings);
                }
                audio.output = Some(stream);
            }
            self.config.devices.audios.push(audio);
        }
    }

    fn inputs(&mut self) {
        for _ in 0..self.dice.pick(&[0, 0, 1, 1, 2]) {
            let mut input = Input::default();
            input.kind = Some(self.dice.pick(&[InputKind::Tablet, InputKind::Mouse, InputKind::Keyboard]));
            input.bus = Some(self.dice.pick(&[InputBus::Usb, InputBus::Virtio]));
            if input.bus == Some(InputBus::Virtio) {
                input.model = self.dice.maybe(15, &[VirtioModel::Virtio]);
            }
            self.config.devices.inputs.push(input);
        }
    }
}
