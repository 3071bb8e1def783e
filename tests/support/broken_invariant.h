// Invariants that are seen to fire: a test breaks what an object holds, in a process of its own,
// and expects the assertion by its very text. tests/base/tidy_test fails for an assertion in a
// function `invariants()` that no test names.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace mxring::test {

inline std::string as_pattern(std::string_view text) {
  std::string pattern = "assertion failed: ";
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern + " \\(";
}

// `condition`: as it stands in the source, on one line.
template <class Break>
void expect_fires(const std::string& condition, Break break_and_look) {
  EXPECT_DEATH(break_and_look(), as_pattern(condition));
}

}  // namespace mxring::test

// Makes object.*member_of(Tag{}) the private `Member`; explicit instantiations may name it.
#define MXRING_REVEAL(Tag, Member)                \
  struct Tag {                                    \
    friend auto member_of(Tag);                   \
  };                                              \
  template <class Of, auto kMember>               \
  struct Tag##Revealed {                          \
    friend auto member_of(Of) { return kMember; } \
  };                                              \
  template struct Tag##Revealed<Tag, Member>
