//! What the fuzz targets share: a [`Case`] is the fuzzer's input, read as bytes from a peer and the
//! ways in which they may have been split.

/// Bytes from a peer, and how they came.
#[derive(Debug)]
pub struct Case {
    /// The limit that a line has in this case, in bytes: small, so that it is often passed.
    pub max_line_bytes: usize,
    whole: Vec<u8>,
    /// Where they are cut, in order.
    cuts: Vec<usize>,
}

/// How many cuts a case has.
const CUTS: usize = 4;

/// This byte stands for many of the byte behind it, because a fuzzer hardly ever comes by itself to
/// the end of a subnegotiation that is too long.
const REPEAT: u8 = 0x9d;
const REPETITIONS: usize = 1024;

/// How often that is heeded; it is a byte like others afterwards.
const REPEATS: usize = 2;

impl Case {
    /// The first byte is the limit, and each two of the next say how far one cut is behind the one
    /// before it; the rest is what the peer sent. `None` if there are not so many.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (&limit, rest) = data.split_first()?;
        let (gaps, rest) = rest.split_at_checked(2 * CUTS)?;
        let whole = expand(rest);
        let mut cuts = vec![0];
        for gap in gaps.chunks(2) {
            let last = cuts[cuts.len() - 1];
            let gap = usize::from(gap[0]) + (usize::from(gap[1]) << 8);
            cuts.push(whole.len().min(last + gap));
        }
        cuts.push(whole.len());
        Some(Self {
            max_line_bytes: 1 + usize::from(limit % 64),
            whole,
            cuts,
        })
    }

    /// Each way to split the bytes that has to make no difference: not at all, at the cuts, and
    /// after each byte.
    pub fn splits(&self) -> [Vec<&[u8]>; 3] {
        let pieces = self.cuts.windows(2).map(|cut| &self.whole[cut[0]..cut[1]]);
        [
            vec![&*self.whole],
            pieces.collect(),
            self.whole.chunks(1).collect(),
        ]
    }

    /// Fails if two ways to split the bytes differ in what `decode` gives; gives what all agree on.
    pub fn assert_splits_agree<T: PartialEq + std::fmt::Debug>(
        &self,
        decode: impl Fn(&[&[u8]]) -> T,
    ) -> T {
        let [whole, pieces, bytes] = self.splits();
        let expected = decode(&whole);
        assert_eq!(decode(&pieces), expected, "cut at {:?}", self.cuts);
        assert_eq!(decode(&bytes), expected, "byte by byte");
        expected
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> usize {
        self.whole.len()
    }
}

fn expand(mut data: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    for _ in 0..REPEATS {
        let Some(at) = data.iter().position(|&byte| byte == REPEAT) else {
            break;
        };
        whole.extend_from_slice(&data[..at]);
        data = &data[at + 1..];
        if let Some(&byte) = data.first() {
            whole.extend([byte; REPETITIONS]);
        }
    }
    whole.extend_from_slice(data);
    whole
}
