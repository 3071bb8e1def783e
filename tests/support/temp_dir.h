// A folder under the build tree (a real file system, unlike many a /tmp), removed afterwards.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace mxring::test {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::current_path() / "mxring-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace mxring::test
