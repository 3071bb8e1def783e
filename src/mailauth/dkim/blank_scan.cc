// Compiled once per instruction set by foreach_target.h, then dispatched at run time.
//
// Two loads a byte apart give every byte and its successor, so that no state is carried from block
// to block. The end is looked at in narrow blocks, the last of which overlaps what was seen; only
// texts shorter than that byte by byte.
#include "mailauth/dkim/blank_scan.h"

#include <cstdint>

#include "base/assert.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "mailauth/dkim/blank_scan.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file again.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mxring::mailauth::dkim {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

HWY_INLINE bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

template <bool kAtCr>
HWY_INLINE bool stops(char c, char next) {
  return c == '\t' || (kAtCr && c == '\r') || (c == ' ' && (is_blank(next) || next == '\r'));
}

// Where the first stop of a block is, or a negative number.
template <bool kAtCr, class D>
HWY_INLINE std::intptr_t find_in_block(D d, const std::uint8_t* bytes) {
  const auto here = hn::LoadU(d, bytes);
  const auto next = hn::LoadU(d, bytes + 1);
  const auto space = hn::Set(d, ' ');
  const auto tab = hn::Set(d, '\t');
  const auto cr = hn::Set(d, '\r');
  const auto next_matters =
      hn::Or(hn::Or(hn::Eq(next, space), hn::Eq(next, tab)), hn::Eq(next, cr));
  auto stop = hn::Or(hn::Eq(here, tab), hn::And(hn::Eq(here, space), next_matters));
  if (kAtCr) stop = hn::Or(stop, hn::Eq(here, cr));
  return hn::FindFirstTrue(d, stop);
}

// Whole blocks from `at` on, as long as their last byte has a successor. True when something was
// found, at `at`; else `at` is behind the last block.
template <bool kAtCr, class D>
HWY_INLINE bool find_in_blocks(D d, const std::uint8_t* bytes, std::size_t size, std::size_t& at) {
  const std::size_t lanes = hn::Lanes(d);
  for (; at + lanes < size; at += lanes) {
    const std::intptr_t found = find_in_block<kAtCr>(d, bytes + at);
    if (found < 0) continue;
    at += static_cast<std::size_t>(found);
    return true;
  }
  return false;
}

template <bool kAtCr>
HWY_INLINE std::size_t find(const char* text, std::size_t size) {
  const hn::CappedTag<std::uint8_t, 64> wide;
  const hn::CappedTag<std::uint8_t, 16> narrow;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text);
  std::size_t at = 0;
  if (find_in_blocks<kAtCr>(wide, bytes, size, at)) return at;
  if (find_in_blocks<kAtCr>(narrow, bytes, size, at)) return at;
  const std::size_t lanes = hn::Lanes(narrow);
  if (size > lanes && at + 1 < size) {
    // Ends one byte before the last, whose successor nobody knows; begins where nothing stopped.
    const std::size_t from = size - 1 - lanes;
    const std::intptr_t found = find_in_block<kAtCr>(narrow, bytes + from);
    if (found >= 0) return from + static_cast<std::size_t>(found);
    at = size - 1;
  }
  for (; at + 1 < size; ++at) {
    if (stops<kAtCr>(text[at], text[at + 1])) return at;
  }
  if (at < size && (is_blank(text[at]) || (kAtCr && text[at] == '\r'))) return at;
  return size;
}

std::size_t FindBlank(const char* text, std::size_t size) {
  return find<false>(text, size);
}
std::size_t FindBlankOrCr(const char* text, std::size_t size) {
  return find<true>(text, size);
}

struct BlankMasks {
  std::uint64_t blank = 0;
  std::uint64_t tab = 0;
  std::uint64_t cr = 0;
  std::uint64_t lf = 0;
};

HWY_INLINE BlankMasks load_masks(const std::uint8_t* bytes) {
  const hn::CappedTag<std::uint8_t, kCompactBytes> d;
  const std::size_t lanes = hn::Lanes(d);
  BlankMasks masks;
  const auto add = [&](std::uint64_t& mask, auto found, std::size_t at) {
    std::uint64_t bits = 0;
    hn::StoreMaskBits(d, found, reinterpret_cast<std::uint8_t*>(&bits));
    mask |= bits << at;
  };
  for (std::size_t i = 0; i < kCompactBytes; i += lanes) {
    const auto v = hn::LoadU(d, bytes + i);
    const auto tabs = hn::Eq(v, hn::Set(d, '\t'));
    add(masks.tab, tabs, i);
    add(masks.blank, hn::Or(tabs, hn::Eq(v, hn::Set(d, ' '))), i);
    add(masks.cr, hn::Eq(v, hn::Set(d, '\r')), i);
    add(masks.lf, hn::Eq(v, hn::Set(d, '\n')), i);
  }
  return masks;
}

Compacted CompactBlanks(const char* text, const std::uint8_t* bytes, char* to) {
  const BlankMasks here = load_masks(bytes);
  const BlankMasks next = load_masks(bytes + 1);
  const BlankMasks after = load_masks(bytes + 2);
  const std::uint64_t before_line_end = next.cr & after.lf;
  const std::uint64_t keep = ~here.blank | (~next.blank & ~before_line_end);
  // The line feed must not be left for the next call.
  const bool divides = ((here.cr & next.lf) >> (kCompactBytes - 1)) != 0;
  const std::size_t taken = divides ? kCompactBytes - 1 : kCompactBytes;
  std::size_t written = 0;
  for (std::size_t i = 0; i < taken; ++i) {
    to[written] = text[i] == '\t' ? ' ' : text[i];
    written += (keep >> i) & 1;
  }
  return {taken, written, written != taken || here.tab != 0};
}

}  // namespace HWY_NAMESPACE
}  // namespace mxring::mailauth::dkim
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mxring::mailauth::dkim {

HWY_EXPORT(FindBlank);
HWY_EXPORT(FindBlankOrCr);
HWY_EXPORT(CompactBlanks);

std::size_t find_changing_blank(const char* bytes, std::size_t size) {
  return HWY_DYNAMIC_DISPATCH(FindBlank)(bytes, size);
}
std::size_t find_changing_blank_or_cr(const char* bytes, std::size_t size) {
  return HWY_DYNAMIC_DISPATCH(FindBlankOrCr)(bytes, size);
}

Compacted compact_blanks(const char* bytes, std::size_t size, char* to) {
  MXRING_ASSERT(size >= kCompactBytes + 2);
  return HWY_DYNAMIC_DISPATCH(CompactBlanks)(bytes, reinterpret_cast<const std::uint8_t*>(bytes),
                                             to);
}

}  // namespace mxring::mailauth::dkim
#endif
