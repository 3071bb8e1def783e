// Compiled once per instruction set by foreach_target.h, then dispatched at run time.
//
// Each block becomes five 64-bit masks. A CR's successor is found by shifting the CR mask left by
// one with a carry, so CRLF pairs, bare CR and bare LF need no branch. Line lengths come from the
// first and last LF of a block only: a line that lies inside one block is shorter than every limit.
#include "smtp/block_scan.h"

#include <bit>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "smtp/block_scan.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file again.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mxring::smtp {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct Masks {
  std::uint64_t cr = 0;
  std::uint64_t lf = 0;
  std::uint64_t nul = 0;
  std::uint64_t dot = 0;
  std::uint64_t high = 0;
};

template <class D, class M>
HWY_INLINE std::uint64_t bits_of(D d, M mask) {
  std::uint64_t bits = 0;
  hn::StoreMaskBits(d, mask, reinterpret_cast<std::uint8_t*>(&bits));
  return bits;
}

HWY_INLINE Masks load_masks(const char* bytes) {
  const hn::CappedTag<std::uint8_t, kBlockBytes> d;
  const hn::RebindToSigned<decltype(d)> signed_d;
  const std::size_t lanes = hn::Lanes(d);
  Masks masks;
  for (std::size_t i = 0; i < kBlockBytes; i += lanes) {
    const auto v = hn::LoadU(d, reinterpret_cast<const std::uint8_t*>(bytes) + i);
    masks.cr |= bits_of(d, hn::Eq(v, hn::Set(d, '\r'))) << i;
    masks.lf |= bits_of(d, hn::Eq(v, hn::Set(d, '\n'))) << i;
    masks.nul |= bits_of(d, hn::Eq(v, hn::Zero(d))) << i;
    masks.dot |= bits_of(d, hn::Eq(v, hn::Set(d, '.'))) << i;
    const auto as_signed = hn::BitCast(signed_d, v);
    masks.high |= bits_of(signed_d, hn::Lt(as_signed, hn::Zero(signed_d))) << i;
  }
  return masks;
}

HWY_INLINE Masks shifted_right(Masks m, unsigned by) {
  return {m.cr >> by, m.lf >> by, m.nul >> by, m.dot >> by, m.high >> by};
}

// The walk's state in registers; LineScan is read and written once.
struct Walk {
  std::uint64_t cr_carry;
  std::uint64_t start_carry;
  std::uint64_t high = 0;
  std::int64_t line_begin;
  std::int64_t longest = 0;
  std::int64_t line_bytes_max;  // INT64_MAX when faults do not matter any more
  std::uint64_t fault_mask;     // 0 when faults do not matter any more
  bool suspect = false;
};

// One block at `base` with `count` bytes in it. Returns how many bytes were passed; fewer than
// `count` ends the walk.
HWY_INLINE unsigned step(const Masks& m, std::int64_t base, unsigned count, Walk& w) {
  const std::uint64_t valid = ~std::uint64_t{0} >> (64 - count);
  const std::uint64_t after_cr = (m.cr << 1) | w.cr_carry;
  const std::uint64_t line_ends = m.lf & after_cr;
  const std::uint64_t starts = (line_ends << 1) | w.start_carry;
  const std::uint64_t dots = m.dot & starts;
  const std::uint64_t faults = ((m.lf ^ after_cr) | m.nul) & valid & w.fault_mask;
  if (HWY_UNLIKELY((dots | faults) != 0)) {
    if (dots == 0 || (faults != 0 && std::countr_zero(faults) < std::countr_zero(dots))) {
      w.suspect = true;
      return 0;
    }
    // Content up to the dot. What lies there holds no fault, so only the line state moves.
    const auto at = static_cast<unsigned>(std::countr_zero(dots));
    const std::uint64_t before = (std::uint64_t{1} << at) - 1;
    if ((line_ends & before) != 0) {
      const std::int64_t length = base + std::countr_zero(line_ends) - 1 - w.line_begin;
      if (length > w.line_bytes_max) {
        w.suspect = true;
        return 0;
      }
      w.longest = length > w.longest ? length : w.longest;
    }
    w.high |= m.high & before;
    w.line_begin = base + at;
    w.cr_carry = 0;
    w.start_carry = 1;
    return at;
  }
  // Without a line end in this block countr_zero says `count`, and the length is that of the line
  // so far (less one, for a CR that may be the last byte): it can be judged just the same.
  const std::int64_t reach = std::countr_zero(line_ends | ~valid);
  const std::int64_t length = base + reach - 1 - w.line_begin;
  if (HWY_UNLIKELY(length > w.line_bytes_max)) {
    w.suspect = true;
    return 0;
  }
  w.longest = length > w.longest ? length : w.longest;
  // Blocks with and without a line end come in no order that a branch predictor could learn.
  const std::int64_t last_end = base + 64 - std::countl_zero(line_ends | 1);
  w.line_begin += (last_end - w.line_begin) & -static_cast<std::int64_t>(line_ends != 0);
  w.high |= m.high;
  w.cr_carry = (m.cr >> (count - 1)) & 1;
  w.start_carry = (line_ends >> (count - 1)) & 1;
  return count;
}

