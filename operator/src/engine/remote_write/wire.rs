//! A request of remote write 1.0: `prometheus.WriteRequest` in Protocol Buffers, in Snappy's block format.

use reconcile::{Name, Series};

/// The value that ends a series ("stale marker"): this NaN and no other one.
pub(super) const ENDED: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// One value.
pub(super) struct Sample {
    pub(super) device: Name,
    pub(super) series: Series,
    pub(super) millisecond: i64,
    pub(super) value: f64,
}

/// The bytes of a request.
pub(super) fn request(samples: &[&Sample]) -> Vec<u8> {
    let mut message = Vec::with_capacity(samples.len() * 120);
    for sample in samples {
        field(&mut message, 1, &time_series(sample));
    }
    block(&message)
}

/// `TimeSeries { labels = 1, samples = 2 }`; labels are sorted by name.
fn time_series(sample: &Sample) -> Vec<u8> {
    let mut series = Vec::new();
    let name = format!("evenkeel_device_{}", api::usage::underscored(sample.series.metric.name()));
    let mut label = |name: &str, value: &str| {
        let mut label = Vec::new();
        field(&mut label, 1, name.as_bytes());
        field(&mut label, 2, value.as_bytes());
        field(&mut series, 1, &label);
    };
    label("__name__", &name);
    label("device", &sample.device.to_string());
    // An empty label is none.
    if !sample.series.item.is_empty() {
        label("item", &sample.series.item);
    }
    // `Sample { value = 1 (double), timestamp = 2 (int64) }`
    let mut value = vec![0x09];
    value.extend(sample.value.to_le_bytes());
    value.push(0x10);
    varint(&mut value, sample.millisecond.cast_unsigned());
    field(&mut series, 2, &value);
    series
}

/// A field with a length before it.
fn field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push(number << 3 | 2);
    varint(into, bytes.len() as u64);
    into.extend(bytes);
}

fn varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    into.push(number.to_le_bytes()[0]);
}

/// A block of Snappy that consists of literals only: what is packed is mostly numbers and goes over a network that packs it again.
fn block(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(bytes.len() + bytes.len() / 1000 + 16);
    varint(&mut packed, bytes.len() as u64);
    for piece in bytes.chunks(1 << 16) {
        // Tag 61: the length, less one, follows in two bytes.
        packed.push(61 << 2);
        packed.extend(&(piece.len() as u64 - 1).to_le_bytes()[..2]);
        packed.extend(piece);
    }
    packed
}

#[cfg(test)]
mod tests {
    use reconcile::Metric;

    use super::*;

    #[test]
    fn a_request_is_as_the_specification_has_it() {
        let sample = Sample { device: Name::parse("a"), series: Series::item(Metric::DiskRatio, "/"), millisecond: 300, value: 0.5 };
        let name = b"evenkeel_device_disks_ratio";
        let mut expected = vec![0x0a, 79, 0x0a, 39, 0x0a, 8];
        expected.extend(b"__name__");
        expected.extend([0x12, 27]);
        expected.extend(name);
        expected.extend([0x0a, 11, 0x0a, 6]);
        expected.extend(b"device");
        expected.extend([0x12, 1, b'a', 0x0a, 9, 0x0a, 4]);
        expected.extend(b"item");
        expected.extend([0x12, 1, b'/', 0x12, 12, 0x09]);
        expected.extend(0.5_f64.to_le_bytes());
        expected.extend([0x10, 0xac, 0x02]);
        let mut packed = vec![u8::try_from(expected.len()).unwrap(), 61 << 2, u8::try_from(expected.len() - 1).unwrap(), 0];
        packed.extend(&expected);
        assert_eq!(request(&[&sample]), packed);
    }

    #[test]
    fn the_marker_of_an_end_keeps_its_bits() {
        let sample = Sample { device: Name::parse("a"), series: Series::of(Metric::LoadOne), millisecond: 300, value: ENDED };
        let marker = [0x09, 0x02, 0, 0, 0, 0, 0, 0xf0, 0x7f, 0x10, 0xac, 0x02];
        assert!(request(&[&sample]).ends_with(&marker));
    }

    /// More than one piece: the lengths add up to what the block says of itself.
    #[test]
    fn long_blocks_are_cut_into_pieces() {
        for length in [0_usize, 1, 65_536, 65_537, 200_000] {
            let packed = block(&vec![7; length]);
            let mut at = packed.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
            let mut found = 0;
            while at < packed.len() {
                assert_eq!(packed[at], 61 << 2);
                let piece = usize::from(u16::from_le_bytes([packed[at + 1], packed[at + 2]])) + 1;
                found += piece;
                at += 3 + piece;
            }
            assert_eq!((found, at), (length, packed.len()));
        }
    }
}
