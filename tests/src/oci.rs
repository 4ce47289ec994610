//! The image that the `Containerfile` makes, without the tools that build images: its last stage is read, and what that
//! copies is written as an archive of the OCI's image layout (image-spec 1.1), which any runtime imports.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::program::{repository, static_programs};

/// The bytes of a tar's unit.
const BLOCK: usize = 512;

/// Where the certificates of public authorities are, in the image as in the one that it is built in.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// What a digest of an image begins with.
const ALGORITHM: &str = "sha256:";

/// What the last stage of the `Containerfile` says of the processes of its image.
#[derive(Debug)]
pub struct Stage {
    /// User and group, in numbers.
    pub user: String,
    pub entrypoint: Vec<String>,
}

impl Stage {
    /// The last stage as the file has it.
    ///
    /// # Panics
    /// When it does not begin from nothing, or does not say who runs what.
    pub fn read() -> Self {
        let text = fs::read_to_string(repository().join("Containerfile")).expect("there is a Containerfile");
        let (_, last) = text.rsplit_once("\nFROM ").expect("a stage that builds, and one that is the image");
        let mut lines = last.lines();
        assert_eq!(lines.next(), Some("scratch"), "the image has nothing that is not ours");
        let of = |word: &str| {
            let found = last.lines().find_map(|line| line.strip_prefix(word));
            found.unwrap_or_else(|| panic!("the image says no{word}")).trim().to_owned()
        };
        let entrypoint = serde_json::from_str(&of("ENTRYPOINT")).expect("an entry point without a shell");
        Self { user: of("USER"), entrypoint }
    }
}

/// Writes the image to a file, under the name that it has once it is imported.
///
/// # Panics
/// When the programs cannot be built, or the file cannot be written.
pub fn write_image(path: &Path, name: &str) {
    let stage = Stage::read();
    let layer_path = path.with_extension("layer");
    let mut layer = Tar::create(&layer_path);
    let programs = static_programs();
    for program in ["mqd", "mq"] {
        layer.file(&format!("usr/local/bin/{program}"), 0o755, &programs.join(program));
    }
    let certificates = Path::new("/").join(CERTIFICATES);
    if certificates.exists() {
        layer.file(CERTIFICATES, 0o644, &certificates);
    }
    layer.finish();
    let layer = Blob::of_file("application/vnd.oci.image.layer.v1.tar", &layer_path);
    let config = Blob::of_value(
        "application/vnd.oci.image.config.v1+json",
        &json!({
            "os": "linux",
            "architecture": architecture(),
            "config": { "User": stage.user, "Entrypoint": stage.entrypoint },
            "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
        }),
    );
    let manifest = Blob::of_value(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        }),
    );
    let mut described = manifest.descriptor();
    described["annotations"] = json!({ "io.containerd.image.name": name });
    let index = json!({ "schemaVersion": 2, "manifests": [described] });

    let mut archive = Tar::create(path);
    archive.bytes("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes());
    archive.bytes("index.json", index.to_string().as_bytes());
    for blob in [manifest, config, layer] {
        let name = format!("blobs/sha256/{}", blob.digest.trim_start_matches(ALGORITHM));
        match blob.content {
            Content::Bytes(bytes) => archive.bytes(&name, &bytes),
            Content::File(path) => archive.file(&name, 0o644, &path),
        }
    }
    archive.finish();
    fs::remove_file(&layer_path).expect("the layer is ours");
}

/// The media type of a manifest.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What Go calls this machine, and so the images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A part of an image, called after its checksum.
#[derive(Debug)]
struct Blob {
    media_type: &'static str,
    digest: String,
    size: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Blob {
    fn of_value(media_type: &'static str, value: &Value) -> Self {
        let bytes = value.to_string().into_bytes();
        let digest = digest(&Sha256::digest(&bytes));
        Self { media_type, digest, size: bytes.len() as u64, content: Content::Bytes(bytes) }
    }

    fn of_file(media_type: &'static str, path: &Path) -> Self {
        let mut file = File::open(path).expect("the file has been written");
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut buffer).expect("the file can be read");
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            size += count as u64;
        }
        Self { media_type, digest: digest(&hash.finalize()), size, content: Content::File(path.to_owned()) }
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.size })
    }
}

fn digest(hash: &[u8]) -> String {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{ALGORITHM}{hex}")
}

/// An archive that is being written (POSIX.1-1988, "ustar"); everything in it is root's.
struct Tar(File);

impl Tar {
    fn create(path: &Path) -> Self {
        Self(File::create(path).expect("the folder can be written"))
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.entry(name, 0o644, bytes.len() as u64, bytes);
    }

    fn file(&mut self, name: &str, mode: u32, path: &Path) {
        let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let size = file.seek(io::SeekFrom::End(0)).and_then(|size| file.rewind().map(|()| size));
        self.entry(name, mode, size.expect("a file has an end"), file);
    }

    fn entry(&mut self, name: &str, mode: u32, size: u64, mut content: impl Read) {
        self.0.write_all(&header(name, mode, size)).expect("the disk has room");
        io::copy(&mut content, &mut self.0).expect("the disk has room");
        let rest = usize::try_from(size % BLOCK as u64).expect("less than a block");
        if rest > 0 {
            self.0.write_all(&[0; BLOCK][rest..]).expect("the disk has room");
        }
    }

    /// Two empty blocks are the end.
    fn finish(mut self) {
        self.0.write_all(&[0; 2 * BLOCK]).expect("the disk has room");
    }
}

/// The block before a file: fields at fixed places, numbers as octal text.
fn header(name: &str, mode: u32, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    assert!(name.len() <= 100, "{name} is too long for an archive");
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    // The sum is of the block with blanks in its place.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
