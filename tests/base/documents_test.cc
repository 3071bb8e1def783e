// What documents name must exist: the tests behind the guarantees, and the files that are pointed
// at.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = MXRING_SOURCE;

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// "Suite.Name" of every TEST below tests/, and the names of files and test programs.
std::set<std::string> things_that_exist() {
  std::set<std::string> names;
  const std::regex test(R"(TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\))");
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / "tests")) {
    if (!entry.is_regular_file()) continue;
    names.insert(entry.path().filename());
    const std::string text = content(entry.path());
    if (entry.path().filename() == "CMakeLists.txt") {
      const std::regex program(R"(mxring_(?:test|fuzz)\((\w+))");
      for (std::sregex_iterator at(text.begin(), text.end(), program), end; at != end; ++at) {
        names.insert((*at)[1]);
      }
    }
    if (entry.path().extension() != ".cc") continue;
    for (std::sregex_iterator at(text.begin(), text.end(), test), end; at != end; ++at) {
      names.insert((*at)[1].str() + "." + (*at)[2].str());
    }
  }
  return names;
}

TEST(DocumentsTest, TheTestsBehindTheGuaranteesExist) {
  const std::string text = content(kRoot / "src/GUARANTEES.md");
  const std::set<std::string> names = things_that_exist();
  const std::regex named(R"(`(\w+\.\w+|\w+_test)`)");
  int seen = 0;
  for (std::sregex_iterator at(text.begin(), text.end(), named), end; at != end; ++at) {
    const std::string name = (*at)[1];
    if (name.starts_with("mxring") || name == "CHANGELOG.md") continue;
    EXPECT_TRUE(names.contains(name)) << name << " is named and does not exist";
    ++seen;
  }
  EXPECT_GE(seen, 15);
}

// `folder/file` in the pages that say where things are; "and `x`" and folders count too.
TEST(DocumentsTest, WhatTheArchitecturePointsAtExists) {
  const std::string text = content(kRoot / "src/ARCHITECTURE.md") + content(kRoot / "src/WHERE.md");
  const std::regex named(R"(`((?:\w+/)+[\w.]+)`)");
  int seen = 0;
  for (std::sregex_iterator at(text.begin(), text.end(), named), end; at != end; ++at) {
    const std::string name = (*at)[1];
    bool exists = false;
    for (const char* from : {"src", ".", "include"}) {
      for (const char* extension : {"", ".h", ".cc", ".py"}) {
        exists = exists || fs::exists(kRoot / from / (name + extension));
      }
    }
    EXPECT_TRUE(exists) << name << " is pointed at and does not exist";
    ++seen;
  }
  EXPECT_GE(seen, 40);
}

}  // namespace
