// Compiled once per instruction set by foreach_target.h, then dispatched at run time.
//
// Two loads a byte apart give every byte and its successor, so that no state is carried from block
// to block. The end is looked at in narrow blocks, the last of which overlaps what was seen; only
// texts shorter than that byte by byte.
#include "mailauth/dkim/blank_scan.h"

#include <cstdint>

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

}  // namespace HWY_NAMESPACE
}  // namespace mxring::mailauth::dkim
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mxring::mailauth::dkim {

HWY_EXPORT(FindBlank);
HWY_EXPORT(FindBlankOrCr);

std::size_t find_changing_blank(const char* bytes, std::size_t size) {
  return HWY_DYNAMIC_DISPATCH(FindBlank)(bytes, size);
}
std::size_t find_changing_blank_or_cr(const char* bytes, std::size_t size) {
  return HWY_DYNAMIC_DISPATCH(FindBlankOrCr)(bytes, size);
}

}  // namespace mxring::mailauth::dkim
#endif
