use std::io::Write;

use super::*;

/// Decompresses bytes that come in chunks of a size: the text, or the error.
async fn decoded(bytes: &[u8], format: Format, chunk: usize) -> Result<Vec<u8>, String> {
    let chunks: Vec<_> = bytes
        .chunks(chunk)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    let chunks = futures::stream::iter(chunks).boxed();
    let mut pieces = decode(chunks, format, Source::Like, "like.csv.x".to_owned());
    let mut text = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| error.to_string())?;
        assert!(!piece.is_empty() && piece.len() <= PIECE);
        text.extend_from_slice(&piece);
    }
    Ok(text)
}

fn compressed(text: &[u8], format: Format) -> Vec<u8> {
    match format {
        Format::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            writer.write_all(text).unwrap();
            writer.finish().unwrap()
        }
        Format::Bzip2 => {
            let mut writer = bzip2::write::BzEncoder::new(Vec::new(), Default::default());
            writer.write_all(text).unwrap();
            writer.finish().unwrap()
        }
        Format::Xz => {
            let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 6);
            writer.write_all(text).unwrap();
            writer.finish().unwrap()
        }
        Format::Zstd => {
            let mut writer = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
            writer.include_checksum(true).unwrap();
            writer.write_all(text).unwrap();
            writer.finish().unwrap()
        }
        Format::Empty | Format::Text | Format::Parquet => text.to_vec(),
    }
}

const COMPRESSED: [Format; 4] = [Format::Gzip, Format::Zstd, Format::Bzip2, Format::Xz];

fn lines(count: usize) -> Vec<u8> {
    let lines = (0..count).map(|i| format!("{i},{},7,2019-09-30 00:00:00,like\n", i * 7919 % 1000));
    lines.collect::<String>().into_bytes()
}

#[tokio::test]
async fn all_members_are_read_however_they_are_cut() {
    let (one, two) = (lines(30_000), lines(3));
    for format in COMPRESSED {
        let empty = compressed(b"", format);
        let file = [compressed(&one, format), empty, compressed(&two, format)].concat();
        assert_eq!(Format::of(&file, Source::Like).unwrap(), format);
        for chunk in [7, 4096, file.len()] {
            let text = decoded(&file, format, chunk).await.unwrap();
            assert!(text == [&one[..], &two].concat(), "{format:?} by {chunk}");
        }
        assert_eq!(
            decoded(&compressed(b"", format), format, 9).await,
            Ok(vec![])
        );
    }
}

#[tokio::test]
async fn what_is_cut_off_or_damaged_is_told() {
    for format in COMPRESSED {
        let file = compressed(&lines(2000), format);
        for length in [file.len() - 1, file.len() / 2, 12] {
            let error = decoded(&file[..length], format, 100).await.unwrap_err();
            assert!(
                error.contains("like.csv.x cannot be decompressed"),
                "{error}"
            );
            assert!(
                error.contains("it is cut off"),
                "{format:?} {length}: {error}"
            );
        }
        let mut damaged = file.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        damaged[middle + 1] ^= 0x55;
        let error = decoded(&damaged, format, 100).await.unwrap_err();
        assert!(error.contains("like.csv.x"), "{format:?}: {error}");
    }
}

#[tokio::test]
async fn zeros_behind_gzip_are_padding_and_others_are_told() {
    let text = lines(100);
    let file = compressed(&text, Format::Gzip);
    let padded = [&file[..], &[0; 512], &file, &[0; 3]].concat();
    for chunk in [1, 64, 4096] {
        let found = decoded(&padded, Format::Gzip, chunk).await.unwrap();
        assert!(found == [&text[..], &text].concat());
    }
    let trailed = [&file[..], b"1,2\n"].concat();
    let error = decoded(&trailed, Format::Gzip, 64).await.unwrap_err();
    assert!(error.contains("behind its gzip data"), "{error}");
}

#[tokio::test]
async fn what_is_no_text_inside_is_told() {
    let twice = compressed(&compressed(&lines(9), Format::Zstd), Format::Gzip);
    let error = decoded(&twice, Format::Gzip, 64).await.unwrap_err();
    assert!(error.contains("like.csv.x is compressed twice"), "{error}");
    let mut tar = vec![b'a'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let error = decoded(&compressed(&tar, Format::Xz), Format::Xz, 64).await;
    assert!(error.unwrap_err().contains("like.csv.x is a tar archive"));
}

#[tokio::test]
async fn a_window_that_takes_too_much_memory_is_told() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(30).unwrap();
    encoder.write_all(&lines(50_000)).unwrap();
    let file = encoder.finish().unwrap();
    let error = decoded(&file, Format::Zstd, 1 << 20).await.unwrap_err();
    assert!(error.contains("window of more than 128 MiB"), "{error}");
}

#[tokio::test]
async fn a_store_that_fails_is_told_as_it_says() {
    let file = compressed(&lines(5000), Format::Gzip);
    let half = Bytes::copy_from_slice(&file[..file.len() / 2]);
    let lost = Err(DataFusionError::External("the store is gone".into()));
    let chunks = futures::stream::iter([Ok(half), lost]).boxed();
    let pieces = decode(chunks, Format::Gzip, Source::Like, "like.csv".to_owned());
    let found: Vec<_> = pieces.collect().await;
    let error = found.last().unwrap().as_ref().unwrap_err().to_string();
    assert!(
        error.contains("the store is gone") && !error.contains("decompressed"),
        "{error}"
    );
}
