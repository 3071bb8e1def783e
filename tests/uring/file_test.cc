#include "uring/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/clock.h"

namespace mxring::uring {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "mxring-file-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    path_ = directory_ + "/segment";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  File open(FaultPlan* faults) {
    auto file = File::open(path_, O_RDWR | O_CREAT, 0600, faults);
    EXPECT_TRUE(file.has_value());
    return std::move(*file);
  }

  std::string content() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  static std::vector<iovec> slices(std::vector<std::string>& texts) {
    std::vector<iovec> result;
    for (std::string& text : texts) result.push_back({text.data(), text.size()});
    return result;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(FileTest, WritesSlicesAtAPosition) {
  File file = open(nullptr);
  std::vector<std::string> texts{"one ", "", "two ", "three"};
  EXPECT_EQ(file.write_at(slices(texts), 2), 13U);
  EXPECT_EQ(content(), std::string("\0\0", 2) + "one two three");
  EXPECT_TRUE(file.sync_data().has_value());
  EXPECT_TRUE(file.sync_all().has_value());
  EXPECT_TRUE(file.truncate(5).has_value());
  EXPECT_EQ(content(), std::string("\0\0", 2) + "one");
}

TEST_F(FileTest, OpenTellsWhyNot) {
  const auto missing = File::open(directory_ + "/no/such", O_RDWR, 0, nullptr);
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error(), ENOENT);
}

TEST_F(FileTest, DescriptorsAreClosedOnExecAndAtTheEnd) {
  int fd = -1;
  {
    File file = open(nullptr);
    fd = file.fd();
    EXPECT_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    File moved = std::move(file);
    EXPECT_TRUE(moved.is_open());
    EXPECT_EQ(moved.fd(), fd);
    EXPECT_FALSE(file.is_open());  // NOLINT(bugprone-use-after-move): that is the question
  }
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

TEST_F(FileTest, AllocateGrowsTheFileWithRealBlocks) {
  File file = open(nullptr);
  const auto allocated = file.allocate(0, 1 << 20);
  if (!allocated.has_value() && allocated.error() == EOPNOTSUPP) {
    GTEST_SKIP() << "the file system of " << directory_ << " has no fallocate";
  }
  ASSERT_TRUE(allocated.has_value()) << allocated.error();
  struct stat about {};
  ASSERT_EQ(::fstat(file.fd(), &about), 0);
  EXPECT_EQ(about.st_size, 1 << 20);
  EXPECT_GE(about.st_blocks * 512, 1 << 20);
  // A second time, over the same range and beyond: what was there stays.
  std::vector<std::string> texts{"kept"};
  ASSERT_TRUE(file.write_at(slices(texts), 0).has_value());
  ASSERT_TRUE(file.allocate(0, 2 << 20).has_value());
  EXPECT_EQ(content().substr(0, 4), "kept");
}

TEST_F(FileTest, FullDiskIsAnError) {
  auto full = File::open("/dev/full", O_WRONLY, 0, nullptr);
  if (!full.has_value()) GTEST_SKIP() << "no /dev/full here";
  std::vector<std::string> texts{"x"};
  const auto written = full->write_at(slices(texts), 0);
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error(), ENOSPC);
}

TEST_F(FileTest, FailsAtExactlyTheIndexAsked) {
  for (const FaultPoint point : {FaultPoint::kFileWrite, FaultPoint::kFileSync}) {
    for (std::uint64_t failing = 0; failing < 4; ++failing) {
      FaultPlan plan;
      plan.add({.point = point, .nth = failing, .error = EIO});
      File file = open(&plan);
      std::vector<std::string> texts{"x"};
      for (std::uint64_t i = 0; i < 4; ++i) {
        const auto written = file.write_at(slices(texts), i);
        const auto synced = i % 2 == 0 ? file.sync_data() : file.sync_all();
        EXPECT_EQ(written.has_value(), point != FaultPoint::kFileWrite || i != failing);
        EXPECT_EQ(synced.has_value(), point != FaultPoint::kFileSync || i != failing);
        if (!written.has_value()) {
          EXPECT_EQ(written.error(), EIO);
        }
        if (!synced.has_value()) {
          EXPECT_EQ(synced.error(), EIO);
        }
      }
    }
  }
}

TEST_F(FileTest, FailedWriteLeavesTheFileAlone) {
  FaultPlan plan;
  plan.add({.point = FaultPoint::kFileWrite, .nth = 1, .error = ENOSPC});
  File file = open(&plan);
  std::vector<std::string> first{"first"};
  std::vector<std::string> second{"SECOND"};
  EXPECT_TRUE(file.write_at(slices(first), 0).has_value());
  EXPECT_EQ(file.write_at(slices(second), 0).error(), ENOSPC);
  EXPECT_EQ(content(), "first");
}

TEST_F(FileTest, WriteIsShortenedAtEveryLength) {
  const std::string whole = "abcdefghij";
  for (std::uint64_t length = 0; length <= whole.size() + 1; ++length) {
    FaultPlan plan;
    plan.add({.point = FaultPoint::kFileWrite, .nth = 0, .shorten_to = length});
    std::filesystem::remove(path_);
    File file = open(&plan);
    std::vector<std::string> texts{"abc", "", "defg", "hij"};
    const auto written = file.write_at(slices(texts), 0);
    ASSERT_TRUE(written.has_value());
    EXPECT_EQ(*written, std::min<std::uint64_t>(length, whole.size()));
    EXPECT_EQ(content(), whole.substr(0, length));
  }
}

TEST_F(FileTest, DelayIsSleptBeforeTheOperation) {
  FaultPlan plan;
  plan.add({.point = FaultPoint::kFileSync, .nth = 0, .delay_ns = 30 * base::kNsPerMs});
  File file = open(&plan);
  const base::MonoTime before = base::read_clocks().mono;
  EXPECT_TRUE(file.sync_data().has_value());
  EXPECT_GE(base::read_clocks().mono - before, 30 * base::kNsPerMs);
}

TEST_F(FileTest, OpenAndAllocateFail) {
  FaultPlan plan;
  plan.add({.point = FaultPoint::kFileOpen, .nth = 0, .error = EMFILE});
  plan.add({.point = FaultPoint::kFileAllocate, .nth = 0, .error = ENOSPC});
  const auto refused = File::open(path_, O_RDWR | O_CREAT, 0600, &plan);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), EMFILE);
  EXPECT_FALSE(std::filesystem::exists(path_));
  File file = open(&plan);
  EXPECT_EQ(file.allocate(0, 4096).error(), ENOSPC);
  EXPECT_EQ(std::filesystem::file_size(path_), 0U);
}

TEST_F(FileTest, TraceShowsSizesPositionsAndOutcomes) {
  FaultPlan plan;
  plan.set_trace(true);
  plan.add({.point = FaultPoint::kFileWrite, .nth = 1, .shorten_to = 2});
  plan.add({.point = FaultPoint::kFileSync, .nth = 0, .error = EIO});
  File file = open(&plan);
  std::vector<std::string> texts{"abc", "de"};
  (void)file.write_at(slices(texts), 0);
  (void)file.write_at(slices(texts), 8192);
  (void)file.sync_data();
  EXPECT_EQ(plan.trace(),
            (std::vector<std::string>{"file_open " + path_ + " -> ok", "file_write 5 at 0 -> 5",
                                      "file_write 5 at 8192 -> 2", "file_sync data -> errno 5"}));
}

}  // namespace
}  // namespace mxring::uring
