// The style of this house, run over its sources (tidy_rules.h), and the rules over samples that
// break them.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>

#include "tests/base/tidy_rules.h"

namespace mxring::tidy {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = MXRING_SOURCE;

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Sources below these folders, each with its path from the top.
void for_each_source(std::initializer_list<const char*> folders,
                     const std::function<void(const std::string&, const std::string&)>& each) {
  std::size_t seen = 0;
  for (const char* folder : folders) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      const std::string extension = entry.path().extension();
      if (!entry.is_regular_file() || (extension != ".h" && extension != ".cc")) continue;
      each(fs::relative(entry.path(), kRoot), content(entry.path()));
      ++seen;
    }
  }
  EXPECT_GT(seen, 20U) << "the sources were found";
}

void expect_none(std::initializer_list<const char*> folders, Faults (*rule)(std::string_view)) {
  for_each_source(folders, [rule](const std::string& path, const std::string& source) {
    if (path.find("tidy_") != std::string::npos) return;  // breaks the rules to show them
    for (const std::string& fault : rule(source)) ADD_FAILURE() << path << ":" << fault;
  });
}

TEST(TidyTest, LinesFitAHundredColumns) {
  // Not in tests: lines of zones and records cannot be broken.
  expect_none({"src", "include", "bench"}, long_lines);
}

TEST(TidyTest, FunctionsFitAScreen) {
  expect_none({"src", "include"}, long_functions);
}

TEST(TidyTest, FilesAreSmallRooms) {
  for_each_source({"src", "include"}, [](const std::string& path, const std::string& source) {
    EXPECT_LE(lines(source), kFileLinesMax) << path;
  });
}

TEST(TidyTest, WordsMeanWhatTheySay) {
  expect_none({"src", "include", "tests", "bench"}, banned_words);
}

TEST(TidyTest, NothingIsLeftForLater) {
  expect_none({"src", "include", "tests", "bench"}, unfinished);
}

TEST(TidyTest, HeadersSayWhatTheyAreFor) {
  for_each_source({"src", "include"}, [](const std::string& path, const std::string& source) {
    if (!path.ends_with(".h")) return;
    for (const std::string& fault : header_without_head(source))
      ADD_FAILURE() << path << ":" << fault;
  });
}

// Twelve in 1,000 lines where state must hold between two calls; fewer where most code is text and
// tables. A module may rise, not sink.
TEST(TidyTest, EachModuleAssertsWhatMustHold) {
  const std::map<std::string, double> floors{
#include "tests/base/assertion_floors.inc"
  };
  std::map<std::string, std::pair<std::size_t, std::size_t>> counted;
  for_each_source({"src"}, [&](const std::string& path, const std::string& source) {
    const std::string module = *std::next(fs::path(path).begin());
    counted[module].first += assertions(source);
    counted[module].second += lines(source);
  });
  EXPECT_EQ(floors.size(), counted.size()) << "each module has its floor";
  for (const auto& [module, floor] : floors) {
    ASSERT_TRUE(counted.contains(module)) << module;
    const auto [asserted, total] = counted[module];
    const double rate = 1000.0 * static_cast<double>(asserted) / static_cast<double>(total);
    std::printf("%-9s %5.1f assertions in 1,000 lines (floor %.1f)\n", module.c_str(), rate, floor);
    EXPECT_GE(rate, floor) << module;
  }
}

// tests/support/broken_invariant.h: a test breaks it, and quotes it.
TEST(TidyTest, EachInvariantIsSeenToFire) {
  std::string quoted;
  for_each_source({"tests"}, [&](const std::string&, const std::string& source) {
    if (source.find("expect_fires(") != std::string::npos) quoted += squeezed(source);
  });
  std::size_t count = 0;
  for_each_source({"src"}, [&](const std::string& path, const std::string& source) {
    for (const std::string& condition : invariants(source)) {
      ++count;
      EXPECT_NE(quoted.find('"' + squeezed(condition) + '"'), std::string::npos)
          << path << ": no test breaks " << condition;
    }
  });
  std::printf("%zu invariants\n", count);
  EXPECT_GT(count, 100U);
}

TEST(TidyTest, SourcesAreFormatted) {
  if (std::system("clang-format --version 2>/dev/null | grep -q 'version 14'") != 0) {
    GTEST_SKIP() << "clang-format 14 is not installed";
  }
  const std::string said = testing::TempDir() + "clang-format.said";
  const std::string command = "cd '" + kRoot.string() +
                              "' && find src include tests bench -name '*.h' -o -name '*.cc' | " +
                              "xargs -P2 -n40 clang-format --dry-run -Werror 2>'" + said + "' || " +
                              "{ cut -d: -f1 '" + said + "' | sort -u | head -20; false; }";
  EXPECT_EQ(std::system(command.c_str()), 0) << "`clang-format -i` formats them";
}

TEST(TidyRulesTest, CommentsAndTextAreNoCode) {
  EXPECT_EQ(without_comments("a // b\nc /* d\ne */ f\n"), "a \nc \n f\n");
  EXPECT_EQ(without_comments("x = \"{ // }\"; y = '{'; n = 1'000;"), "x = ''; y = ''; n = 1'000;");
  EXPECT_EQ(without_comments("R\"(a\n{)\";"), "\n;");
}

TEST(TidyRulesTest, AFunctionOfMoreThanAScreenIsSeen) {
  std::string body;
  for (int i = 0; i < 69; ++i) body += "  if (x) { y(); }\n";
  EXPECT_EQ(long_functions("namespace a {\nvoid f() {\n" + body + "}\n}\n").size(), 1U);
  EXPECT_EQ(long_functions("namespace a {\nclass C {\n" + body + "};\n}\n").size(), 0U)
      << "a class is no function";
  EXPECT_EQ(long_functions("constexpr std::array kTable{\n" + body + "};\n").size(), 0U);
  EXPECT_EQ(long_functions("void f() {\n" + body.substr(18 * 2) + "}\n").size(), 0U);
}

TEST(TidyRulesTest, OtherRulesSeeWhatTheyAreFor) {
  EXPECT_EQ(long_lines(std::string(101, 'a')).size(), 1U);
  EXPECT_EQ(long_lines(std::string(100, 'a')).size(), 0U);
  std::string wide;
  for (int i = 0; i < 100; ++i) wide += "\xc3\xbc";
  EXPECT_EQ(long_lines(wide).size(), 0U) << "columns, not bytes";
  EXPECT_EQ(banned_words("// a Self-Made certificate\nclass HelperOfMine;\n").size(), 1U);
  EXPECT_EQ(unfinished("// TO"
                       "DO: later\nauto XXXL = 1;\n")
                .size(),
            1U);
  EXPECT_EQ(header_without_head("#pragma once\n").size(), 1U);
  EXPECT_EQ(header_without_head("// What.\n#include <x>\n").size(), 1U);
  EXPECT_EQ(invariants("void A::invariants() const {\n  if (x) MXRING_ASSERT(f(1) == (2));\n}\n"
                       "void f() { invariants(); MXRING_ASSERT(z); }"),
            (std::vector<std::string>{"f(1) == (2)"}));
  EXPECT_EQ(squeezed("\"a || \"\n    \"b\""), "\"a||b\"");
  EXPECT_EQ(assertions("// MXRING_ASSERT(x)\nMXRING_ASSERT(y); static_assert(z);"), 2U);
}

}  // namespace
}  // namespace mxring::tidy
