//! The pass of [`super::clean`] over 64 bytes at a time, for processors with AVX-512 VBMI2.

use std::arch::x86_64::{
    _mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask, _mm512_cmplt_epu8_mask, _mm512_mask_add_epi8,
    _mm512_maskz_compress_epi8, _mm512_maskz_loadu_epi8, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_storeu_si512, _mm512_sub_epi8,
};

use super::clean::after_mark;

/// Bytes of a block.
const BLOCK: usize = 64;

/// Whether this processor can.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi2")
}

/// As [`super::clean_text_into`].
#[target_feature(enable = "avx512bw,avx512vbmi2")]
pub(super) fn clean_into(text: &str, out: &mut String) {
    let bytes = text.as_bytes();
    // Blocks are stored whole, of which what is kept is appended.
    out.reserve(bytes.len() + BLOCK);
    // SAFETY: only ASCII is appended.
    let out = unsafe { out.as_mut_vec() };
    let splat = |byte: u8| _mm512_set1_epi8(byte as i8);
    let mut run = 0; // where what was kept last begins at the earliest: after a mention, a link or another mark
    let mut at = 0;
    while at < bytes.len() {
        let left = bytes.len() - at;
        let there = match left {
            BLOCK.. => u64::MAX,
            _ => (1 << left) - 1,
        };
        // SAFETY: `there` are the bytes that are left of the text.
        let block = unsafe { _mm512_maskz_loadu_epi8(there, bytes.as_ptr().add(at).cast()) };
        let marks = there
            & (_mm512_cmpeq_epi8_mask(block, splat(b'@'))
                | _mm512_cmpeq_epi8_mask(block, splat(b':')));
        let length = match marks {
            0 => left.min(BLOCK),
            _ => marks.trailing_zeros() as usize,
        };
        let small = _mm512_or_si512(block, splat(0x20));
        let letters = _mm512_cmplt_epu8_mask(_mm512_sub_epi8(small, splat(b'a')), splat(26));
        let blanks =
            _mm512_cmple_epu8_mask(block, splat(b' ')) | _mm512_cmpeq_epi8_mask(block, splat(0x7f));
        let before_mark = there & u64::MAX.checked_shr((BLOCK - length) as u32).unwrap_or(0);
        let kept = (letters | blanks) & before_mark;
        let capital = letters & _mm512_cmplt_epu8_mask(block, splat(b'a'));
        let lower = _mm512_mask_add_epi8(block, capital, block, splat(0x20));
        // SAFETY: what was appended is no longer than the text before this block, and room for a block is left after it.
        unsafe {
            let end = out.as_mut_ptr().add(out.len());
            _mm512_storeu_si512(end.cast(), _mm512_maskz_compress_epi8(kept, lower));
            out.set_len(out.len() + kept.count_ones() as usize);
        }
        at += length;
        if marks != 0 {
            let (end, superfluous) = after_mark(text, run, at);
            out.truncate(out.len() - superfluous);
            (at, run) = (end, end);
        }
    }
}
