// A host invented in a text file: files below a temporary root, and what the checks should say of
// them. The format is explained at the head of hosts/ordinary.txt.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"
#include "tune/host.h"

namespace mxring::test {

class FakeHost {
 public:
  struct Expectation {
    std::string row;
    std::string verdict;
    std::string text;
  };

  explicit FakeHost(const std::string& name) {
    std::ifstream input(std::string(MXRING_TEST_DATA) + "/hosts/" + name + ".txt");
    std::ofstream file;
    for (std::string line; std::getline(input, line);) {
      if (line.starts_with("= ")) {
        file = std::ofstream(below(line.substr(2)));
      } else if (line.starts_with("@ ")) {
        const std::size_t blank = line.find(' ', 2);
        std::filesystem::create_symlink(line.substr(blank + 1), below(line.substr(2, blank - 2)));
      } else if (line.starts_with("? ")) {
        expect(line.substr(2));
      } else if (!line.starts_with("#")) {
        file << line << '\n';
      }
    }
  }

  tune::Host host() const { return tune::Host(root_.path().string()); }
  const std::vector<Expectation>& expectations() const { return expectations_; }

 private:
  std::filesystem::path below(const std::string& path) const {
    const std::filesystem::path whole = root_.path().string() + path;
    std::filesystem::create_directories(whole.parent_path());
    return whole;
  }

  void expect(const std::string& line) {
    for (const char* verdict : {" ok", " advice", " problem", " skipped"}) {
      const std::size_t at = (line + " ").find(std::string(verdict) + " ");
      if (at == std::string::npos) continue;
      const std::size_t after = at + std::string(verdict).size() + 1;
      expectations_.push_back(
          {line.substr(0, at), verdict + 1, after < line.size() ? line.substr(after) : ""});
      return;
    }
    expectations_.push_back({line, "a verdict", ""});
  }

  TempDir root_;
  std::vector<Expectation> expectations_;
};

}  // namespace mxring::test