std::size_t ScanLines(const char* bytes, std::size_t size, LineScan& scan) {
  Walk w{.cr_carry = scan.after_cr ? 1U : 0U,
         .start_carry = scan.at_line_start ? 1U : 0U,
         .line_begin = scan.line_begin,
         .line_bytes_max = scan.want_faults ? scan.line_bytes_max : INT64_MAX,
         .fault_mask = scan.want_faults ? ~std::uint64_t{0} : 0};
  std::size_t at = 0;
  unsigned passed = kBlockBytes;
  while (size - at >= kBlockBytes && passed == kBlockBytes) {
    passed = step(load_masks(bytes + at), static_cast<std::int64_t>(at), kBlockBytes, w);
    at += passed;
  }
  const auto rest = static_cast<unsigned>(size - at);
  if (passed == kBlockBytes && rest != 0) {
    Masks masks;
    if (size >= kBlockBytes) {
      masks = shifted_right(load_masks(bytes + size - kBlockBytes), kBlockBytes - rest);
    } else {
      char padded[kBlockBytes];
      std::memset(padded, ' ', sizeof padded);
      std::memcpy(padded, bytes, rest);
      masks = load_masks(padded);
    }
    at += step(masks, static_cast<std::int64_t>(at), rest, w);
  }
  scan.line_begin = w.line_begin;
  scan.after_cr = w.cr_carry != 0;
  scan.at_line_start = w.start_carry != 0;
  scan.eight_bit |= w.high != 0;
  scan.longest_line = w.longest;
  scan.suspect = w.suspect;
  return at;
}

Unstuffed UnstuffBlock(const char* bytes, char* to, Unstuff& s) {
  const Masks m = load_masks(bytes);
  const Masks next = load_masks(bytes + 1);
  const std::uint64_t after_cr = (m.cr << 1) | (s.after_cr ? 1U : 0U);
  const std::uint64_t line_ends = m.lf & after_cr;
  const std::uint64_t starts = (line_ends << 1) | (s.at_line_start ? 1U : 0U);
  const std::uint64_t dots = m.dot & starts;
  const std::uint64_t faults = s.want_faults ? (m.lf ^ after_cr) | m.nul : 0;
  if ((faults | (dots & next.cr)) != 0) return {};
  const std::uint64_t keep = ~dots;
  // Lines that begin and end in here are shorter than every limit.
  const auto last = static_cast<unsigned>(63 - std::countl_zero(line_ends | 1));
  std::int64_t line_bytes = s.line_bytes;
  std::int64_t longest = 0;
  if (line_ends != 0) {
    const std::uint64_t first = line_ends & -line_ends;
    longest = line_bytes + std::popcount(keep & (first - 1)) - 1;  // without its CR
    line_bytes = last == 63 ? 0 : std::popcount(keep >> (last + 1));
  } else {
    line_bytes += std::popcount(keep);
    longest = line_bytes - 1;  // its last byte may be a CR
  }
  if (longest > s.line_bytes_max) return {};
  std::size_t written = 0;
  for (std::size_t i = 0; i < kBlockBytes; ++i) {
    to[written] = bytes[i];
    written += (keep >> i) & 1;
  }
  s.line_bytes = line_bytes;
  s.longest_line = longest > s.longest_line ? longest : s.longest_line;
  s.after_cr = m.cr >> 63 != 0;
  s.at_line_start = line_ends >> 63 != 0;
  s.eight_bit |= m.high != 0;
  s.dots = dots != 0;
  return {kBlockBytes, written};
}

}  // namespace HWY_NAMESPACE
}  // namespace mxring::smtp
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mxring::smtp {

HWY_EXPORT(ScanLines);
HWY_EXPORT(UnstuffBlock);

std::size_t scan_lines(const char* bytes, std::size_t size, LineScan& scan) {
  return HWY_DYNAMIC_DISPATCH(ScanLines)(bytes, size, scan);
}
Unstuffed unstuff_block(const char* bytes, char* to, Unstuff& state) {
  return HWY_DYNAMIC_DISPATCH(UnstuffBlock)(bytes, to, state);
}

}  // namespace mxring::smtp
#endif
